"""What the recipes by gradient share: all the steps from the most noisy latents on, and steps down an energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vxedit.edit.guidance import Energy
from vxedit.edit.recipes.controlled import first_steps
from vxedit.edit.task import Edited, Task, everywhere
from vxedit.invert.inversion import Denoiser


@dataclass(frozen=True)
class Steered:
    """What guidance made of one step: the `latents` that it goes on from; the energies (f,) of its first and of its
    last gradient pass; how many `passes` those were; what is added to the noise, `score`, or None; forward passes
    without a gradient."""

    latents: Tensor
    before: Tensor
    after: Tensor
    passes: int
    score: Tensor | None = None
    forwards: int = 0


Steer = Callable[[Tensor, int], "Steered | None"]
"""Guidance of the latents (1, C, f, h, w) at step i, or None where that step has none."""


def regenerate(task: Task, denoise: Denoiser, steer: Steer) -> Edited:
    """All N steps of DDIM from the trajectory's most noisy latents, each steered before it is made.

    Energies: before anything was moved, and those that the last gradient pass found. Early-stopped passes without a
    gradient count among `forwards`.
    """
    x, count = task.inversion.pivot(0), len(task.inversion.schedule)
    before = after = None
    forwards = passes = 0
    for i in range(count):
        steered = steer(x, i)
        if steered is not None:
            x, after = steered.latents, steered.after
            before = steered.before if before is None else before
            passes, forwards = passes + steered.passes, forwards + steered.forwards
        eps = denoise(x, i)
        if steered is not None and steered.score is not None:
            eps = eps + steered.score
        x = task.inversion.step(x, eps, i)
        task.tell(i + 1, count)
    return Edited(x, None, None, everywhere(task), None, before, after, denoise.forwards + forwards, passes)


def slope(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    """The energies (f,) at x (1, C, f, h, w), and the gradient of their sum, 0 where it is not finite.

    Of the sum, so that each frame is moved as far as a picture of its own would be.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        values = energy(point)
        (gradient,) = torch.autograd.grad(values.sum(), point)
    return values.detach(), torch.nan_to_num(gradient.detach(), nan=0.0, posinf=0.0, neginf=0.0)


def descend(energy: Energy, x: Tensor, rate: float, *, most: int = 1, enough: float = 0.0) -> Steered:
    """x - rate * gradient, `most` times (one or more), or until the mean over the frames is no more than `enough`."""
    found: list[Tensor] = []
    for _ in range(most):
        values, gradient = slope(energy, x)
        found.append(values)
        if float(values.mean()) <= enough:
            break
        x = x - rate * gradient
    return Steered(x, found[0], found[-1], len(found))


def alternates(i: int, count: int) -> bool:
    """Whether step i of `count` is guided: the first 3/16 are, then every second one, the last 1/32 not (self-guidance,
    Epstein et al. 2023, arXiv 2306.00986)."""
    first, last = first_steps(3, 16, count), first_steps(1, 32, count)
    return i < first or ((i - first) % 2 == 1 and i < count - last)
