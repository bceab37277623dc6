"""Wan 2.1 and 2.2 (Wan team 2025, arXiv 2503.20314), text to video."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, refuse_pictures, steering
from vxedit.backbones.family import OF_TRANSFORMERS, SCHEDULER, T5, Facts, Family, Known, Part
from vxedit.backbones.flow import Flow, fixed_shift
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Length, Sizes
from vxedit.errors import ModelError

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

TEXT_COLUMNS = 512
CHANNELS = 16
SHIFT = 3.0
"""The scheduler's, where it doesn't say."""
NATIVE = Size(81, 480, 832)
FRAMES = 81
"""The longest clip in one piece: the family was trained on no longer ones."""


def facts(layout: Layout, native: Size | None) -> Facts:
    _check_experts(layout)
    network, vae, scheduler = (layout.configs[part] for part in ("transformer", "vae", "scheduler"))
    taken = network.get("in_channels", CHANNELS)
    refuse_pictures(layout, taken, network.get("out_channels") or taken, instead="wan-1.3b")
    size, cell = native_size(layout, native or NATIVE), int(vae.get("scale_factor_spatial") or 8)
    shift = float(scheduler.get("flow_shift") or scheduler.get("shift") or SHIFT)
    return Facts(
        sizes=Sizes(
            native=size,
            multiple=cell * int(network.get("patch_size", (1, 2, 2))[1]),
            max_frames=most_frames(layout, max(FRAMES, size.frames)),
            length=Length(step=int(vae.get("scale_factor_temporal") or 4)),
        ),
        levels=Flow(partial(fixed_shift, shift=shift)),
        text_limit=TEXT_COLUMNS,
        steering=steering(layout),
        guidance_scale=guidance_scale(layout, 5.0),
    )


def _check_experts(layout: Layout) -> None:
    ratio, two = layout.index.get("boundary_ratio"), "transformer_2" in layout.configs
    if two and ratio is None:
        raise ModelError(
            f"{layout.tree}: model_index.json lacks boundary_ratio, which says when each expert runs: get it again"
        )
    if ratio is not None and not two:
        raise ModelError(
            f"{layout.tree}: model_index.json has boundary_ratio {ratio}, by which there are two experts, and the "
            "second, transformer_2, isn't there: get the model's files again"
        )


WAN = Family(
    name="wan",
    title="Wan 2.1, Wan 2.2",
    parts=(
        Part("transformer", ("WanTransformer3DModel",)),
        Part("transformer_2", ("WanTransformer3DModel",), optional=True),
        Part("vae", ("AutoencoderKLWan",)),
        Part("text_encoder", ("UMT5EncoderModel",), stems=OF_TRANSFORMERS),
        SCHEDULER,
    ),
    tokenizer=T5,
    facts=facts,
    backbone="vxedit.backbones.wan:Wan",
    known=(
        Known("wan-1.3b", {"": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"}, Size(81, 480, 832), "Apache-2.0", 28.0, 16.2),
        Known("wan-14b", {"": "Wan-AI/Wan2.1-T2V-14B-Diffusers"}, Size(81, 720, 1280), "Apache-2.0", 80.0, 121),
        Known("wan2.2-5b", {"": "Wan-AI/Wan2.2-TI2V-5B-Diffusers"}, Size(121, 704, 1280), "Apache-2.0", 34.0, 31.1),
        Known("wan2.2-a14b", {"": "Wan-AI/Wan2.2-T2V-A14B-Diffusers"}, Size(81, 720, 1280), "Apache-2.0", 126.0, 121),
    ),
)
