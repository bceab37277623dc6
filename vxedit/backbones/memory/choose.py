"""The memory plan of an edit with a model whose files are at hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil

import torch

from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout
from vxedit.backbones.memory.autoencoder import VaeWay
from vxedit.backbones.memory.device import DeviceMemory, device_memory
from vxedit.backbones.memory.needs import Needs, Pass
from vxedit.backbones.memory.parts import parameters_in
from vxedit.backbones.memory.plan import Asked, MemoryPlan, Wishes, plan_memory
from vxedit.backbones.memory.shapes import transformer_memory
from vxedit.backbones.memory.text import text_encoder_bytes
from vxedit.backbones.memory.unet3d_needs import FLOAT_BYTES, HEAP_SHARE, NUMBER_BYTES, Edit, unet3d_needs
from vxedit.backbones.transformer import MIDDLE, MOST_WATCHED

MAPS = 6
"""Maps as large as the picture that an autoencoder of clips has at once at its end, of its finest width."""

FRAMES_AT_ONCE = 4
"""Frames that it makes at once where it goes through time piece by piece."""


def memory_plan(
    layout: Layout, facts: Facts, edit: Edit, asked: Asked, device: torch.device, wishes: Wishes
) -> MemoryPlan | None:
    """How an edit is to be run on `device`; None where too little is known of the model.

    Raises ModelError, with the flags that would fit, where no way fits and the estimate has been measured (ModelScope's
    family); of other families, whose estimate has not, the least way is taken instead.
    """
    if any(part.stems and not part.optional and part.name not in layout.weights for part in layout.family.parts):
        return None
    memory = device_memory(device)
    if layout.family.name == "unet3d":
        others = {part: _parameters(layout, part) for part in ("vae", "text_encoder")}
        needs: Callable[[Asked], Needs] = partial(unet3d_needs, layout.configs, others, facts.steering, edit)
        return plan_memory(asked, needs, memory, wishes)
    if not _is_known(layout, facts):
        return None
    needs = partial(transformer_needs, layout, facts, edit)
    room = DeviceMemory(memory.kind, max(memory.free_bytes, _least(asked, needs, wishes, memory)))
    return plan_memory(asked, needs, room, wishes)


def transformer_needs(layout: Layout, facts: Facts, edit: Edit, asked: Asked) -> Needs:
    """The bytes that an edit with a video transformer needs: an estimate from configurations, not measured."""
    number, config = NUMBER_BYTES[asked.dtype], layout.configs[layout.family.network.name]
    frames, height, width = asked.size
    side, deep = facts.sizes.multiple, int(config.get("patch_size_t") or 1)
    tokens = ceil(facts.sizes.length.latents(frames) / deep) * (height // side) * (width // side)
    one = transformer_memory(layout.family.name, config, tokens=tokens, text=facts.text_limit, number=number)
    if one is None:
        raise ValueError(f"nothing is known of the sizes of {layout.family.title}'s network")
    networks = [part.name for part in layout.family.parts if part.name.startswith("transformer")]
    weights = sum(number * _parameters(layout, part) for part in networks)
    last, first = (round(share * one.depth) for share in reversed(MIDDLE))
    captured = max(1, min(MOST_WATCHED, last - first))
    stage = weights // one.depth
    guidance = {
        again: Pass(one.guidance(captured, blocks=max(last, 1), recomputed=again), stage * max(last, 1))
        for again in (False, True)
    }
    null_text = {again: Pass(one.guidance(0, blocks=one.depth, recomputed=again), weights) for again in (False, True)}
    text = layout.configs.get("text_encoder")
    channels = int(config.get("in_channels") or 16)
    latents = channels * tokens * deep * 4
    pixels = {"chunks": height * width * FRAMES_AT_ONCE, "frames": height * width * FRAMES_AT_ONCE, "tiles": 512 * 512}
    ways: tuple[VaeWay, ...] = ("chunks", "frames", "tiles")
    return Needs(
        network=weights,
        autoencoder=FLOAT_BYTES * _parameters(layout, "vae"),
        text_encoder=number * _parameters(layout, "text_encoder"),
        stage=stage,
        text=0 if text is None else text_encoder_bytes(text, facts.text_limit, number=number),
        forward=one.forward(),
        decode={way: FLOAT_BYTES * MAPS * _finest(layout) * pixels[way] for way in ways},
        guidance=guidance if edit.guided else {},
        null_text=null_text if edit.null_text else {},
        kept=FLOAT_BYTES * 2 * (edit.steps + 1) * latents,
        scratch=int(HEAP_SHARE * weights) if edit.device == "cpu" else 0,
    )


def _is_known(layout: Layout, facts: Facts) -> bool:
    config = layout.configs.get(layout.family.network.name)
    try:
        return (
            config is not None
            and transformer_memory(layout.family.name, config, tokens=1, text=facts.text_limit, number=2) is not None
        )
    except (KeyError, TypeError, ValueError):
        return False


def _least(asked: Asked, needs: Callable[[Asked], Needs], wishes: Wishes, memory: DeviceMemory) -> int:
    """The bytes of the way that needs the fewest."""
    from vxedit.backbones.memory.plan import ways

    return min(needs(asked).peak(way) for way in ways(memory, wishes))


def _finest(layout: Layout) -> int:
    """The width of an autoencoder's maps that are as large as the picture, as its configuration says it somehow."""
    config = layout.configs.get("vae", {})
    widths = config.get("block_out_channels") or config.get("decoder_block_out_channels")
    if widths:
        return int(min(widths))
    return int(config.get("base_dim") or config.get("hidden_size") or 128)


def _parameters(layout: Layout, part: str) -> int:
    """The number of a part's weights, 0 where it has none of its own."""
    found = layout.weights.get(part)
    if found is None:
        return 0
    own = [file for file in found.files if not file.endswith(".json")]
    if found.safe:
        return sum(parameters_in(layout.path(file)) for file in own)
    return layout.bytes(part) // (2 if found.variant == "fp16" else 4)
