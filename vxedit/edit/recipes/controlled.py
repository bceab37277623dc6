"""A clip made anew from its noise, with the network's attention under control in the first steps.

Where an object stands is settled in the first steps of sampling, so that is all the time an edit of the attention
needs; afterwards the network is left alone to draw what it began.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vxedit.backbones.protocol import Control
from vxedit.edit.task import Edited, Task, everywhere
from vxedit.invert.ddim import guided
from vxedit.invert.inversion import Denoiser, denoiser


def first_steps(published: int, of: int, steps: int) -> int:
    """How many of a run's `steps` are the first `published` of a paper's `of`: in proportion, at least one."""
    return max(1, round(published * steps / of))


@torch.no_grad()
def regenerate(
    task: Task, start: Tensor, under_control: int, control: Control, *, unconditional: Control | None = None
) -> Edited:
    """Run all steps from latents `start` (1, C, f, h, w) at the trajectory's first level, under the inversion's null
    embeddings; the first `under_control` of them with `control` deciding what attention gives.

    `unconditional`: the control of the pass without the prompt; None: the same.
    """
    denoise = denoiser(task.backbone, task.inversion)
    x, count = start, len(task.inversion.schedule)
    for i in range(count):
        eps = _ruled(denoise, x, i, control, unconditional) if i < under_control else denoise(x, i)
        x = task.inversion.step(x, eps, i)
        task.tell(i + 1, count)
    return Edited(
        latents=x,
        expected=None,
        held=None,
        region=everywhere(task),
        scene=None,
        energy_before=None,
        energy_after=None,
        forwards=denoise.forwards,
        guided=0,
    )


def _ruled(denoise: Denoiser, x: Tensor, i: int, control: Control, unconditional: Control | None) -> Tensor:
    """The guided noise at step i under control."""
    if unconditional is None:
        with denoise.backbone.controlled(control):
            return denoise(x, i)
    with denoise.backbone.controlled(control):
        eps = denoise.noise(x, i, denoise.conditional)
    if denoise.scale == 1 or denoise.unconditional is None:
        return eps
    # the passes differ by their control even where null embeddings and prompt are equal, so both are always run
    with denoise.backbone.controlled(unconditional):
        return guided(denoise.noise(x, i, denoise.null(i)), eps, denoise.scale)
