"""How progress is spread over the way from one keyframe to the next."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Ease = Literal["linear", "ease-in", "ease-out", "ease-in-out", "hold"]
EASES: tuple[Ease, ...] = get_args(Ease)

_ARRIVED = 1.0 - 1e-9
"""`hold` jumps here and not at 1, because a time that is exact on paper (50 % of 1.1 s) is an ulp off in floats."""


def eased(progress: np.ndarray, ease: Ease) -> np.ndarray:
    """Spread `progress`, any shape, 0 at the start of the way and 1 at its end, as `ease` says.

    Monotone, 0 at 0 and 1 at 1. ease-in is p^2, ease-out its mirror image, ease-in-out 3p^2 - 2p^3 (smoothstep); hold
    stays at the start and jumps when the end is reached. Progress outside [0, 1] is taken as the nearer end.
    """
    p = np.clip(np.asarray(progress, dtype=np.float64), 0.0, 1.0)
    if ease == "ease-in":
        return p * p
    if ease == "ease-out":
        return 1.0 - (1.0 - p) * (1.0 - p)
    if ease == "ease-in-out":
        return p * p * (3.0 - 2.0 * p)
    if ease == "hold":
        return (p >= _ARRIVED).astype(np.float64)
    return p
