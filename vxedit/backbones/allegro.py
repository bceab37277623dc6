"""Allegro: AllegroTransformer3DModel, T5 under a mask, and an autoencoder that packs four frames into one.

Zhou et al. 2024, arXiv 2410.15458. Open-Sora-Plan 1.2.0 has the same network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vxedit.backbones.family import Facts
from vxedit.backbones.identity import identity
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.protocol import Layer
from vxedit.backbones.sizes import pixels_a_cell
from vxedit.backbones.texts import T5Text, real_columns
from vxedit.backbones.tiles import Axis, Run, Runs, faded
from vxedit.backbones.transformer import Codec, VideoTransformer
from vxedit.backbones.video_vae import VideoVae

Rotary = tuple[tuple[tuple[Tensor, Tensor], ...], tuple[Tensor, ...]]


class Allegro(VideoTransformer):
    """A Backbone over AllegroTransformer3DModel."""

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
    ) -> Allegro:
        """Load every part of `layout` onto `device`, the network and the text encoder in `dtype`. Raises ModelError
        where one can't be."""
        network = load_part(layout, "transformer", device=device, dtype=dtype)
        vae = load_part(layout, "vae", device=device, dtype=torch.float32)  # its errors would be every result's
        prompts = T5Text.load(
            layout, facts, kind="T5EncoderModel", device=device, dtype=dtype, reads_mask=True, zero_pads=True
        )
        return cls.over(
            network,
            facts,
            codec(vae, facts),
            prompts,
            name=name,
            identity=identity(layout),
            checkpoint_activations=checkpoint_activations,
        )

    @classmethod
    def over(
        cls,
        network: Any,
        facts: Facts,
        codec: Codec,
        prompts: T5Text,
        *,
        name: str,
        identity: str,
        checkpoint_activations: bool | None = None,
    ) -> Allegro:
        """The Backbone of parts that are loaded."""
        config = network.config
        return cls(
            network,
            facts,
            codec=codec,
            prompts=prompts,
            layers=text_layers(network),
            patch=(config.patch_size_t, config.patch_size, config.patch_size),
            channels=int(config.in_channels),
            name=name,
            identity=identity,
            checkpoint_activations=checkpoint_activations,
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


def text_layers(network: Any) -> tuple[Layer, ...]:
    """The blocks' attentions to the text, first to run first."""
    blocks, stride = network.transformer_blocks, network.config.patch_size
    return tuple(
        Layer(f"transformer_blocks.{i}.attn2", block.attn2, query_key, share=(i + 0.5) / len(blocks), stride=stride)
        for i, block in enumerate(blocks)
    )


def query_key(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Queries (B, heads, N, d), keys (B, heads, L, d), and a bias (B, 1, 1, L) that hides the padding; text attention
    has no rotary positions."""
    attn: Any = module
    given = dict(zip(("hidden_states", "encoder_hidden_states", "attention_mask"), args, strict=False), **kwargs)
    query, key = attn.to_q(given["hidden_states"]), attn.to_k(given["encoder_hidden_states"])
    query, key = (tokens.unflatten(2, (attn.heads, -1)).transpose(1, 2) for tokens in (query, key))
    bias = given.get("attention_mask")
    return query, key, None if bias is None else bias[:, None]


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
