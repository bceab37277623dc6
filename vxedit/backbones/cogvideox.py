"""CogVideoX: CogVideoXTransformer3DModel, whose attention is over text and video together, T5 without a mask, and an
autoencoder that packs four frames into one. 1.5 has tokens of two of the latents' frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vxedit.backbones import text_attention
from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.sizes import Length, pixels_a_cell
from vxedit.backbones.text_attention import QueryKey, block_layers
from vxedit.backbones.texts import T5Text
from vxedit.backbones.tiles import Runs
from vxedit.backbones.transformer import Loaded, VideoTransformer
from vxedit.backbones.video_vae import VideoVae

OFS = 2.0
"""What the models with such an embedding were trained with."""


class CogVideoX(VideoTransformer):
    """A Backbone over CogVideoXTransformer3DModel."""

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        network = load_part(layout, "transformer", device=device, dtype=dtype)
        config = network.config
        return Loaded(
            network,
            codec(load_part(layout, "vae", device=device, dtype=torch.float32), facts),
            T5Text.load(
                layout, facts, kind="T5EncoderModel", device=device, dtype=dtype, reads_mask=False, zero_pads=False
            ),
            block_layers(
                network.transformer_blocks, "transformer_blocks.0.attn1", query_key, stride=int(config.patch_size)
            ),
            patch=(config.patch_size_t or 1, config.patch_size, config.patch_size),
            channels=int(config.in_channels),
        )

    def forward(self, x: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        config = self.network.config
        tokens = [side // step for side, step in zip(x.shape[2:], self.patch, strict=True)]
        output: Tensor = self.network(
            x.transpose(1, 2),  # (B, F, C, H, W)
            embeds,
            torch.full((len(x),), timestep, device=x.device),
            ofs=torch.full((1,), OFS, device=x.device) if config.ofs_embed_dim else None,
            image_rotary_emb=rotary(config, *tokens, device=x.device)
            if config.use_rotary_positional_embeddings
            else None,
            return_dict=False,
        )[0]
        return output.transpose(1, 2)


def rotary(config: Any, frames: int, height: int, width: int, *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (N, d) of the rotary positions of a grid of tokens (Su et al. 2021).

    1.0 lays the grid, its aspect kept, into the middle of the one it was trained on; 1.5 counts from the corner.
    """
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    if config.patch_size_t:
        where: dict[str, Any] = {"grid_type": "slice", "max_size": (height, width), "crops_coords": None}
    else:
        trained = (config.sample_height // config.patch_size, config.sample_width // config.patch_size)
        where = {"crops_coords": inside(trained, height, width)}
    found: tuple[Tensor, Tensor] = get_3d_rotary_pos_embed(
        config.attention_head_dim, grid_size=(height, width), temporal_size=frames, device=device, **where
    )
    return found


def inside(trained: tuple[int, int], height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The top left and bottom right of the largest place of a grid's aspect in the middle of the `trained` one."""
    scale = min(trained[0] / height, trained[1] / width)
    sides = round(scale * height), round(scale * width)
    top, left = (round((whole - side) / 2) for whole, side in zip(trained, sides, strict=True))
    return (top, left), (top + sides[0], left + sides[1])


def query_key(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> QueryKey:
    """The video's queries and the text's keys of a joint attention, without a bias: the padding takes part. Only
    queries are rotated, as text has no place. What the clip's own keys draw is left out of the softmax: it would cost
    N x N, and a word's share of it is small."""
    from diffusers.models.embeddings import apply_rotary_emb

    query, key, bias = text_attention.query_key(module, args, kwargs)
    if (waves := kwargs.get("image_rotary_emb")) is not None:
        query = apply_rotary_emb(query, waves)
    return query, key, bias


@dataclass(frozen=True)
class TokenVae:
    """An autoencoder whose latents are filled up in front to whole tokens of the network: with copies of their first
    frame, as the network was trained, which are dropped when they are decoded. `length` counts them, the `vae`'s own
    doesn't."""

    vae: VideoVae
    length: Length

    def modules(self) -> tuple[Any, ...]:
        """As Codec."""
        return self.vae.modules()

    @property
    def cell(self) -> int:
        return self.vae.cell

    def encode(self, frames: np.ndarray) -> Tensor:
        """As Backbone.encode."""
        own = self.vae.encode(frames)
        lacking = self.length.latents(len(frames)) - own.shape[2]
        return torch.cat([own[:, :, :1].expand(-1, -1, lacking, -1, -1), own], dim=2)

    def decode(self, latents: Tensor, frames: int) -> np.ndarray:
        """As Backbone.decode."""
        if latents.ndim != 5 or latents.shape[2] != (wanted := self.length.latents(frames)):
            raise ValueError(f"latents for {frames} frames are (1, C, {wanted}, h, w), got {tuple(latents.shape)}")
        return self.vae.decode(latents[:, :, -self.vae.length.latents(frames) :], frames)


def codec(vae: Any, facts: Facts) -> TokenVae:
    """AutoencoderKLCogVideoX, large frames in pieces as its authors do it: at 480 x 720 one piece's activations would
    take 18 GB in half precision.

    Its `invert_scale_latents` is about the picture that an image-to-video model is given, and changes nothing here.
    """
    vae.enable_tiling()

    def to_mean(pixels: Tensor) -> Tensor:
        mean: Tensor = vae.encode(pixels).latent_dist.mode()
        return mean

    def to_pixels(latents: Tensor) -> Tensor:
        # The decoder goes two frames at a time and takes the first alone only where their number is odd.
        whole = latents if latents.shape[2] % 2 else torch.cat([latents, latents[:, :, -1:]], dim=2)
        made: Tensor = vae.decode(whole).sample
        return made

    length = facts.sizes.length
    plain = Length(first=length.first, step=length.step, least=length.least)
    scale = float(vae.config.scaling_factor)
    return TokenVae(VideoVae(Runs(vae, to_mean, to_pixels), plain, pixels_a_cell(vae.config), 0.0, scale), length)
