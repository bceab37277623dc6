"""Finds one of the renderer's objects in every frame of a clip, by its template and its colours.

It knows nothing of any model, only `vxedit.render.objects`, so it can judge what a model made.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vxedit.errors import UsageError
from vxedit.render.objects import DRAWINGS
from vxedit.score.fit import NOTHING, Fit, improve
from vxedit.score.search import bank, guesses
from vxedit.score.template import pose_box, template

THRESHOLD = 0.58
"""Likeness from which the object counts as found. On training-split clips without the object 98 % of frames stay below
it; an object blurred by sigma 1 px under noise of 5 grey levels stays above it."""

_WORK = 128  # frames are worked on at this geometric mean of their sides when it is at least a fifth smaller
# steps of the search for a pose, as shares of the object's size
_FIRST = (0.08,)
_MIDDLE = (0.04,)
_LAST = (0.02, 0.01)
_KEPT, _FINISHED = 6, 2  # guesses that are followed up after the first sweep, and to the end
_DROP = 0.08  # a tracked object whose likeness falls by this much is searched for in the whole frame


@dataclass(frozen=True)
class Detections:
    """boxes (F, 4) xyxy in [0, 1], NaN where nothing was found; likeness (F,) in [0, 1], the best guess's in any
    case."""

    boxes: np.ndarray
    likeness: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """(F,) bool: the frames with a detection."""
        return self.likeness >= THRESHOLD


def _worked(frames: np.ndarray) -> np.ndarray:
    """The frames as float32, at a size that the search is fast at."""
    height, width = frames.shape[1:3]
    shrink = _WORK / np.sqrt(height * width)
    if shrink > 0.8:
        return frames.astype(np.float32)
    size = (round(width * shrink), round(height * shrink))
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]).astype(np.float32)


def _everywhere(frame: np.ndarray, name: str, scale_range: tuple[float, float], bounds: tuple[float, float]) -> Fit:
    """The best fit in the whole frame: all guesses a little improved, the best of them much."""
    height, width = frame.shape[:2]
    found = guesses(bank(name, DRAWINGS[name].aspect, height, width, scale_range), frame)
    fits = [improve(frame, name, g, steps=_FIRST, sweeps=1, bounds=bounds) for g in found]
    fits = sorted(fits, key=lambda f: -f.merit)[:_KEPT]
    fits = [improve(frame, name, f.pose, steps=_MIDDLE, bounds=bounds) for f in fits]
    fits = sorted(fits, key=lambda f: -f.merit)[:_FINISHED]
    fits = [improve(frame, name, f.pose, steps=_LAST, bounds=bounds) for f in fits]
    best = max(fits, key=lambda f: f.merit, default=NOTHING)
    if best is NOTHING:
        return best
    upright = improve(frame, name, _undistorted(name, best.pose), steps=_MIDDLE + _LAST, bounds=bounds)
    # two poses of one object: what is explained weighs as much as the likeness, or the one that leaves an edge out wins
    return max(best, upright, key=lambda f: f.likeness * max(f.gain, 1.0))


def _undistorted(name: str, pose: np.ndarray) -> np.ndarray:
    """The pose with the drawing's own proportions. A second start: where an object's edge looks like the background, a
    template that is too narrow and too tall explains it well, and no small step leads out of there."""
    side, root = np.sqrt(pose[2] * pose[3]), np.sqrt(DRAWINGS[name].aspect)
    return np.array([pose[0], pose[1], side * root, side / root, 0.0])


def _onwards(frame: np.ndarray, name: str, last: Fit, step: np.ndarray, bounds: tuple[float, float]) -> Fit:
    """The best fit near the last frame's pose and near where its motion would take it."""
    starts = (last.pose, last.pose + step)
    fits = [improve(frame, name, start, steps=_FIRST, sweeps=1, bounds=bounds) for start in starts]
    best = max(fits, key=lambda f: f.merit)
    return improve(frame, name, best.pose, steps=_MIDDLE + _LAST, bounds=bounds)


def _fits(frames: np.ndarray, name: str, scale_range: tuple[float, float], track: bool) -> list[Fit]:
    side = float(np.sqrt(frames.shape[1] * frames.shape[2]))
    bounds = (scale_range[0] * side, scale_range[1] * side)
    fits: list[Fit] = []
    for frame in frames:
        fit = NOTHING
        if track and fits and fits[-1].likeness >= THRESHOLD:
            step = np.zeros(5)
            if len(fits) > 1 and fits[-2].likeness >= THRESHOLD:
                step[:2] = (fits[-1].pose - fits[-2].pose)[:2]
            fit = _onwards(frame, name, fits[-1], step, bounds)
        if fit.likeness < THRESHOLD or fit.likeness < fits[-1].likeness - _DROP:
            fit = max(fit, _everywhere(frame, name, scale_range, bounds), key=lambda f: f.merit)
        fits.append(fit)
    return fits


def detect(
    frames: np.ndarray, name: str, *, scale_range: tuple[float, float] = (0.12, 0.6), track: bool = False
) -> Detections:
    """Find the object `name` in every frame.

    frames: uint8 (F, H, W, 3) RGB. scale_range: least and most geometric mean of the object's width and height, as
    shares of the frame's. Width over height may differ from the drawing's by 1.7 either way, the angle from upright by
    10 degrees.
    A box is the renderer's: the smallest round the pixels that the object covers by half or more, cut at the frame.

    likeness is the mean colour agreement of the object's pixels times the correlation of their pattern with the
    template's (`vxedit.score.fit.judge`); a frame where it stays below THRESHOLD has no detection.

    Every frame is searched whole, so an object left behind does not hide a better one elsewhere. track=True starts at
    the frame before instead and searches whole only where the likeness drops: three times as fast, but it stays on
    what it holds.

    Raises UsageError for a name that the renderer does not draw, frames of another type, or an empty scale range.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise UsageError(f"got frames {frames.dtype} {frames.shape}; it takes uint8 (F, H, W, 3), convert them")
    if not 0 < scale_range[0] < scale_range[1] <= 1:
        raise UsageError(f"scale_range is {scale_range}; it takes 0 < least < most <= 1; give shares of the frame")
    template(name)
    small = _worked(frames)
    fits = _fits(small, name, scale_range, track)
    height, width = frames.shape[1:3]
    x, y = width / small.shape[2], height / small.shape[1]
    grow = np.array([x, y, x, y, 1.0])
    likeness = np.array([fit.likeness for fit in fits])
    boxes = np.full((len(frames), 4), np.nan)
    for i in np.flatnonzero(likeness >= THRESHOLD):
        boxes[i] = pose_box(name, fits[i].pose * grow, height=height, width=width)
    return Detections(boxes, likeness)
