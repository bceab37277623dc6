"""LTX-Video: LTXVideoTransformer3DModel, T5 under a mask, and an autoencoder that packs eight frames of 32 x 32 pixels
into one cell. From 0.9.5 on its encoder of text is told the mask as well, and time is counted otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vxedit.backbones.families.ltx import is_later
from vxedit.backbones.family import Facts
from vxedit.backbones.identity import identity
from vxedit.backbones.layout import Layout
from vxedit.backbones.parts import load_part
from vxedit.backbones.protocol import Layer
from vxedit.backbones.texts import T5Text, real_columns
from vxedit.backbones.tiles import Runs
from vxedit.backbones.transformer import VideoTransformer
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
    def load(
        cls,
        layout: Layout,
        facts: Facts,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        checkpoint_activations: bool | None = None,
    ) -> LTXVideo:
        """Load every part of `layout` onto `device`, the network and the text encoder in `dtype`. Raises ModelError
        where one can't be."""
        network = load_part(layout, "transformer", device=device, dtype=dtype)
        vae = load_part(layout, "vae", device=device, dtype=torch.float32)  # its errors would be every result's
        later = is_later(layout)
        prompts = T5Text.load(
            layout, facts, kind="T5EncoderModel", device=device, dtype=dtype, reads_mask=later, zero_pads=True
        )
        made = cls(
            network,
            facts,
            codec=codec(vae, facts),
            prompts=prompts,
            layers=text_layers(network),
            patch=(1, 1, 1),
            channels=int(network.config.in_channels),
            name=name,
            identity=identity(layout),
            checkpoint_activations=checkpoint_activations,
        )
        made.from_first = later
        return made

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


def text_layers(network: Any) -> tuple[Layer, ...]:
    """The blocks' attentions to the text, first to run first."""
    blocks = network.transformer_blocks
    return tuple(
        Layer(f"transformer_blocks.{i}.attn2", block.attn2, query_key, share=(i + 0.5) / len(blocks), stride=1)
        for i, block in enumerate(blocks)
    )


def query_key(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Queries (B, heads, N, d) and keys (B, heads, L, d), normalised across the heads before they are parted, and a
    bias (B, 1, 1, L) that hides the padding; text attention has no rotary positions."""
    attn: Any = module
    given = dict(zip(("hidden_states", "encoder_hidden_states", "attention_mask"), args, strict=False), **kwargs)
    query = attn.norm_q(attn.to_q(given["hidden_states"]))
    key = attn.norm_k(attn.to_k(given["encoder_hidden_states"]))
    query, key = (tokens.unflatten(2, (attn.heads, -1)).transpose(1, 2) for tokens in (query, key))
    bias = given.get("attention_mask")
    return query, key, None if bias is None else bias[:, None]


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
