"""Wan 2.1 and 2.2: WanTransformer3DModel, UMT5, and an autoencoder that packs four frames into one.

Wan 2.2's large model has two experts, the first for the noisier levels; its 5B model is told the noise token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vxedit.backbones.family import Facts
from vxedit.backbones.flow import TIMESTEPS
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.protocol import Layer
from vxedit.backbones.text_attention import block_layers, query_key_normed_across
from vxedit.backbones.texts import T5Text
from vxedit.backbones.transformer import Loaded, VideoTransformer
from vxedit.backbones.video_vae import VideoVae


class Wan(VideoTransformer):
    """A Backbone over WanTransformer3DModel. Of two experts the first takes timesteps from `boundary` on. `by_token`:
    the network is told a timestep for every token."""

    boundary: float = 0.0
    by_token: bool = False

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        experts = tuple(
            load_part(layout, part, device=device, dtype=dtype)
            for part in ("transformer", "transformer_2")
            if part in layout.configs
        )
        network = experts[0]
        return Loaded(
            network,
            codec(load_part(layout, "vae", device=device, dtype=torch.float32), facts),
            T5Text.load(
                layout, facts, kind="UMT5EncoderModel", device=device, dtype=dtype, reads_mask=True, zero_pads=True
            ),
            text_layers(experts),
            patch=tuple(network.config.patch_size),
            channels=int(network.config.in_channels),
            experts=experts,
        )

    def told(self, layout: Layout) -> None:
        self.boundary = TIMESTEPS * float(layout.index.get("boundary_ratio") or 0.0)
        self.by_token = bool(layout.index.get("expand_timesteps", False))

    def expert(self, timestep: float) -> int:
        return 0 if timestep >= self.boundary else 1

    def forward(self, x: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        expert = self._experts[self.expert(timestep)]
        times = torch.full((len(x),), timestep, device=x.device)
        if self.by_token:
            tokens = x[0, 0].numel() // (self.patch[0] * self.patch[1] * self.patch[2])
            times = times[:, None].expand(-1, tokens)
        output: Tensor = expert(x, times, embeds, return_dict=False)[0]
        return output


def text_layers(experts: Sequence[Any]) -> tuple[Layer, ...]:
    """The blocks' attentions to the text; the second expert's stand in for the first's. They are called by position,
    without a mask: the padding takes part."""
    first, *others = (expert.blocks for expert in experts)
    stride = experts[0].config.patch_size[1]
    return block_layers(first, "blocks.0.attn2", query_key_normed_across, stride=stride, experts=others)


def codec(vae: Any, facts: Facts) -> VideoVae:
    """AutoencoderKLWan, whose latents have a mean and a spread of their own in every channel."""
    mean, std = (
        torch.tensor(numbers, device=vae.device).view(1, -1, 1, 1, 1)
        for numbers in (vae.config.latents_mean, vae.config.latents_std)
    )
    return VideoVae(vae, facts.sizes.length, int(vae.config.scale_factor_spatial), mean, 1 / std)
