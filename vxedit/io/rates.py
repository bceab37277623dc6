"""Frame rates as exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

_WHOLE = tuple(Fraction(n) for n in range(1, 241))
_NTSC = tuple(Fraction(n * 1000, 1001) for n in (12, 15, 24, 30, 48, 60, 72, 90, 96, 120, 144, 240))
_HALVES = (Fraction(15, 2), Fraction(25, 2))
COMMON = (*_WHOLE, *_NTSC, *_HALVES)
"""The rates that cameras, screens and editors use."""


def exact_rate(rate: float, *, tolerance: float = 0.0051) -> Fraction:
    """The common rate within `tolerance` frames per second of `rate`, else `rate` to two decimals.

    ffmpeg prints rates to two decimals, so 23.98 stands for 24000/1001. Raises ValueError for rates not above 0.
    """
    if not rate > 0 or not np.isfinite(rate):
        raise ValueError(f"a frame rate must be above 0, got {rate}")
    nearest = min(COMMON, key=lambda common: abs(float(common) - rate))
    if abs(float(nearest) - rate) <= tolerance:
        return nearest
    return max(Fraction(round(rate * 100), 100), Fraction(1, 100))


def is_constant(times_s: np.ndarray, rate: Fraction, *, slack: float = 0.5) -> bool:
    """Whether no frame of `times_s` (F,) is further than `slack` intervals from where a constant `rate` puts it."""
    offset = (times_s - times_s[0]) * float(rate) - np.arange(len(times_s))
    return bool(np.abs(offset).max() <= slack)


def measured_rate(times_s: np.ndarray, nominal: Fraction | None) -> Fraction:
    """The rate of frames shown at `times_s` (F,) seconds, ascending.

    `nominal` is what the container says; it is believed where the stamps agree. Otherwise the mean rate: a common one
    if the stamps keep to it, else (variable rate) rounded to two decimals.
    """
    if nominal is not None and (len(times_s) < 2 or is_constant(times_s, nominal)):
        return nominal
    span = float(times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0
    if span <= 0:
        return nominal or Fraction(25)
    mean = (len(times_s) - 1) / span
    # Stamps rounded to milliseconds move the mean of a short clip by some per mille: one interval in four is a fit.
    common = exact_rate(mean, tolerance=0.005 * mean)
    return common if is_constant(times_s, common, slack=0.25) else exact_rate(mean)
