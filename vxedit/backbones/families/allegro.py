"""Allegro (Zhou et al. 2024, arXiv 2410.15458), text to video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, steering
from vxedit.backbones.family import OF_TRANSFORMERS, SCHEDULER, T5, Facts, Family, Known, Part, lowered
from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Length, Sizes, pixels_a_cell

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

TEXT_COLUMNS = 512
STEP = 4
"""Frames that one frame of the latents stands for, the first one's like the others'."""


def facts(layout: Layout, native: Size | None) -> Facts:
    network, vae = layout.configs["transformer"], layout.configs["vae"]
    cell, step = pixels_a_cell(vae), int(vae.get("temporal_compression_ratio", STEP))
    # What a configuration leaves out has the network's defaults.
    sample = Size(
        network.get("sample_frames", 22) * step,
        network.get("sample_height", 90) * cell,
        network.get("sample_width", 160) * cell,
    )
    size = native_size(layout, native or sample)
    return Facts(
        sizes=Sizes(
            native=size,
            multiple=cell * int(network.get("patch_size", 2)),
            max_frames=most_frames(layout, size.frames),
            length=Length(first=step, step=step, least=step),
        ),
        levels=noise({"timestep_spacing": "linspace"} | dict(layout.configs["scheduler"])),
        text_limit=TEXT_COLUMNS,
        steering=steering(layout),
        guidance_scale=guidance_scale(layout, 7.5),
        prepare=lowered,
    )


ALLEGRO = Family(
    name="allegro",
    title="Allegro",
    parts=(
        Part("transformer", ("AllegroTransformer3DModel",)),
        Part("vae", ("AutoencoderKLAllegro",)),
        Part("text_encoder", stems=OF_TRANSFORMERS),
        SCHEDULER,
    ),
    tokenizer=T5,
    facts=facts,
    backbone="vxedit.backbones.allegro:Allegro",
    known=(Known("allegro", {"": "rhymes-ai/Allegro"}, Size(88, 720, 1280), "Apache-2.0", 26.0, 50.5),),
)
