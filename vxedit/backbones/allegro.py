"""Allegro: AllegroTransformer3DModel, T5 under a mask, and an autoencoder that packs four frames into one.

Zhou et al. 2024, arXiv 2410.15458. Open-Sora-Plan 1.2.0 has the same network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.sizes import pixels_a_cell
from vxedit.backbones.text_attention import block_layers, query_key
from vxedit.backbones.texts import T5Text, real_columns
from vxedit.backbones.tiles import Axis, Run, Runs, faded
from vxedit.backbones.transformer import Codec, Loaded, VideoTransformer
from vxedit.backbones.video_vae import VideoVae

Rotary = tuple[tuple[tuple[Tensor, Tensor], ...], tuple[Tensor, ...]]


class Allegro(VideoTransformer):
    """A Backbone over AllegroTransformer3DModel."""

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        return loaded(
            load_part(layout, "transformer", device=device, dtype=dtype),
            codec(load_part(layout, "vae", device=device, dtype=torch.float32), facts),
            T5Text.load(
                layout, facts, kind="T5EncoderModel", device=device, dtype=dtype, reads_mask=True, zero_pads=True
            ),
        )

    def forward(self, x: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        tokens = [side // step for side, step in zip(x.shape[2:], self.patch, strict=True)]
        output: Tensor = self.network(
            x,
            embeds,
            torch.full((len(x),), timestep, device=x.device),
            encoder_attention_mask=real_columns(embeds),
            image_rotary_emb=rotary(self.network.config, *tokens, device=x.device),
            return_dict=False,
        )[0]
        return output[:, : self.channels]  # a network that also learned the variance gives it after


def loaded(network: Any, codec: Codec, prompts: T5Text) -> Loaded:
    """AllegroTransformer3DModel with what goes before and after it."""
    config = network.config
    return Loaded(
        network,
        codec,
        prompts,
        block_layers(
            network.transformer_blocks, "transformer_blocks.0.attn2", query_key, stride=int(config.patch_size)
        ),
        patch=(config.patch_size_t, config.patch_size, config.patch_size),
        channels=int(config.in_channels),
    )


def rotary(config: Any, frames: int, height: int, width: int, *, device: torch.device) -> Rotary:
    """Rotary positions (Su et al. 2021) of a grid of tokens, a third of a head's channels for each axis: for each axis
    cosines and sines (side, d / 3), and for each axis the tokens' places on it (1, N), the width's running fastest."""
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    sides = (frames, height, width)
    scales = (config.interpolation_scale_t, config.interpolation_scale_h, config.interpolation_scale_w)
    waves = tuple(
        get_1d_rotary_pos_embed(
            config.attention_head_dim // 3,
            torch.arange(side, device=device, dtype=torch.float32) / scale,
            use_real=True,
            repeat_interleave_real=False,
        )
        for side, scale in zip(sides, scales, strict=True)
    )
    places = torch.cartesian_prod(*(torch.arange(side, device=device) for side in sides))  # (N, 3)
    return waves, tuple(place[None] for place in places.view(-1, 3).unbind(1))


def codec(vae: Any, facts: Facts) -> VideoVae:
    """AutoencoderKLAllegro in pieces of the size and overlap that its authors took. Their own way leaves out what is
    over after the last whole piece; here the last one is moved back."""
    length = facts.sizes.length
    grows = (length.step, pixels_a_cell(vae.config), pixels_a_cell(vae.config))

    def in_pieces(run: Run, *, decoding: bool) -> Run:
        for i, (piece, step, grow) in enumerate(zip(vae.kernel, vae.stride, grows, strict=True)):
            if decoding:
                run = faded(run, Axis(2 + i, piece // grow, (piece - step) // grow, grow))
            else:
                run = faded(run, Axis(2 + i, piece, piece - step, 1 / grow))
        return run

    def to_mean(pixels: Tensor) -> Tensor:
        mean, _ = _by_frame(vae.quant_conv, vae.encoder(pixels)).chunk(2, dim=1)
        return mean

    def to_pixels(latents: Tensor) -> Tensor:
        made: Tensor = vae.decoder(_by_frame(vae.post_quant_conv, latents))
        return made

    runs = Runs(vae, in_pieces(to_mean, decoding=False), in_pieces(to_pixels, decoding=True))
    return VideoVae(runs, length, pixels_a_cell(vae.config), 0.0, float(vae.config.scaling_factor))


def _by_frame(conv: Any, x: Tensor) -> Tensor:
    flat: Tensor = conv(x.transpose(1, 2).flatten(0, 1))
    return flat.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)
