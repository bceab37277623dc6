"""Null-text optimisation (Mokady et al. 2023): unconditional embeddings under which guided sampling follows the pivots.

Made fast: the target is a noise prediction, not the latents after the step, so gradients keep their size; the search
starts at the prompt's own embedding, which is nearly the solution when the inversion is good (Miyake et al. 2023); and
the error is tested before a step is taken, so a timestep that needs nothing costs one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vxedit.backbones.protocol import Schedule
from vxedit.invert.ddim import coefficients, guided, step

Predict = Callable[[Tensor, int, Tensor], Tensor]
"""The noise at step i under given embeddings: (x, i, embeds) -> x's shape. Keeps the graph of `embeds`."""


@dataclass(frozen=True)
class NullText:
    """`embeddings` (N, L, D), or (N, f, L, D) one a frame; `errors` (N,): mean squared miss of each step; passes
    spent."""

    embeddings: Tensor
    errors: tuple[float, ...]
    forwards: int
    backwards: int


def target_noise(x: Tensor, after: Tensor, conditional: Tensor, scale: float, a: float, b: float) -> Tensor:
    """The unconditional noise with which a guided step from x at level a lands on `after` at level b; `scale` is not
    1."""
    keep, move = coefficients(a, b)
    return ((after - keep * x) / move - scale * conditional) / (1 - scale)


def optimise(
    predict: Predict,
    pivots: Sequence[Tensor],
    schedule: Schedule,
    prompt: Tensor,
    scale: float,
    *,
    per_frame: bool = False,
    teacher_forced: bool = False,
    max_steps: int = 10,
    patience: int = 2,
    lr: float = 1e-2,
    tolerance: float = 1e-5,
    progress: Callable[[int, int], None] | None = None,
) -> NullText:
    """Find the null embeddings for a trajectory.

    prompt (1, L, D) is where the search starts. `scale` is the guidance the replay will use. A step is good enough when
    it misses the pivot by less than `tolerance` (mean square of scaled latents); Adam takes up to `max_steps` steps,
    but from `patience` steps on it ends where at its pace it would not arrive: the next timesteps correct what is left.
    `teacher_forced` starts every timestep at its pivot; otherwise at where the replay really is, whose drift is then
    corrected as it arises.
    """
    embeddings, errors, forwards, backwards = [], [], 0, 0
    x = pivots[0]
    frames = pivots[0].shape[2]
    for i in range(len(schedule)):
        a, b = schedule.abar[i], schedule.abar[i + 1]
        x = pivots[i] if teacher_forced else x
        with torch.no_grad():
            conditional = predict(x, i, prompt)
        forwards += 1
        phi = prompt[:, None].repeat(1, frames, 1, 1) if per_frame else prompt.clone()
        eps, best, first = conditional, float("inf"), 0.0  # phi is the prompt: its prediction is known already
        if scale != 1 and b != a:  # a step that stays at its level asks for no noise
            target = target_noise(x, pivots[i + 1], conditional, scale, a, b)
            unit = (coefficients(a, b)[1] * (1 - scale)) ** 2
            candidate = phi.detach().clone().requires_grad_()
            adam = torch.optim.Adam([candidate], lr=lr * (1 - i / (2 * len(schedule))))
            for attempt in range(max_steps + 1):
                if attempt:
                    with torch.enable_grad():
                        guess = predict(x, i, candidate)
                    forwards += 1
                else:
                    guess = conditional
                error = float((guess.detach() - target).square().mean()) * unit
                if error < best:
                    best, phi, eps = error, candidate.detach().clone(), guess.detach()
                first = error if attempt == 0 else first
                pace = (first - error) / max(attempt, 1)
                late = attempt >= patience and error - pace * (max_steps - attempt) > tolerance
                if error < tolerance or attempt == max_steps or late:
                    break
                if not attempt:
                    with torch.enable_grad():
                        guess = predict(x, i, candidate)
                    forwards += 1
                with torch.enable_grad():
                    (gradient,) = torch.autograd.grad((guess - target).square().mean(), candidate)
                backwards += 1
                candidate.grad = gradient
                adam.step()
        embeddings.append(phi[0])
        x = step(x, guided(eps, conditional, scale), a, b)
        errors.append(float((x - pivots[i + 1]).square().mean()))
        if progress:
            progress(i + 1, len(schedule))
    return NullText(torch.stack(embeddings), tuple(errors), forwards, backwards)
