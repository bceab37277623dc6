"""Wan 2.1 and 2.2: WanTransformer3DModel, UMT5, and an autoencoder that packs four frames into one.

Wan 2.2's large model has two experts, the first for the noisier levels; its 5B model is told the noise token by token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vxedit.backbones.family import Facts
from vxedit.backbones.flow import TIMESTEPS
from vxedit.backbones.identity import identity
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.protocol import Layer
from vxedit.backbones.texts import T5Text
from vxedit.backbones.transformer import VideoTransformer
from vxedit.backbones.video_vae import VideoVae
from vxedit.errors import ModelError


class Wan(VideoTransformer):
    """A Backbone over WanTransformer3DModel. Of two experts the first takes timesteps from `boundary` on. `by_token`:
    the network is told a timestep for every token."""

    boundary: float = 0.0
    by_token: bool = False

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
    ) -> Wan:
        """Load every part of `layout` onto `device`, the network and the text encoder in `dtype`. Raises ModelError
        where one can't be."""
        experts = [
            load_part(layout, part, device=device, dtype=dtype)
            for part in ("transformer", "transformer_2")
            if part in layout.configs
        ]
        ratio = layout.index.get("boundary_ratio")
        if len(experts) == 2 and ratio is None:
            raise ModelError(f"{layout.tree}: model_index.json lacks boundary_ratio, which says when each expert runs")
        vae = load_part(layout, "vae", device=device, dtype=torch.float32)  # its errors would be every result's
        prompts = T5Text.load(
            layout, facts, kind="UMT5EncoderModel", device=device, dtype=dtype, reads_mask=True, zero_pads=True
        )
        made = cls(
            experts[0],
            facts,
            codec=_codec(vae, facts),
            prompts=prompts,
            layers=text_layers(experts),
            patch=tuple(experts[0].config.patch_size),
            channels=int(experts[0].config.in_channels),
            name=name,
            identity=identity(layout),
            experts=experts,
            checkpoint_activations=checkpoint_activations,
        )
        made.boundary = TIMESTEPS * float(ratio) if len(experts) == 2 and ratio is not None else 0.0
        made.by_token = bool(layout.index.get("expand_timesteps", False))
        return made

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


def text_layers(experts: list[Any]) -> tuple[Layer, ...]:
    """The blocks' attentions to the text, first to run first; the second expert's stand in for the first's."""
    count, stride = len(experts[0].blocks), experts[0].config.patch_size[1]
    return tuple(
        Layer(
            name=f"blocks.{i}.attn2",
            module=block.attn2,
            qk=query_key,
            share=(i + 0.5) / count,
            stride=stride,
            twins=tuple(expert.blocks[i].attn2 for expert in experts[1:]),
        )
        for i, block in enumerate(experts[0].blocks)
    )


def query_key(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Queries (B, heads, N, d) and keys (B, heads, L, d), normalised across the heads before they are parted; no bias:
    the padding takes part."""
    attn: Any = module
    given = dict(zip(("hidden_states", "encoder_hidden_states"), args, strict=False), **kwargs)
    query = attn.norm_q(attn.to_q(given["hidden_states"]))
    key = attn.norm_k(attn.to_k(given["encoder_hidden_states"]))
    query, key = (tokens.unflatten(2, (attn.heads, -1)).transpose(1, 2) for tokens in (query, key))
    return query, key, None


def _codec(vae: Any, facts: Facts) -> VideoVae:
    mean, std = (
        torch.tensor(numbers, device=vae.device).view(1, -1, 1, 1, 1)
        for numbers in (vae.config.latents_mean, vae.config.latents_std)
    )
    return VideoVae(vae, facts.sizes.length, int(vae.config.scale_factor_spatial), mean, 1 / std)
