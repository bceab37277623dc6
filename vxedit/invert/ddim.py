"""Diffusion steps between noise levels, in both directions, and the inversion and replay made of them.

Notation: `a` and `b` are the cumulative signal shares (abar) of the level a step starts from and of the one it ends at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vxedit.backbones.flow import level_of, scale_of
from vxedit.backbones.protocol import Parameterization, Schedule

Predict = Callable[[Tensor, float, float], Tensor]
"""The noise in latents at a timestep and its abar: (x (B, C, f, h, w), t, abar) -> same shape."""

Move = Callable[[Tensor, Tensor, int], Tensor]
"""Latents and their noise (B, C, f, h, w) at step i -> the latents at the level that it ends at."""


def coefficients(a: float, b: float) -> tuple[float, float]:
    """A and B of x_b = A x_a + B eps (Song et al. 2021, eq. 12 with eta 0). Swapping a and b gives the exact
    inverse."""
    scale = (b / a) ** 0.5
    return scale, (1 - b) ** 0.5 - scale * (1 - a) ** 0.5


def step(x: Tensor, eps: Tensor, a: float, b: float) -> Tensor:
    """Take latents from level a to level b along the noise eps; the same rule denoises (b > a) and inverts (b < a)."""
    scale, shift = coefficients(a, b)
    return scale * x + shift * eps


def renewing_step(x: Tensor, eps: Tensor, fresh: Tensor, a: float, b: float, eta: float) -> Tensor:
    """`step` to less noise (b > a) that puts the unit noise `fresh` in the place of a part of eps: with eta 1 as much
    as DDPM's posterior asks for, with 0 none (Song et al. 2021, eq. 12 and 16)."""
    sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
    left = max(0.0, 1 - b - sigma**2)  # nothing is left where a is 0, which rounding may take for less
    return b**0.5 * clean_of(x, eps, a) + left**0.5 * eps + sigma * fresh


def noise_of(output: Tensor, x: Tensor, abar: float, parameterization: Parameterization) -> Tensor:
    """The noise that a model's output means: itself; from v = sqrt(abar) eps - sqrt(1 - abar) x0 (Salimans & Ho 2022);
    or from a flow's velocity n - x0, which with latents c x = (1 - s) x0 + s n gives n = c x + (1 - s) v."""
    if parameterization == "epsilon":
        return output
    if parameterization == "v_prediction":
        return abar**0.5 * output + (1 - abar) ** 0.5 * x
    s = level_of(abar)
    return scale_of(s) * x + (1 - s) * output


def clean_of(x: Tensor, eps: Tensor, abar: float) -> Tensor:
    """The clean latents that x at level abar holds if eps is its noise."""
    return (x - (1 - abar) ** 0.5 * eps) / abar**0.5


def guided(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022): scale 1 is the conditional prediction."""
    return unconditional + scale * (conditional - unconditional)


def invert_ddim(
    predict: Predict,
    clean: Tensor,
    schedule: Schedule,
    *,
    second_order: bool = True,
    refine: int = 0,
    enough: float = 3e-3,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """The trajectory that ends in `clean`: N + 1 latents, most noise first, entry i at level `schedule.abar[i]`.

    The plain rule (Mokady et al. 2023) takes the noise at the level it comes from, labelled with the timestep it goes
    to: first order in 1/N, N passes. `second_order` (Uni-Inv, Jiao et al. 2025) first predicts where the step lands
    with the noise of the step before, then takes the noise there: second order, N + 1 passes. `refine` more passes at
    most iterate it towards the fixed point, at which the step is undone exactly (AIDI, Pan et al. 2023); they end as
    soon as the noise changes by less than the share `enough`.
    """
    pivots = [clean]
    eps: Tensor | None = None
    count = len(schedule)
    for done, i in enumerate(reversed(range(count))):
        a, b, t, x = schedule.abar[i + 1], schedule.abar[i], schedule.timesteps[i], pivots[-1]
        if not second_order:
            eps = predict(x, t, b)
        else:
            if eps is None:
                eps = predict(x, t, b)
            eps = predict(step(x, eps, a, b), t, b)
            for _ in range(refine):
                before, eps = eps, predict(step(x, eps, a, b), t, b)
                if float((eps - before).norm()) < enough * float(before.norm()):
                    break
        pivots.append(step(x, eps, a, b))
        if progress:
            progress(done + 1, count)
    return pivots[::-1]


def replay(
    predict: Callable[[Tensor, int], Tensor],
    start: Tensor,
    schedule: Schedule,
    *,
    pivots: Sequence[Tensor] | None = None,
    move: Move | None = None,
) -> Tensor:
    """Regenerate from `start`: `predict(x, i)` gives step i's noise, `move` makes the step (None: `step`). With
    `pivots`, every step begins at its own pivot and what the step misses is added back, so the last latents are the
    inverted ones exactly (Ju et al. 2024)."""
    x = start
    for i in range(len(schedule)):
        if pivots is not None:
            x = pivots[i]
        eps = predict(x, i)
        x = move(x, eps, i) if move else step(x, eps, schedule.abar[i], schedule.abar[i + 1])
    return x if pivots is None else x + (pivots[-1] - x)


def same_levels(schedule: Schedule, pivots: Sequence[Tensor]) -> bool:
    """Whether there is one pivot for each level, all of one shape and finite."""
    first = pivots[0].shape if pivots else None
    return len(pivots) == len(schedule) + 1 and all(p.shape == first and bool(torch.isfinite(p).all()) for p in pivots)


def mixed_noise(own: Tensor, shared: Tensor, part: float | Tensor) -> Tensor:
    """Unit noise whose frames have `part` (0 to 1) of their variance in common (Ge et al. 2023, PYoCo).

    own: (B, C, f, h, w); shared: (B, C, 1, h, w).
    """
    return (1 - part) ** 0.5 * own + part**0.5 * shared
