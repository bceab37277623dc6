"""About how long an edit will take: the operations of its passes over what the device does in a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil

import torch

from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout
from vxedit.backbones.memory.shapes import transformer_memory
from vxedit.backbones.memory.transformer import TransformerMemory
from vxedit.backbones.memory.unet3d_stages import Grid, Network, flops
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import pixels_a_cell
from vxedit.job import InvertSettings

NULL_TEXT_FORWARDS, NULL_TEXT_BACKWARDS = 4.1, 0.45
"""Passes a step of an inversion with null-text optimisation, and gradients through all of the network: the means of
seven clips with the embedded model, 82 and 9 in 20 steps."""

EDIT_FORWARDS, GUIDED = 0.8, 0.35
"""Passes a step of the edit itself at the default strength, and gradients up to the steering layers."""

BACKWARD = 2.0
"""A gradient's operations in forward passes, besides the pass that it is taken of."""

REACHED = {4: 0.9, 2: 0.3}
"""The share of a plain matrix product's pace that a network reaches, by the bytes of a number: nearly all of it in
float32 (the embedded model), 0.2 to 0.4 in bfloat16 (ModelScope's), both on a processor."""

SIDE = 1024


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one forward pass, and how many passes there will be, gradients counted as such."""

    flops: int
    passes: float

    def seconds(self, device: torch.device, dtype: torch.dtype) -> float:
        """How long it takes on `device`, whose pace is measured for it."""
        return self.flops * self.passes / (REACHED[dtype.itemsize] * device_rate(device, dtype))


def work_of(
    layout: Layout,
    facts: Facts,
    size: Size,
    *,
    steps: int,
    guidance_scale: float | None,
    invert: InvertSettings | None,
    drawn: float = 0.0,
) -> Work | None:
    """The work of an edit in one piece of `size`; None where too little is known of the network. `invert` None: a clip
    that is generated, and edited. `drawn`: how many clips are drawn besides, for what objects become."""
    one = pass_flops(layout, facts, size)
    if one is None:
        return None
    doubled = 1 if guidance_scale == 1 else 2
    begun: float
    if invert is None:
        begun = doubled * steps
    elif invert.kind == "null-text":
        begun = steps * (NULL_TEXT_FORWARDS + BACKWARD * NULL_TEXT_BACKWARDS)
    else:
        begun = steps + (invert.kind == "uni")
    guided = steps * GUIDED * (1 + BACKWARD) / 2  # a gradient ends about halfway through the network
    begun += drawn * facts.steps * (1 if facts.guidance_scale == 1 else 2)
    return Work(one, begun + steps * EDIT_FORWARDS * (1 if invert is not None else doubled) + guided)


def pass_flops(layout: Layout, facts: Facts, size: Size) -> int | None:
    """The operations, two a multiplication, of one pass over one clip; None where too little is known."""
    config = layout.configs.get(layout.family.network.name, {})
    if layout.family.name == "unet3d":
        cell = pixels_a_cell(layout.configs["vae"])
        grid = Grid(size.frames, ceil(size.height / cell), ceil(size.width / cell))
        return flops(Network.of(config), grid, facts.text_limit)
    side, deep = facts.sizes.multiple, int(config.get("patch_size_t") or 1)
    tokens = ceil(facts.sizes.length.latents(size.frames) / deep) * (size.height // side) * (size.width // side)
    try:
        found = transformer_memory(layout.family.name, config, tokens=tokens, text=facts.text_limit, number=2)
    except (KeyError, TypeError, ValueError):
        return None
    return None if found is None else transformer_flops(found)


def transformer_flops(one: TransformerMemory) -> int:
    """The operations of a pass: a block's projections, its feed-forward, its attention over all tokens, and the keys
    and values of the text."""
    attentions = 4 if one.joint else 6  # queries, keys, values and output; to the text queries and output besides
    weights = attentions * one.width**2 + (3 if one.gated else 2) * one.width * one.feed_forward
    read = 0 if one.joint else one.text
    products = 2 * one.width * (one.tokens + read)
    return 2 * one.depth * (one.tokens * (weights + products) + 2 * read * one.width**2)


def device_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of plain matrix products on `device`, measured in about a tenth of a second."""
    matrix = torch.ones(SIDE, SIDE, device=device, dtype=dtype)

    def timed(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            product = matrix @ matrix
        float(product[0, 0])  # waits for the device
        return time.perf_counter() - begin

    timed(1)
    once = max(timed(1), 1e-6)
    count = max(1, min(1000, round(0.1 / once)))
    return 2.0 * SIDE**3 * count / max(timed(count), 1e-6)


def spoken(seconds: float) -> str:
    """A time that is only about right: "40 s", "6 min", "3 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"
