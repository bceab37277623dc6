"""The inversion of a clip: its trajectory, and what replays it under guidance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vxedit.backbones.protocol import Backbone, Schedule
from vxedit.invert.ddim import guided, invert_ddim, noise_of, renewing_step, replay, same_levels, step
from vxedit.invert.null_text import optimise
from vxedit.job import InvertSettings

REFINE = 2
"""Passes at most towards the fixed point in each step: they make the prompt's own embedding nearly the null embedding
sought, so that its optimisation seldom has anything left to do. A pass costs a third of an optimisation step."""


@dataclass(frozen=True)
class Inversion:
    """A trajectory and its prompt.

    `pivots` (N + 1, C, f, h, w): entry i lies at level `schedule.abar[i]`, most noise first, the clean latents last.
    `null` (N, L, D) or (N, f, L, D) embeddings for `settings.guidance_scale`, or None where there was no optimisation.
    `fresh` (N - 1, C, f, h, w), where a clip was generated with an `eta` above 0: the unit noise that every step but
    the last one added.
    """

    pivots: Tensor
    null: Tensor | None
    schedule: Schedule
    prompt: str
    settings: InvertSettings
    forwards: int = 0
    backwards: int = 0
    eta: float = 0.0
    fresh: Tensor | None = None

    @property
    def clean(self) -> Tensor:
        return self.pivots[-1:]

    def pivot(self, i: int) -> Tensor:
        """The latents (1, C, f, h, w) at level i."""
        return self.pivots[i : i + 1]

    def noise(self, i: int) -> Tensor:
        """The noise (1, C, f, h, w) that the pivot at level i holds beside the clean latents."""
        a = self.schedule.abar[i]
        return (self.pivot(i) - a**0.5 * self.clean) / max((1 - a) ** 0.5, 1e-6)

    def step(self, x: Tensor, eps: Tensor, i: int) -> Tensor:
        """Take latents (B, C, f, h, w) and their noise through step i as the trajectory went through it: with the same
        fresh noise, if any."""
        a, b = self.schedule.abar[i], self.schedule.abar[i + 1]
        if self.fresh is None or i == len(self.fresh):
            return step(x, eps, a, b)
        return renewing_step(x, eps, self.fresh[i : i + 1], a, b, self.eta)


class Denoiser:
    """A backbone under one prompt and one inversion's null embeddings: noise predictions, counted."""

    def __init__(
        self, backbone: Backbone, schedule: Schedule, conditional: Tensor, unconditional: Tensor | None, scale: float
    ):
        self.backbone, self.schedule, self.scale = backbone, schedule, scale
        self.conditional, self.unconditional = conditional, unconditional
        self.forwards = 0

    def noise(self, x: Tensor, i: int, embeds: Tensor) -> Tensor:
        """The noise at step i under given embeddings; keeps the graph."""
        self.forwards += 1
        output = self.backbone.predict(x, self.schedule.timesteps[i], embeds)
        return noise_of(output, x, self.schedule.abar[i], self.backbone.parameterization)

    @torch.no_grad()
    def __call__(self, x: Tensor, i: int) -> Tensor:
        """The guided noise at step i."""
        eps = self.noise(x, i, self.conditional)
        if self.scale == 1 or self.unconditional is None:
            return eps
        null = self.null(i)
        if torch.equal(null[0], self.conditional[0]):  # guidance between equals is none
            return eps
        return guided(self.noise(x, i, null), eps, self.scale)

    def null(self, i: int) -> Tensor:
        """The unconditional embeddings (1, L, D) or (1, f, L, D) of step i: its own, or the one that all steps share.
        Raises ValueError where there are none."""
        if self.unconditional is None:
            raise ValueError("there are no unconditional embeddings")
        return self.unconditional[i if len(self.unconditional) == len(self.schedule) else 0][None]


def denoiser(backbone: Backbone, inversion: Inversion, scale: float | None = None) -> Denoiser:
    """The denoiser that replays an inversion: its null embeddings, or the empty prompt where it has none."""
    scale = inversion.settings.guidance_scale if scale is None else scale
    conditional = backbone.text(inversion.prompt).embeds
    null = inversion.null if inversion.null is not None else backbone.unconditional(inversion.prompt)
    return Denoiser(backbone, inversion.schedule, conditional, null, scale)


def invert(
    backbone: Backbone,
    clean: Tensor,
    prompt: str,
    settings: InvertSettings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Invert latents (1, C, f, h, w) under a prompt at guidance 1, then fit null embeddings if the settings ask for
    them.

    Raises ValueError where the network gives values that are not finite.
    """
    schedule = backbone.schedule(settings.steps, clean.shape, invertible=True)
    embeds = backbone.text(prompt).embeds
    plain = Denoiser(backbone, schedule, embeds, None, 1.0)
    level = {t: i for i, t in enumerate(schedule.timesteps)}
    total = len(schedule) * (2 if settings.kind == "null-text" else 1)
    tell = (lambda done, _: progress(done, total)) if progress else None
    with torch.no_grad():
        pivots = invert_ddim(
            lambda x, t, _: plain(x, level[t]),
            clean,
            schedule,
            second_order=settings.kind != "ddim",
            refine=REFINE if settings.kind == "null-text" else 0,
            progress=tell,
        )
    if not same_levels(schedule, pivots):
        raise ValueError("the inversion left the range of finite numbers; try --dtype fp32 or fewer --steps")
    null, backwards = None, 0
    if settings.kind == "null-text" and settings.guidance_scale != 1:
        tell_null = (lambda done, _: progress(len(schedule) + done, total)) if progress else None
        found = optimise(
            plain.noise,
            pivots,
            schedule,
            embeds,
            settings.guidance_scale,
            per_frame=settings.per_frame,
            progress=tell_null,
        )
        null, backwards = found.embeddings, found.backwards
    elif progress:
        progress(total, total)
    return Inversion(torch.cat(pivots), null, schedule, prompt, settings, plain.forwards, backwards)


def replay_inversion(backbone: Backbone, inversion: Inversion, *, pinned: bool) -> Tensor:
    """Regenerate the inverted latents (1, C, f, h, w) with no edit: honest, or pinned to the trajectory."""
    pivots = [inversion.pivot(i) for i in range(len(inversion.pivots))] if pinned else None
    return replay(
        denoiser(backbone, inversion), inversion.pivot(0), inversion.schedule, pivots=pivots, move=inversion.step
    )


def to_tensors(inversion: Inversion) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An inversion as tensors and plain values, for the store."""
    tensors = {"pivots": inversion.pivots}
    if inversion.null is not None:
        tensors["null"] = inversion.null
    meta: dict[str, Any] = {
        "timesteps": inversion.schedule.timesteps,
        "abar": inversion.schedule.abar,
        "prompt": inversion.prompt,
        "settings": vars(inversion.settings),
        "forwards": inversion.forwards,
        "backwards": inversion.backwards,
    }
    if inversion.fresh is not None:
        tensors["fresh"], meta["eta"] = inversion.fresh, inversion.eta
    return tensors, meta


def from_tensors(tensors: dict[str, Tensor], meta: dict[str, Any]) -> Inversion:
    """The inversion that `to_tensors` wrote. Raises KeyError or TypeError where something is missing."""
    schedule = Schedule(tuple(meta["timesteps"]), tuple(meta["abar"]))
    return Inversion(
        tensors["pivots"],
        tensors.get("null"),
        schedule,
        meta["prompt"],
        InvertSettings(**meta["settings"]),
        meta["forwards"],
        meta["backwards"],
        meta["eta"] if "fresh" in tensors else 0.0,
        tensors.get("fresh"),
    )
