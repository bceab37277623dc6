"""Open-Sora 1.2 (Zheng et al. 2024, arXiv 2412.20404), text to video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, steering
from vxedit.backbones.family import OF_TRANSFORMERS, T5, Facts, Family, Known, Part, lowered
from vxedit.backbones.flow import Flow, shifted
from vxedit.backbones.opensora.chunks import Chunks
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Sizes

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

NATIVE = Size(51, 240, 432)
"""The authors' 240p, two seconds. The network was trained from 144p to 720p."""

MOST_FRAMES = 408
"""16 seconds, the longest clips that it was trained on."""

BASE_SIDE = 512
"""Side in pixels of the single picture for which the levels are not warped."""

TEXT_COLUMNS = 300
CHUNK = 17
CELL = 8
HALVED = (False, True, True)
"""After which of its levels the autoencoder halves time."""

SCORE = " aesthetic score: 6.5."
"""What the authors end every prompt with."""


def prepared(prompt: str) -> str:
    """The prompt in small letters, with the score that the network was trained to read after it."""
    small = lowered(prompt)
    return small if "aesthetic score:" in small else f"{small}{SCORE}"


def resolution_warp(u: float, shape: Sequence[int] | None, *, native: Sequence[int], cell: int) -> float:
    """A level u in [0, 1] moved towards noise for latents of `shape` (1, C, f, h, w), None: `native`. The shift is
    sqrt(pixels / 512^2) * sqrt(f): the more a clip tells twice, the more noise it takes to hide it."""
    frames, height, width = (shape or native)[2:]
    return shifted(u, math.sqrt(height * width * cell**2 * frames) / BASE_SIDE)


def facts(layout: Layout, native: Size | None) -> Facts:
    network, vae = layout.configs["transformer"], layout.configs["vae"]
    size = native_size(layout, native or NATIVE)
    widths = (vae.get("vae_2d") or {}).get("block_out_channels")
    cell = CELL if widths is None else 2 ** (len(widths) - 1)
    chunk = int(vae.get("micro_frame_size") or CHUNK)
    halved = (vae.get("vae_temporal") or {}).get("temporal_downsample", HALVED)
    length = Chunks(first=chunk, step=chunk, factor=2 ** sum(halved))
    shape = (1, 4, length.latents(size.frames), size.height // cell, size.width // cell)
    return Facts(
        sizes=Sizes(
            native=size,
            multiple=cell * int(network.get("patch_size", (1, 2, 2))[1]),
            max_frames=most_frames(layout, max(MOST_FRAMES, size.frames)),
            length=length,
        ),
        levels=Flow(partial(resolution_warp, native=shape, cell=cell)),
        text_limit=int(network.get("model_max_length", TEXT_COLUMNS)),
        steering=steering(layout),
        guidance_scale=guidance_scale(layout, 7.0),
        prepare=prepared,
        controls=True,
    )


OPENSORA = Family(
    name="opensora",
    title="Open-Sora 1.2",
    parts=(
        Part("transformer", ("STDiT3",), stems=OF_TRANSFORMERS),
        Part("vae", ("VideoAutoencoderPipeline",), stems=OF_TRANSFORMERS),
        Part("text_encoder", stems=OF_TRANSFORMERS),
    ),
    tokenizer=T5,
    facts=facts,
    backbone="vxedit.backbones.opensora.backbone:OpenSora",
    known=(
        Known(
            "opensora-1.2",
            {
                "transformer": "hpcai-tech/OpenSora-STDiT-v3",
                "vae": "hpcai-tech/OpenSora-VAE-v1.2",
                "text_encoder": "DeepFloyd/t5-v1_1-xxl",
                "tokenizer": "DeepFloyd/t5-v1_1-xxl",
            },
            NATIVE,
            "Apache-2.0",
            25.5,
            4.3,
        ),
    ),
)
