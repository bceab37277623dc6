"""Layout guidance: descent on the share of a word's attention that misses its box, in the first steps.

Chen et al., "Training-Free Layout Control with Cross-Attention Guidance", WACV 2024 (arXiv 2304.03373).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vxedit.edit.attention import words_maps
from vxedit.edit.energy import box_energy, rasterise
from vxedit.edit.recipes.controlled import first_steps
from vxedit.edit.recipes.gradient import Steered, descend, regenerate
from vxedit.edit.recipes.published import Published
from vxedit.edit.task import Edited, Task
from vxedit.invert.inversion import denoiser

RATE = 30.0
ITERATIONS = 5
STEPS, PUBLISHED = 10, 51
"""Steps that are guided, of how many."""

ENOUGH = 0.2
"""The energy of one object from which on a step is left alone."""


def run(task: Task) -> Edited:
    """At most 5 iterations in each of the first 10 of 51 steps. Energies are E of each frame."""
    denoise, aims = denoiser(task.backbone, task.inversion), task.aims()
    words = [subject.columns for subject in task.subjects]
    schedule = task.inversion.schedule
    until = first_steps(STEPS, PUBLISHED, len(schedule))

    def steer(x: Tensor, i: int) -> Steered | None:
        if i >= until:
            return None

        def energy(latents: Tensor) -> Tensor:
            return energy_of(
                words_maps(task.backbone, latents, schedule.timesteps[i], denoise.conditional, words), aims
            )

        return descend(energy, x, rate(schedule.abar[i]), most=ITERATIONS, enough=ENOUGH * len(aims))

    return regenerate(task, denoise, steer)


def rate(abar: float) -> float:
    """How far the latents go down the gradient at a level of signal `abar`.

    The paper's update is y -= 30 sigma^2 dE/dy with sigma^2 = (1 - abar) / abar, on latents y = x / sqrt(abar) of its
    sampler (LMS). With dE/dy = sqrt(abar) dE/dx it is x -= 30 (1 - abar) dE/dx.
    """
    sigma_squared = (1 - abar) / abar
    return RATE * sigma_squared * abar


def energy_of(maps: Mapping[str, Tensor], boxes: Sequence[np.ndarray]) -> Tensor:
    """E = (1 - sum(A M) / sum(A))^2, (f,): the mean over layers, the sum over the objects (their eq. 4).

    `maps` by layer (1, W, f, h, w), `boxes` (f, 4) one a word.
    """
    found = [
        box_energy(m[:, word], rasterise(own, m.shape[-2], m.shape[-1]).to(m))[0]
        for m in maps.values()
        for word, own in enumerate(boxes)
    ]
    return torch.stack(found).sum(0) / len(maps)


RECIPE = Published(
    name="layout-guidance",
    paper="Chen et al., WACV 2024, arXiv 2304.03373",
    run=run,
    differs="Made for pictures from noise: here every frame is taken as one, from the inverted noise, and the "
    "threshold is for the mean over frames and objects. Their code carries the loss from step to step, so "
    "that guidance never returns once it has been met; here it is tested afresh at every step. The "
    "sampler is DDIM, not LMS, and the update is theirs in its latents; the guidance scale is the "
    "inversion's, not 7.5. Maps are means over heads in the steering layers, where theirs are each head's "
    "in the middle block and the decoder's first; boxes are rasterised by area, not by whole cells.",
)
