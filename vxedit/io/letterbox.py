"""Finds the black bars around a picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vxedit.io.crop import BoxPx

_DARK = 40
"""The brightest a bar may be, 0 to 255."""
_EVEN = 16
"""How far apart, in grey levels, two pixels of a bar may be in any two frames: what a codec leaves in flat black."""
_STEP = 20
"""How much the picture's edge rises,"""
_SHARP_PX = 3
"""over how many pixels: what fades into the dark rises more slowly,"""
_EDGE_PX = 8
"""how far from where the dark stops: a codec's block rings this far into the bar."""
_STRAIGHT = 0.7
"""Over how much of its length."""
_LEAST_PX = 4
_LEAST_PICTURE = 0.2
"""The least share of a side that is left: a wide film inside an upright clip fills 0.23 of its height."""


class _Runs(NamedTuple):
    """Of one axis: the dark, even runs at its two ends, as the lines between which they leave off."""

    begin: int
    end: int


def letterbox(frames: np.ndarray, *, one_sided: bool = False) -> BoxPx:
    """The picture inside its bars, (x0, y0, x1, y1) in pixels, for frames uint8 (F, H, W, 3): a sample spread over the
    clip is enough. The whole frame where there are none.

    A bar is the same rows (or columns) in every frame, dark and nearly constant, and the picture beside it begins in
    a straight line, not in a fade: at least 0.7 of the edge is brighter in some frame. A dark scene has no such edge,
    nor has a clip that is all dark. Bars come in pairs of one width, within 1 % of the side or 8 pixels; `one_sided`
    takes each by itself. The box's sides are even, rounded so that a row of a bar is kept rather than one of the
    picture cut; where a codec has smeared the edge, a few rows are kept.

    Raises ValueError for other frames, or none.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or len(frames) == 0:
        raise ValueError(f"frames must be uint8 (F, H, W, 3), at least one, got {frames.dtype} {frames.shape}")
    brightest = frames.max((0, 3)).astype(int)  # (H, W)
    darkest = frames.min((0, 3)).astype(int)
    rows = _runs(brightest.max(1), darkest.min(1))
    columns = _runs(brightest.max(0), darkest.min(0))
    if rows is None or columns is None:
        return (0, 0, frames.shape[2], frames.shape[1])
    # over all of the frame first: between the sides of a moon in the night, its edge would be straight enough
    y0, y1 = _sides(brightest, rows, one_sided=one_sided)
    x0, x1 = _sides(brightest[y0:y1].T, columns, one_sided=one_sided)
    y0, y1 = _sides(brightest[:, x0:x1], rows, one_sided=one_sided)
    return (x0, y0, x1, y1)


def _runs(brightest: np.ndarray, darkest: np.ndarray) -> _Runs | None:
    """The dark, even runs at both ends of an axis, of its lines' extremes (N,). None where they meet."""

    def run(high: np.ndarray, low: np.ndarray) -> int:
        high, low = np.maximum.accumulate(high), np.minimum.accumulate(low)
        return int(np.count_nonzero((high <= _DARK) & (high - low <= _EVEN)))

    first, last = run(brightest, darkest), run(brightest[::-1], darkest[::-1])
    return _Runs(first, len(brightest) - last) if first + last < len(brightest) else None


def _sides(brightest: np.ndarray, runs: _Runs, *, one_sided: bool) -> tuple[int, int]:
    """Where the picture begins and ends along the first axis of `brightest` (N, M), in even numbers."""
    count = len(brightest)
    first = _bar(brightest, runs.begin)
    last = _bar(brightest[::-1], count - runs.end)
    if not one_sided and abs(first - last) > max(_EDGE_PX, count / 100):
        return 0, count
    if count - first - last < _LEAST_PICTURE * count:
        return 0, count
    end = count - last
    return first - first % 2, min(end + end % 2, count)


def _bar(brightest: np.ndarray, run: int) -> int:
    """How many of the first `run` lines of `brightest` (N, M) are a bar: all of them, or none."""
    if run < _LEAST_PX:
        return 0
    near = brightest[run - _LEAST_PX : run + _EDGE_PX]
    rise = (near[_SHARP_PX:] - near[:-_SHARP_PX]).max(0, initial=0)
    return run if np.mean(rise >= _STEP) >= _STRAIGHT else 0
