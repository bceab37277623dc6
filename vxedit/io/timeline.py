"""When each frame of a file is shown, and which of them a clip takes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vxedit.errors import InputError
from vxedit.io.rates import is_constant, measured_rate

_MISSING_S = -1e9
"""decord gives a stamp that the file lacks (AVI) as the lowest 64-bit number, in seconds."""
_ROUNDING_S = 2e-3
"""Containers stamp to a millisecond, decord to a 32-bit float."""
_TIE_S = 1e-6
_APART_S = 1e-6


@dataclass(frozen=True)
class Timeline:
    """The frames that a file shows: `times_s` (N,) from the first of them, ascending, `end_s` when the last one ends,
    `fps` exact for a constant rate and the mean for a variable one, `skipped` frames stored before the first shown."""

    times_s: np.ndarray
    end_s: float
    fps: Fraction
    skipped: int = 0


def timeline(starts_s: np.ndarray, ends_s: np.ndarray, *, nominal: Fraction | None) -> Timeline:
    """Make a Timeline of the stamps `starts_s`, `ends_s` (N,) in seconds, as a reader gives them.

    Frames that start before 0 are those an edit list hides: they are left out and counted in `skipped`. Stamps that
    are missing are replaced by the `nominal` rate's. Raises ValueError if there are no frames or they go back in
    time.
    """
    if len(starts_s) == 0:
        raise ValueError("no frames")
    starts_s, ends_s = np.asarray(starts_s, np.float64), np.asarray(ends_s, np.float64)
    if not np.all(starts_s > _MISSING_S):
        return _even(len(starts_s), nominal or Fraction(25))
    if np.any(np.diff(starts_s) < 0):
        raise ValueError("the frames' stamps go back in time")
    skipped = int(np.count_nonzero(starts_s < -_ROUNDING_S / 2)) % len(starts_s)
    times_s = starts_s[skipped:] - starts_s[skipped]
    fps = measured_rate(times_s, nominal)
    if _rounded_only(times_s, fps):
        return _even(len(times_s), fps, skipped=skipped)
    last_s = max(float(ends_s[-1] - starts_s[-1]), 1e-3)
    if np.any(np.diff(times_s) == 0):  # a damaged file's; whoever follows a path in time needs them apart
        times_s = times_s + np.arange(len(times_s)) * _APART_S
    return Timeline(times_s, float(times_s[-1]) + last_s, fps, skipped)


def choose(line: Timeline, name: str, *, start_s: float, num_frames: int | None, fps: Fraction | None) -> np.ndarray:
    """Indices (F,) into the Timeline: from the frame nearest `start_s` on, at most `num_frames` (None: to the end).

    With `fps` the frame nearest to every 1/fps seconds, so that frames are left out or repeated; None takes each once.
    Raises InputError, naming the duration, if `start_s` isn't before the end. `name` is the file's, for the message.
    """
    if start_s >= line.end_s:
        raise InputError(
            f"{name}: there is nothing at {start_s:g} s, the clip lasts {line.end_s:.2f} s; start before that (--start)"
        )
    first = int(_nearest(line.times_s, np.array([start_s]))[0])
    if fps is None:
        return np.arange(first, len(line.times_s))[:num_frames]
    from_s = float(line.times_s[first])
    count = max(1, int(np.ceil((line.end_s - from_s) * float(fps) - 1e-3)))
    wanted = min(count, num_frames) if num_frames is not None else count
    return _nearest(line.times_s, from_s + np.arange(wanted) / float(fps))


def times_of(line: Timeline, picks: np.ndarray, fps: Fraction | None) -> np.ndarray:
    """When the frames that `choose` gave are shown in the clip, (F,) seconds from the first frame of the file, rising:
    their own times, or with `fps` every 1/fps seconds from the first one's, since frames may be repeated."""
    if fps is None:
        return line.times_s[picks]
    return line.times_s[picks[0]] + np.arange(len(picks)) / float(fps)


def _nearest(times_s: np.ndarray, targets_s: np.ndarray) -> np.ndarray:
    # Between two frames the middle decides; exactly there the earlier one is taken, whatever the rounding.
    return np.searchsorted((times_s[1:] + times_s[:-1]) / 2, targets_s - _TIE_S)


def _rounded_only(times_s: np.ndarray, fps: Fraction) -> bool:
    return is_constant(times_s, fps, slack=min(_ROUNDING_S * float(fps), 0.5))


def _even(count: int, fps: Fraction, *, skipped: int = 0) -> Timeline:
    return Timeline(np.arange(count) / float(fps), float(count / fps), fps, skipped)
