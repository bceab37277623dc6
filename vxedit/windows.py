"""A clip longer than a model takes in one piece, in windows that share frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vxedit.errors import UsageError

SHARED = 0.25
"""The part of a window that is shared with the one before: enough for motion to go on, a quarter more work."""

MOST_SHARED = 8
"""Frames; beyond, more of them change nothing."""


@dataclass(frozen=True)
class Window:
    """Frames [begin, end) of a clip, of which the first `shared` are the last of the window before."""

    begin: int
    end: int
    shared: int = 0

    def __len__(self) -> int:
        return self.end - self.begin


def windows(frames: int, length: int) -> tuple[Window, ...]:
    """Windows of `length` frames that cover a clip, evenly, each sharing some with the one before. One window where the
    clip isn't longer. Raises UsageError where `length` is below 2."""
    if length < 2:
        raise UsageError(f"--window {length} is too short: frames are shared between windows, so give 2 or more")
    if frames <= length:
        return (Window(0, frames),)
    shared = max(1, min(MOST_SHARED, round(SHARED * length)))
    count = math.ceil((frames - shared) / (length - shared))
    begins = [round(k * (frames - length) / (count - 1)) for k in range(count)]
    ends = [0, *(begin + length for begin in begins)]
    return tuple(Window(begin, begin + length, end - begin) for begin, end in zip(begins, ends, strict=False))


def crossfade(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """From one rendering of some frames, uint8 (n, H, W, 3), over to another of the same frames, linearly in time.

    Pixels on which both agree stay as they are, bit for bit.
    """
    count = len(before)
    made = np.empty_like(before)
    for k in range(count):
        share = np.float32((k + 1) / (count + 1))
        old, new = before[k].astype(np.float32), after[k].astype(np.float32)
        made[k] = np.rint(old + share * (new - old))
    return made
