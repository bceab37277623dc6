"""Open-Sora 1.2: STDiT3, T5, and an autoencoder that packs 17 frames into 5."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout
from vxedit.backbones.opensora.codec import OpenSoraCodec
from vxedit.backbones.opensora.control import Grid, attention_control, attentions
from vxedit.backbones.opensora.loading import load_own
from vxedit.backbones.opensora.stdit3 import STDiT3
from vxedit.backbones.opensora.vae import OpenSoraVAE
from vxedit.backbones.protocol import Attention, Control, Layer
from vxedit.backbones.texts import T5Text, real_columns
from vxedit.backbones.transformer import Loaded, VideoTransformer

FPS = 24.0
"""Frames a second that the network is told: most of what it was trained on."""


class OpenSora(VideoTransformer):
    """A Backbone over STDiT3, whose attentions can be controlled."""

    _control: Control | None = None

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        network = load_own(layout, "transformer", STDiT3.from_config, device=device, dtype=dtype)
        return Loaded(
            network,
            OpenSoraCodec(load_own(layout, "vae", OpenSoraVAE, device=device, dtype=torch.float32)),
            T5Text.load(
                layout, facts, kind="T5EncoderModel", device=device, dtype=dtype, reads_mask=True, zero_pads=True
            ),
            text_layers(network),
            patch=network.config.patch_size,
            channels=network.config.in_channels,
        )

    def forward(self, x: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        """As VideoTransformer's. The network was trained on x0 - n, the opposite of what the schedule's steps take."""
        output = self.network(
            x,
            torch.full((len(x),), timestep, device=x.device),
            embeds,
            fps=torch.full((len(x),), FPS, device=x.device),
            height=x.shape[3] * self.codec.cell,
            width=x.shape[4] * self.codec.cell,
            mask=real_columns(embeds),
        )
        return -output[:, : self.channels]

    def unconditional(self, prompt: str) -> Tensor:
        """The network's own states for no text, in as many columns as the prompt has."""
        real = real_columns(self.text(prompt).embeds)
        # The network may be waiting where the text isn't.
        return self.network.y_embedder.y_embedding[None].float().to(real.device) * real[..., None]

    def predict(self, latents: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        if self._control is None:
            return super().predict(latents, timestep, embeds)
        rows, columns = self.network.token_grid(latents.shape[3], latents.shape[4])
        grid = Grid(len(latents), latents.shape[2], rows, columns)
        with attention_control(self.attentions(), self._control, grid):
            return super().predict(latents, timestep, embeds)

    def attentions(self) -> tuple[Attention, ...]:
        return attentions(self.network)

    @contextlib.contextmanager
    def controlled(self, control: Control) -> Iterator[None]:
        before, self._control = self._control, control
        try:
            yield
        finally:
            self._control = before

    def _recomputes(self, latents: Tensor, embeds: Tensor) -> bool:
        # What is run again is run after the control has gone.
        return self._control is None and super()._recomputes(latents, embeds)


def text_layers(network: STDiT3) -> tuple[Layer, ...]:
    """The blocks' attentions to the text, first to run first."""
    blocks, stride = tuple(network.blocks()), network.config.patch_size[1]
    return tuple(
        Layer(f"{name}.cross_attn", block.cross_attn, query_key, (i + 0.5) / len(blocks), stride)
        for i, (name, block) in enumerate(blocks)
    )


def query_key(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Queries (B, heads, N, d), keys (B, heads, L, d) and additive bias (B, 1, 1, L), from the arguments that a block's
    `cross_attn` is called with: tokens, text, bias."""
    attention: Any = module
    tokens, text, bias = args
    query, key, _ = attention.qkv(tokens, text)
    return query, key, bias
