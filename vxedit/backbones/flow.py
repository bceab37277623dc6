"""The noise levels of rectified flow (Liu et al. 2022; Esser et al. 2024), told as a diffusion model's.

At level s in [0, 1] flow latents are (1 - s) x0 + s n and the network gives the velocity n - x0. Divided by
c = sqrt((1 - s)^2 + s^2) they are sqrt(abar) x0 + sqrt(1 - abar) n with abar = (1 - s)^2 / c^2, and a step of DDIM
between two such levels is the flow's Euler step (Gao et al. 2024, "Diffusion meets flow matching"). So everything that
takes steps knows one kind of latents, and the network is given them times c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vxedit.backbones.noise import FLOOR, INVERTIBLE
from vxedit.backbones.protocol import Parameterization, Schedule
from vxedit.errors import UsageError

TIMESTEPS = 1000
"""Timestep t of a flow is level s = t / 1000."""

Warp = Callable[[float, "Sequence[int] | None"], float]
"""Where a level u in [0, 1], evenly spaced, goes for latents of a shape (1, C, f, h, w); keeps 0, 1 and the order."""


def shifted(u: float, shift: float) -> float:
    """u with the noise-to-signal ratio times `shift` (Esser et al. 2024, eq. 23)."""
    return shift * u / (1 + (shift - 1) * u)


def signal_share(s: float) -> float:
    """abar of level s, held off 0 as `noise.FLOOR` says."""
    return max((1 - s) ** 2 / ((1 - s) ** 2 + s**2), FLOOR)


def level_of(abar: float) -> float:
    """The level s in [0, 1] whose share of signal is abar."""
    return (1 - abar) ** 0.5 / (abar**0.5 + (1 - abar) ** 0.5)


def scale_of(s: float) -> float:
    """c, by which latents as the steps know them are multiplied for the network at level s."""
    return ((1 - s) ** 2 + s**2) ** 0.5


@dataclass(frozen=True)
class Flow:
    """`warp` moves the evenly spaced levels. `terminal`: the last level before clean ones, to which the levels are
    stretched (LTX-Video); None: wherever it falls."""

    warp: Warp
    terminal: float | None = None
    parameterization: Parameterization = "flow"

    def schedule(self, steps: int, shape: Sequence[int] | None = None, *, invertible: bool = False) -> Schedule:
        """`steps` levels u = 1, 1 - 1/N, … warped for latents of `shape`, most noise first, and clean ones last.

        `invertible`: they begin where signal enough is left, not without any. Raises UsageError where `steps` isn't in
        1..1000.
        """
        if not 1 <= steps <= TIMESTEPS:
            raise UsageError(f"the number of steps must be between 1 and {TIMESTEPS}, got {steps}: pass --steps 20")
        first = self._last_invertible(shape) if invertible else 1.0
        levels = [self.warp(first * (1 - i / steps), shape) for i in range(steps)]
        if self.terminal is not None and steps > 1:
            top, last = levels[0], levels[-1]
            levels = [top - (top - s) * (top - self.terminal) / (top - last) for s in levels]
        return Schedule(tuple(TIMESTEPS * s for s in levels), (*(signal_share(s) for s in levels), 1.0))

    def _last_invertible(self, shape: Sequence[int] | None) -> float:
        """The evenly spaced level that is warped to the last one with signal enough."""
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            enough = signal_share(self.warp(middle, shape)) >= INVERTIBLE
            low, high = (middle, high) if enough else (low, middle)
        return low


def fixed_shift(u: float, shape: Sequence[int] | None, *, shift: float) -> float:
    """A Warp that doesn't depend on the latents' shape."""
    return shifted(u, shift)
