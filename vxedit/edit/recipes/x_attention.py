"""The recipe that this package began with: attention drawn to a target, one step of descent at a time.

Motamed et al., "Investigating the Effectiveness of Cross-Attention to Unlock Zero-Shot Editing of Text-to-Video
Diffusion Models", CVPR 2024 workshop (arXiv 2404.05519).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.protocol import Backbone
from vxedit.edit.attention import words_maps
from vxedit.edit.energy import drawn_energy
from vxedit.edit.recipes.gradient import Steered, alternates, descend, regenerate
from vxedit.edit.recipes.published import Published
from vxedit.edit.task import Edited, Task
from vxedit.invert.inversion import denoiser

WEIGHT = 4.0
RATE = 15.0
STRIDES = (2, 4)
"""Their maps of 16x16 and 8x8 cells, of latents of 32x32."""

FINE = 8
"""Points that a cell is sampled at, each way."""


def run(task: Task) -> Edited:
    """x -= 15 (1 - abar) dE/dx once in each step that `alternates` names. Energies are E of each frame."""
    denoise, aims, layers = denoiser(task.backbone, task.inversion), task.aims(), layers_of(task.backbone)
    words = [subject.columns for subject in task.subjects]
    schedule = task.inversion.schedule

    def steer(x: Tensor, i: int) -> Steered | None:
        if not alternates(i, len(schedule)):
            return None

        def energy(latents: Tensor) -> Tensor:
            t, embeds = schedule.timesteps[i], denoise.conditional
            return energy_of(words_maps(task.backbone, latents, t, embeds, words, layers=layers), aims)

        return descend(energy, x, rate(schedule.abar[i]))

    return regenerate(task, denoise, steer)


def rate(abar: float) -> float:
    """How far the latents go down the gradient at a level of signal `abar`."""
    return RATE * (1 - abar)


def layers_of(backbone: Backbone) -> tuple[str, ...]:
    """The steering layers with 1/2 and 1/4 of the latents' sides; all of them where none has."""
    steering = backbone.steering_layers()
    chosen = tuple(layer.name for layer in backbone.layers() if layer.name in steering and layer.stride in STRIDES)
    return chosen or steering


def energy_of(maps: Mapping[str, Tensor], boxes: Sequence[np.ndarray]) -> Tensor:
    """E = 4 mean (T - A~)^2, (f,): the mean over cells and layers, the sum over the objects; T is `drawn`.

    `maps` by layer (1, W, f, h, w), `boxes` (f, 4) one a word. Where an object's box is out of the frame there is
    nothing to draw, and its energy is 0.
    """
    found = []
    for m in maps.values():
        for word, own in enumerate(boxes):
            target = drawn(own, m.shape[-2], m.shape[-1]).to(m)
            found.append(drawn_energy(m[:, word], target)[0] * (target.amax((1, 2)) > 0))
    return WEIGHT * torch.stack(found).sum(0) / len(maps)


def drawn(boxes: np.ndarray, height: int, width: int) -> Tensor:
    """The target (f, height, width) in 0..1 of boxes (f, 4) xyxy: the ellipse in each, 1 in the cell that it covers
    most, so that A~, whose peak is 1, can reach it. What lies beyond the frame is cut off, never rolled round."""
    cover = ellipses(boxes, height, width)
    return cover / cover.amax((1, 2), keepdim=True).clamp_min(1e-6)


def ellipses(boxes: np.ndarray, height: int, width: int) -> Tensor:
    """How much of each cell is covered by the ellipse inscribed in a box: (f, 4) xyxy in [0, 1] to (f, height, width)
    in [0, 1], which makes its rim soft."""
    columns = _squared(boxes[:, 0], boxes[:, 2], width)
    rows = _squared(boxes[:, 1], boxes[:, 3], height)
    inside = rows[:, :, None] + columns[:, None, :] <= 1
    cells = inside.reshape(len(boxes), height, FINE, width, FINE)
    return torch.from_numpy(cells.mean((2, 4))).float()


def _squared(low: np.ndarray, high: np.ndarray, cells: int) -> np.ndarray:
    """The squared distance from the middle of [low, high], its half length being 1, of `FINE` points a cell:
    (f, cells * FINE)."""
    points = (np.arange(cells * FINE) + 0.5) / (cells * FINE)
    half = np.maximum((high - low) / 2, 1 / (cells * FINE))  # no ellipse slips through between the points
    return ((points - (low + high)[:, None] / 2) / half[:, None]) ** 2


RECIPE = Published(
    name="x-attention",
    paper="Motamed et al., CVPR 2024 workshop, arXiv 2404.05519",
    run=run,
    differs="Their sampler is DPM-Solver++, which would need an inversion of its own; here it is DDIM, with the "
    "steps that their code guides under DDIM. They start from noise at a guidance scale of 15; here it is "
    "the inverted noise at the inversion's scale. Maps are means over heads in the decoder's steering "
    "layers, where theirs are each head's in encoder and decoder. Their code draws one disc of fixed size "
    "and rolls it round the border, compares half of the frames only (it halves the batch for an "
    "unconditional part that isn't there), and counts unused layers as zeros in the mean; here an ellipse "
    "in each frame's own box is the target, cut at the border.",
)
