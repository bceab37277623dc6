"""LTX-Video: LTXVideoTransformer3DModel, T5 under a mask, and an autoencoder that packs eight frames of 32 x 32 pixels
into one cell. From 0.9.5 on its encoder of text is told the mask as well, and time is counted otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vxedit.backbones.families.ltx import is_later
from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.text_attention import block_layers, query_key_normed_across
from vxedit.backbones.texts import T5Text, real_columns
from vxedit.backbones.tiles import Runs
from vxedit.backbones.transformer import Loaded, VideoTransformer
from vxedit.backbones.video_vae import VideoVae

FPS = 25
"""The rate that clips are told to the network at: it places frames by their time."""

DECODED_AT = 0.0
"""The noise that a conditioned decoder is told its latents hold: none, so that what was encoded comes back."""

SEED = 0
"""What a decoder that adds noise to its features begins at, every time: the same latents give the same frames."""


class LTXVideo(VideoTransformer):
    """A Backbone over LTXVideoTransformer3DModel. `from_first`: a frame of the latents is placed at the first of the
    frames that it covers, as from 0.9.5 on, not at the last."""

    from_first: bool = False

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        network = load_part(layout, "transformer", device=device, dtype=dtype)
        return Loaded(
            network,
            codec(load_part(layout, "vae", device=device, dtype=torch.float32), facts),
            T5Text.load(
                layout,
                facts,
                kind="T5EncoderModel",
                device=device,
                dtype=dtype,
                reads_mask=is_later(layout),
                zero_pads=True,
            ),
            block_layers(network.transformer_blocks, "transformer_blocks.0.attn2", query_key_normed_across, stride=1),
            patch=(1, 1, 1),
            channels=int(network.config.in_channels),
        )

    def told(self, layout: Layout) -> None:
        self.from_first = is_later(layout)

    def forward(self, x: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        step = self.codec.length.step
        placed = places(x.shape[2:], step, self.codec.cell, late=step - 1 if self.from_first else 0, device=x.device)
        output: Tensor = self.network(
            x.flatten(2).transpose(1, 2),
            embeds,
            torch.full((len(x),), timestep, device=x.device),
            real_columns(embeds),
            video_coords=placed.expand(len(x), -1, -1),
            return_dict=False,
        )[0]
        return output.transpose(1, 2).unflatten(2, x.shape[2:])


def places(sides: Sequence[int], step: int, cell: int, *, late: int, device: torch.device) -> Tensor:
    """Where a grid of cells (frames, height, width) is, (1, 3, N) float32: seconds, and pixels from the top and the
    left. The latents' frame i is at frame i * `step` - `late` of the clip, and not before the first."""
    rows = [torch.arange(side, dtype=torch.float32, device=device) for side in sides]
    frames, height, width = torch.meshgrid(*rows, indexing="ij")
    seconds = (step * frames - late).clamp(min=0) / FPS
    return torch.stack([seconds, cell * height, cell * width]).flatten(1)[None]


def codec(vae: Any, facts: Facts) -> VideoVae:
    """AutoencoderKLLTXVideo, whose later decoders are told how noisy their latents are, and one of which adds noise to
    its features."""

    def to_mean(pixels: Tensor) -> Tensor:
        mean: Tensor = vae.encode(pixels).latent_dist.mode()
        return mean

    def to_pixels(latents: Tensor) -> Tensor:
        level = torch.full((len(latents),), DECODED_AT, device=latents.device, dtype=latents.dtype)
        with same_draws(SEED):
            made: Tensor = vae.decode(latents, level if vae.config.timestep_conditioning else None).sample
        return made

    mean, std = (numbers.view(1, -1, 1, 1, 1).float() for numbers in (vae.latents_mean, vae.latents_std))
    scale = float(vae.config.scaling_factor) / std
    return VideoVae(Runs(vae, to_mean, to_pixels), facts.sizes.length, int(vae.spatial_compression_ratio), mean, scale)


@contextlib.contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """While this is open, what is drawn without a generator begins at `seed`; afterwards it goes on as before."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
