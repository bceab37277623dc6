"""Open-Sora 2.0 (Peng et al. 2025, arXiv 2503.09642), text to video: the authors' files for the network and for
HunyuanVideo's autoencoder, without configurations, beside Google's T5 and OpenAI's CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, steering
from vxedit.backbones.family import OF_TRANSFORMERS, Facts, Family, Known, Part, Tokenizer
from vxedit.backbones.flow import Flow, shifted
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Length, Sizes

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout
    from vxedit.backbones.tree import Tree

TEXT_COLUMNS = 512
CELL_PX, PATCH, STEP = 8, 2, 4
"""Pixels a latent cell is wide, cells a token is wide, and frames in one of the latents' after the first."""

NATIVE = Size(129, 192, 336)
"""16:9 at the authors' 256px, the area of 256x256."""

FRAMES = 129
"""The longest clip that the network was trained on."""

MOTION = " 4 motion score."
"""What the authors' sampling adds to every prompt: how much moves, 1 to 7, as captions said it in training."""

T5_FOLDER, CLIP_FOLDER = "google/t5-v1_1-xxl", "openai/clip-vit-large-patch14"


def facts(layout: Layout, native: Size | None) -> Facts:
    size = native_size(layout, native or NATIVE)
    return Facts(
        sizes=Sizes(
            native=size,
            multiple=CELL_PX * PATCH,
            max_frames=most_frames(layout, max(FRAMES, size.frames)),
            length=Length(step=STEP),
        ),
        levels=Flow(partial(shifted_by_size, native=size)),
        text_limit=TEXT_COLUMNS,
        steering=steering(layout),
        guidance_scale=guidance_scale(layout, 7.5),
        prepare=with_motion,
    )


def shifted_by_size(u: float, shape: Sequence[int] | None, *, native: Size) -> float:
    """A Warp: the larger and longer the clip, the more of its steps are noisy. The shift is 1 at 256 tokens a frame and
    3 at 4096, linear between and beyond, times the root of the latents' frames; without a shape, `native`'s."""
    if shape is None:
        frames, cells = Length(step=STEP).latents(native.frames), native.height * native.width // CELL_PX**2
    else:
        frames, cells = shape[2], shape[3] * shape[4]
    by_tokens = 1 + 2 * (cells / PATCH**2 - 256) / (4096 - 256)
    return shifted(u, by_tokens * sqrt(frames))


def with_motion(prompt: str) -> str:
    """The prompt with its motion score; the empty one, which guidance is set against, stays empty."""
    return prompt + MOTION if prompt else prompt


def recognises(tree: Tree) -> bool:
    files = tree.files()
    return "Open_Sora_v2.safetensors" in files or {f"{T5_FOLDER}/config.json", f"{CLIP_FOLDER}/config.json"} <= files


_SOURCES = {"": "hpcai-tech/Open-Sora-v2"}
_LICENCE = "Apache-2.0; autoencoder: Tencent Hunyuan Community License, not for every country"

OPENSORA2 = Family(
    name="opensora2",
    title="Open-Sora 2.0",
    parts=(
        Part("transformer", folder="", config=None, stems=("Open_Sora_v2",)),
        Part("vae", folder="", config=None, stems=("hunyuan_vae",)),
        Part("text_encoder", folder=T5_FOLDER, stems=OF_TRANSFORMERS),
        Part("text_encoder_2", folder=CLIP_FOLDER, stems=OF_TRANSFORMERS),
    ),
    tokenizer=Tokenizer("t5", T5_FOLDER),
    second_tokenizer=Tokenizer("clip", CLIP_FOLDER),
    facts=facts,
    backbone="vxedit.backbones.opensora2.adapter:OpenSora2",
    known=(
        Known("opensora2", _SOURCES, NATIVE, _LICENCE, 46.0, 29.8),
        Known("opensora2-768px", _SOURCES, Size(129, 576, 1024), _LICENCE, 46.0, 76),
    ),
    recognises=recognises,
)
