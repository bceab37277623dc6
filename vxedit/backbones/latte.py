"""Latte: LatteTransformer3DModel, whose tokens are the patches of single frames, T5, and an autoencoder of frames.

Ma et al. 2024, arXiv 2401.03048. Its blocks look at a frame and at the text, then along time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones import autoencoder
from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.sizes import Length, pixels_a_cell
from vxedit.backbones.text_attention import block_layers, query_key
from vxedit.backbones.texts import T5Text, real_columns
from vxedit.backbones.transformer import Loaded, VideoTransformer

HIDDEN = -1e4
"""The bias that hides a column, small enough for float16."""

FRAMES_AT_ONCE = 8
"""Bounds the memory of the decoder over time, which sees what it decodes together as one clip."""


class Latte(VideoTransformer):
    """A Backbone over LatteTransformer3DModel."""

    prompts: T5Text

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        network = load_part(layout, "transformer", device=device, dtype=dtype)
        vaes = [
            load_part(layout, part, device=device, dtype=torch.float32)
            for part in ("vae", "vae_temporal_decoder")
            if part in layout.configs
        ]
        patch = int(network.config.patch_size)
        return Loaded(
            network,
            Frames(vaes[0], vaes[1] if len(vaes) == 2 else None, facts.sizes.length),
            T5Text.load(
                layout, facts, kind="T5EncoderModel", device=device, dtype=dtype, reads_mask=True, zero_pads=True
            ),
            # After each block comes one that looks along time.
            block_layers(network.transformer_blocks, "transformer_blocks.0.attn2", query_key, stride=patch, done=0.25),
            patch=(1, patch, patch),
            channels=int(network.config.in_channels),
        )

    def unconditional(self, prompt: str) -> Tensor:
        """The empty prompt's embeddings, padding and all, on as many columns as `prompt` has: the published pipeline
        cuts both to the prompt's length, and hides nothing."""
        shown = real_columns(self.text(prompt).embeds)
        return self.remembered("", self.prompts.padded, kind="padded").embeds * shown[..., None]

    def forward(self, x: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        frames = x.shape[2]
        with positions(self.network, frames):
            output: Tensor = self.network(
                x,
                torch.full((len(x),), timestep, device=x.device),
                embeds,
                encoder_attention_mask=hidden_columns(embeds).repeat_interleave(frames, 0),
                return_dict=False,
            )[0]
        return output[:, : self.channels]  # what it learned of the variance comes after


def hidden_columns(embeds: Tensor) -> Tensor:
    """A bias (B, 1, L) for embeds (B, L, D) that hides the columns that are no tokens."""
    return torch.where(real_columns(embeds), 0.0, HIDDEN).to(embeds.dtype)[:, None]


@contextlib.contextmanager
def positions(network: Any, frames: int) -> Iterator[None]:
    """Have the network's table of places in time, sines and cosines of its length, be `frames` rows long."""
    from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid

    own: Tensor = network.temp_pos_embed  # (1, rows, D)
    if own.shape[1] == frames:
        yield
        return
    made = get_1d_sincos_pos_embed_from_grid(own.shape[2], torch.arange(frames)[:, None], output_type="pt")
    network.temp_pos_embed = made[None].to(own)
    try:
        yield
    finally:
        network.temp_pos_embed = own


@dataclass(frozen=True)
class Frames:
    """Frames to latents one by one and back, by `over_time`, a decoder that looks along time (Blattmann et al. 2023,
    arXiv 2311.15127), where there is one. A clip is continued with its last frame to a length that the network takes.
    """

    vae: Any
    over_time: Any | None
    length: Length

    def modules(self) -> tuple[Any, ...]:
        """As Codec."""
        return (self.vae,) if self.over_time is None else (self.vae, self.over_time)

    @property
    def cell(self) -> int:
        return pixels_a_cell(self.vae.config)

    def encode(self, frames: np.ndarray) -> Tensor:
        """uint8 (F, H, W, 3) to latents float32 (1, C, f, h, w)."""
        missing = self.length.legal(len(frames)) - len(frames)
        return autoencoder.encode(self.vae, np.concatenate([frames, np.repeat(frames[-1:], missing, 0)]))

    def decode(self, latents: Tensor, frames: int) -> np.ndarray:
        """Latents (1, C, f, h, w) to uint8 (frames, H, W, 3), rounded."""
        if latents.shape[2] != self.length.latents(frames):
            raise ValueError(f"{frames} frames have {self.length.latents(frames)} latents, got {latents.shape[2]}")
        if self.over_time is None:
            return autoencoder.decode(self.vae, latents[:, :, :frames])
        return _decode_over_time(self.over_time, latents, self.vae.config.scaling_factor)[:frames]


@torch.no_grad()
def _decode_over_time(vae: Any, latents: Tensor, scale: float) -> np.ndarray:
    cells = latents[0].transpose(0, 1).to(vae.device, vae.dtype) / scale  # (F, C, h, w)
    parts = []
    for few in cells.chunk(-(-len(cells) // FRAMES_AT_ONCE)):
        pixels = (vae.decode(few, num_frames=len(few)).sample.float() + 1) * 127.5
        parts.append(pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu())
    return torch.cat(parts).numpy()
