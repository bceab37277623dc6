"""Open-Sora-Plan 1.2.0 (Lin et al. 2024, arXiv 2412.00131), text to video: a network in a folder named after its size,
an autoencoder beside it, and Google's mT5."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, steering
from vxedit.backbones.family import OF_TRANSFORMERS, Facts, Family, Known, Part, Tokenizer, lowered
from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Length, Sizes

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

TEXT_COLUMNS = 512
CELL_PX, STEP = 8, 4
"""The autoencoder's: pixels that a latent cell is wide, and frames in one of the latents' after the first."""

FOLDERS = ("93x720p", "93x480p", "29x720p")
"""Where the published networks are; of several the first that is there is taken."""

SCHEDULER: dict[str, Any] = {"timestep_spacing": "linspace"}
"""None is published: the authors sample with diffusers' EulerAncestralDiscreteScheduler as it is, whose levels these
are."""


def facts(layout: Layout, native: Size | None) -> Facts:
    network = layout.configs["transformer"]
    sample = network.get("sample_size") or (90, 160)
    tall, wide = (sample, sample) if isinstance(sample, int) else sample
    length = Length(first=1, step=STEP)
    frames = 1 + STEP * (int(network.get("sample_size_t") or 24) - 1)
    size = native_size(layout, native or Size(frames, CELL_PX * tall, CELL_PX * wide))
    return Facts(
        sizes=Sizes(
            native=size,
            multiple=CELL_PX * int(network.get("patch_size", 2)),
            max_frames=most_frames(layout, size.frames),
            length=length,
        ),
        levels=noise(SCHEDULER),
        text_limit=TEXT_COLUMNS,
        steering=steering(layout),
        guidance_scale=guidance_scale(layout, 7.5),
        prepare=lowered,
    )


def _family(folder: str, known: tuple[Known, ...] = ()) -> Family:
    return Family(
        name="opensora-plan" if folder == FOLDERS[0] else f"opensora-plan-{folder}",
        title=f"Open-Sora-Plan 1.2.0, {folder}",
        parts=(
            Part("transformer", ("OpenSoraT2V",), folder=folder),
            Part("vae", ("CausalVAEModel",), stems=("checkpoint",)),
            Part("text_encoder", stems=OF_TRANSFORMERS),
        ),
        tokenizer=Tokenizer("t5", "text_encoder"),
        facts=facts,
        backbone="vxedit.backbones.opensora_plan.adapter:OpenSoraPlan",
        known=known,
    )


_SOURCES = {"": "LanguageBind/Open-Sora-Plan-v1.2.0", "text_encoder": "google/mt5-xxl"}

OPENSORA_PLAN = (
    _family(FOLDERS[0], (Known("opensora-plan", _SOURCES, Size(93, 720, 1280), "MIT", 64.0, 54.6),)),
    *map(partial(_family, known=()), FOLDERS[1:]),
)
