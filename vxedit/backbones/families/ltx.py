"""LTX-Video (HaCohen et al. 2024, arXiv 2501.00103), text to video."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, steering
from vxedit.backbones.family import OF_TRANSFORMERS, SCHEDULER, T5, Facts, Family, Known, Part
from vxedit.backbones.flow import Flow, shifted
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Length, Sizes
from vxedit.errors import ModelError

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

TEXT_COLUMNS, LATER_COLUMNS = 128, 256
"""What prompts are padded to, before 0.9.5 and from it on."""

NATIVE = Size(161, 512, 704)
FRAMES = 257
"""The longest clip that the authors advise."""

KNEE = 0.025
"""The share of the noise that the first half of the steps takes away, from 0.9.5 on."""

LICENCE = "LTX-Video Open Weights License"


def facts(layout: Layout, native: Size | None) -> Facts:
    network, vae, scheduler = (layout.configs[part] for part in ("transformer", "vae", "scheduler"))
    if (got := (network.get("patch_size", 1), network.get("patch_size_t", 1))) != (1, 1):
        raise ModelError(
            f"{layout.tree}: transformer/config.json has patches of {got[0]} cells and {got[1]} frames, vxedit knows "
            "LTX-Video with 1 and 1: take a model that `vxedit models` lists"
        )
    cell, step = packing(vae)
    size, length = native_size(layout, native or NATIVE), Length(step=step)
    tokens = length.latents(size.frames) * (size.height // cell) * (size.width // cell)
    return Facts(
        sizes=Sizes(
            native=size, multiple=cell, max_frames=most_frames(layout, max(FRAMES, size.frames)), length=length
        ),
        levels=Flow(linear_quadratic) if is_later(layout) else by_scheduler(scheduler, tokens),
        text_limit=LATER_COLUMNS if is_later(layout) else TEXT_COLUMNS,
        steering=steering(layout),
        guidance_scale=guidance_scale(layout, 3.0),
    )


def is_later(layout: Layout) -> bool:
    """Whether the model is of 0.9.5 or later, which sample at other levels and count time otherwise: the published
    ones name another pipeline, or leave their scheduler's dynamic shifting off."""
    dynamic = layout.configs["scheduler"].get("use_dynamic_shifting", False)
    return layout.index.get("_class_name") == "LTXConditionPipeline" or not dynamic


def packing(vae: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels a latent cell is wide, and frames in one of the latents' after the first, from the autoencoder's
    configuration; what it leaves out has the class's defaults."""
    halved: int = 2 ** sum(vae.get("spatio_temporal_scaling", (True, True, True, False)))
    cell = vae.get("spatial_compression_ratio") or halved * vae.get("patch_size", 4)
    return int(cell), int(vae.get("temporal_compression_ratio") or halved * vae.get("patch_size_t", 1))


def by_scheduler(scheduler: Mapping[str, Any], tokens: int) -> Flow:
    """The levels that scheduler_config.json describes, with dynamic shifting: mu is a line through two lengths in
    tokens (after Esser et al. 2024, as diffusers has it). `tokens`: the length where none is given. Raises
    ModelError for levels of another kind."""
    if kinds := [kind for kind in ("karras", "exponential", "beta") if scheduler.get(f"use_{kind}_sigmas")]:
        raise ModelError(
            f"scheduler_config.json: use_{kinds[0]}_sigmas is on, vxedit knows LTX-Video's levels without: turn it off"
        )
    least, most = scheduler.get("base_image_seq_len", 256), scheduler.get("max_image_seq_len", 4096)
    low, high = scheduler.get("base_shift", 0.5), scheduler.get("max_shift", 1.15)
    slope = (high - low) / (most - least)
    warp = partial(
        by_tokens,
        slope=slope,
        start=low - slope * least,
        tokens=tokens,
        linear=scheduler.get("time_shift_type", "exponential") == "linear",
    )
    return Flow(warp, terminal=scheduler.get("shift_terminal") or None)


def by_tokens(
    u: float, shape: Sequence[int] | None, *, slope: float, start: float, tokens: int, linear: bool = False
) -> float:
    """A Warp: the noise-to-signal ratio times e^mu, or times mu where `linear`, with mu = start + slope * the latents'
    positions (`tokens` where no shape is given)."""
    mu = start + slope * (tokens if shape is None else math.prod(shape[2:]))
    return shifted(u, mu if linear else math.exp(mu))


def linear_quadratic(u: float, shape: Sequence[int] | None) -> float:
    """A Warp: slowly down a line for the first half of the steps, then down a parabola (Polyak et al. 2024, Movie Gen).
    For an even number of steps these are the levels that diffusers' pipeline takes."""
    x = 1 - 2 * u
    return 1 - KNEE * (1 + x) - (1 - 2 * KNEE) * max(x, 0.0) ** 2


LTX = Family(
    name="ltx",
    title="LTX-Video",
    parts=(
        Part("transformer", ("LTXVideoTransformer3DModel",)),
        Part("vae", ("AutoencoderKLLTXVideo",)),
        Part("text_encoder", ("T5EncoderModel",), stems=OF_TRANSFORMERS),
        SCHEDULER,
    ),
    tokenizer=T5,
    facts=facts,
    backbone="vxedit.backbones.ltx:LTXVideo",
    known=(
        Known("ltx", {"": "Lightricks/LTX-Video"}, Size(161, 512, 704), LICENCE, 28.4, 7.7),
        Known("ltx-0.9.1", {"": "Lightricks/LTX-Video-0.9.1"}, Size(161, 512, 704), LICENCE, 24.8, 7.7),
        Known("ltx-0.9.5", {"": "Lightricks/LTX-Video-0.9.5"}, Size(161, 512, 704), LICENCE, 25.4, 7.7),
        Known("ltx-13b", {"": "Lightricks/LTX-Video-0.9.7-dev"}, Size(121, 512, 704), LICENCE, 47.6, 32),
    ),
)
