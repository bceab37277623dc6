"""ModelScope's family: UNet3DConditionModel, an autoencoder of single frames, and a CLIP text encoder.

Covers ModelScope 1.7B, ZeroScope, potat1 and the embedded model (Wang et al. 2023, arXiv 2308.06571).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones import autoencoder, tokens
from vxedit.backbones.borrowed import recomputed, text_per_frame, to_recompute
from vxedit.backbones.control import attention_control
from vxedit.backbones.families.unet3d import STEERING
from vxedit.backbones.family import Facts
from vxedit.backbones.identity import identity
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_clip_text, load_part
from vxedit.backbones.placing import NETWORK, Parts
from vxedit.backbones.protocol import Attention, Control, Layer, Piece, Schedule, Size, Text
from vxedit.backbones.sizes import pixels_a_cell
from vxedit.backbones.steering import chosen_layers
from vxedit.backbones.unet3d_layers import attentions, text_layers


@dataclass(frozen=True)
class Modules:
    """The parts of a loaded model, as diffusers and transformers make them."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any


class UNet3D(Parts):
    """A Backbone (vxedit/backbones/protocol.py) over UNet3DConditionModel.

    `checkpoint_activations`: whether gradients are taken with recomputed activations; None: where latents are large.
    """

    def __init__(
        self,
        modules: Modules,
        facts: Facts,
        *,
        name: str,
        identity: str,
        checkpoint_activations: bool | None = None,
    ) -> None:
        super().__init__(
            {NETWORK: modules.unet, "vae": modules.vae, "text_encoder": modules.text_encoder},
            facts,
            name=name,
            identity=identity,
            checkpoint_activations=checkpoint_activations,
        )
        self._modules = modules
        self._layers = text_layers(modules.unet)
        self._control: Control | None = None
        self._steering = chosen_layers(self._layers, facts.steering, else_all=facts.steering == STEERING)

    @classmethod
    def load(
        cls,
        layout: Layout,
        facts: Facts,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        checkpoint_activations: bool | None = None,
    ) -> Self:
        """Load every part of `layout` onto `device`, the network in `dtype`. Raises ModelError where one can't be."""
        modules = Modules(
            unet=cls.load_network(layout, device=device, dtype=dtype),
            vae=load_part(layout, "vae", device=device, dtype=torch.float32),  # its errors would be every result's
            text_encoder=load_clip_text(layout, device=device),
            tokenizer=tokens.load_tokenizer(layout),
        )
        return cls(modules, facts, name=name, identity=identity(layout), checkpoint_activations=checkpoint_activations)

    @classmethod
    def load_network(cls, layout: Layout, *, device: torch.device, dtype: torch.dtype) -> Any:
        """The network alone, as for `load`."""
        return load_part(layout, "unet", device=device, dtype=dtype)

    def latent_shape(self, size: Size) -> tuple[int, int, int, int, int]:
        cell = pixels_a_cell(self._modules.vae.config)
        return (1, int(self._modules.unet.config.in_channels), size.frames, size.height // cell, size.width // cell)

    def fit(self, frames: int, height: int, width: int) -> Size:
        return self._facts.sizes.fit(frames, height, width)

    def encode(self, frames: np.ndarray) -> Tensor:
        self.use("vae")
        return autoencoder.encode(self._modules.vae, frames, self.at_once)

    def decode(self, latents: Tensor, frames: int) -> np.ndarray:
        if latents.shape[2] != frames:
            raise ValueError(f"this model has one latent frame a frame, got {latents.shape[2]} for {frames}")
        self.use("vae")
        return autoencoder.decode(self._modules.vae, latents, self.at_once)

    def text(self, prompt: str) -> Text:
        return self.remembered(prompt, self._embedded)

    def tokens(self, prompt: str) -> tuple[Piece, ...]:
        return tokens.pieces(self._modules.tokenizer, prompt, self._text_limit)

    def unconditional(self, prompt: str) -> Tensor:
        return self.text("").embeds

    def predict(self, latents: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        batch, _, frames = latents.shape[:3]
        if embeds.shape[: embeds.ndim - 2] != (batch, frames)[: embeds.ndim - 2] or embeds.ndim not in (3, 4):
            raise ValueError(
                f"for latents {tuple(latents.shape)} embeds must be ({batch}, L, D) or ({batch}, {frames}, L, D), "
                f"got {tuple(embeds.shape)}"
            )
        self.use(NETWORK)
        text = embeds.to(self.device, self.dtype)
        with contextlib.ExitStack() as borrowed:
            if text.ndim == 4:
                attentions = [layer.module for layer in self._layers]
                borrowed.enter_context(text_per_frame(attentions, text.flatten(0, 1)))
                text = text[:, 0]
            if self._control is not None:
                borrowed.enter_context(attention_control(self.attentions(), self._control, latents.shape))
            elif to_recompute(latents, embeds, self.checkpoint_activations):
                # Not under a control: what is run again is run after that has gone.
                borrowed.enter_context(recomputed(self._modules.unet))
            moved = latents.to(self.device, self.dtype)
            output = self.forward(moved, timestep, text)
        return output.float()

    def forward(self, x: Tensor, timestep: float, text: Tensor) -> Tensor:
        """The network's output for latents x (B, C, f, h, w) and a text (B, L, D) for all frames, in its own dtype."""
        output: Tensor = self._modules.unet(x, timestep, encoder_hidden_states=text, return_dict=False)[0]
        return output

    def layers(self) -> tuple[Layer, ...]:
        return self._layers

    def attentions(self) -> tuple[Attention, ...]:
        return attentions(self._modules.unet)

    @contextlib.contextmanager
    def controlled(self, control: Control) -> Iterator[None]:
        before, self._control = self._control, control
        try:
            yield
        finally:
            self._control = before

    def steering_layers(self) -> tuple[str, ...]:
        return self._steering

    def grid(self, maps: Tensor, latents: Tensor) -> Tensor:
        batch, _, frames, height, width = latents.shape
        cells = maps.shape[-1]
        while height * width > cells:
            height, width = -(-height // 2), -(-width // 2)  # a down-sampling rounds up
        if height * width != cells or maps.shape[0] != batch * frames:
            raise ValueError(f"maps {tuple(maps.shape)} don't come from latents {tuple(latents.shape)}")
        return maps.view(batch, frames, height, width)

    def spans(self, frames: int) -> tuple[tuple[int, ...], ...]:
        return tuple((frame,) for frame in range(frames))

    def schedule(self, steps: int, shape: Sequence[int] | None = None, *, invertible: bool = False) -> Schedule:
        return self._facts.levels.schedule(steps, shape, invertible=invertible)

    @torch.no_grad()
    def _embedded(self, prompt: str) -> Text:
        found = self.tokens(prompt)
        ids = tokens.token_ids(self._modules.tokenizer, prompt, self._text_limit)
        return Text(prompt, self._modules.text_encoder(ids.to(self.device))[0].float(), found)

    @property
    def _text_limit(self) -> int:
        return tokens.text_limit(self._modules.tokenizer, self._facts.text_limit)
