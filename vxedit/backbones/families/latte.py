"""Latte (Ma et al. 2024, arXiv 2401.03048), text to video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, steering
from vxedit.backbones.family import OF_TRANSFORMERS, SCHEDULER, T5, Facts, Family, Known, Part, lowered
from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Length, Sizes, pixels_a_cell

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

TEXT_COLUMNS = 120


def facts(layout: Layout, native: Size | None) -> Facts:
    network = layout.configs["transformer"]
    cell = pixels_a_cell(layout.configs["vae"])
    # What a configuration leaves out has the network's defaults.
    trained, side = int(network.get("video_length", 16)), int(network.get("sample_size", 64)) * cell
    size = native_size(layout, native or Size(trained, side, side))
    return Facts(
        sizes=Sizes(
            native=size,
            multiple=cell * int(network["patch_size"]),
            max_frames=most_frames(layout, max(trained, size.frames)),
            length=Length(least=trained),
        ),
        levels=noise(layout.configs["scheduler"]),
        text_limit=TEXT_COLUMNS,
        steering=steering(layout),
        guidance_scale=guidance_scale(layout, 7.5),
        prepare=lowered,
    )


LATTE = Family(
    name="latte",
    title="Latte",
    parts=(
        Part("transformer", ("LatteTransformer3DModel",)),
        Part("vae", ("AutoencoderKL",)),
        Part("vae_temporal_decoder", ("AutoencoderKLTemporalDecoder",), optional=True),
        Part("text_encoder", ("T5EncoderModel",), stems=OF_TRANSFORMERS),
        SCHEDULER,
    ),
    tokenizer=T5,
    facts=facts,
    backbone="vxedit.backbones.latte:Latte",
    known=(Known("latte", {"": "maxin-cn/Latte-1"}, Size(16, 512, 512), "Apache-2.0", 24.0, 7.4),),
)
