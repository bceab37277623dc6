"""Path: the user's motion, and its boxes in the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vxedit.edit.easing import eased
from vxedit.edit.keyframe import Keyframe, Motion, Time
from vxedit.errors import UsageError

__all__ = ["Keyframe", "Motion", "Path", "SampledPath", "Time", "parse_path"]

_SAME_TIME_S = 1e-9
_TOLD = 1e-6
"""Boxes that are brought inside by less than this, in frames, are not worth a warning."""


@dataclass(frozen=True)
class SampledPath:
    """`boxes` float64 (F, 4) xyxy, all inside [0, 1]; `warnings`: what had to be changed to keep them there."""

    boxes: np.ndarray
    warnings: tuple[str, ...] = ()


class Problem(NamedTuple):
    """What keyframes or motions that are each sound can't be together; `at` is the index of the one to blame."""

    at: int
    message: str


@dataclass(frozen=True)
class Path:
    """The user's motion: keyframes, or named motions (which all run at once, over the whole clip).

    Raises UsageError where there are none, or both, or they can't be meant together.
    """

    keyframes: tuple[Keyframe, ...] = ()
    motions: tuple[Motion, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.keyframes) == bool(self.motions):
            raise UsageError("a path is either keyframes or named motions: give one of them")
        problem = keyframe_problem(self.keyframes) or motion_problem(self.motions)
        if problem:
            raise UsageError(problem.message)

    @property
    def needs_start(self) -> bool:
        """Whether the boxes depend on where, or how large, the object is in the source."""
        return bool(self.motions) or any(key.size is None or key.size[1] is None for key in self.keyframes)

    def sample(self, times_s: np.ndarray, *, start_boxes: np.ndarray | None = None) -> SampledPath:
        """The box in every frame.

        `times_s` (F,) rising, in seconds from any origin: the frames that are edited. `start_boxes` (F, 4) xyxy as
        shares of the frame: where the object is in each of them in the source; may be None unless `needs_start`. Before
        the first keyframe and after the last the box stays. Raises UsageError for keyframes beyond the clip's end or,
        once frames, per cent and seconds are on one clock, out of order; ValueError for arrays that don't fit.
        """
        clock_s = _clock(times_s)
        source = None if start_boxes is None else _centres_sizes(start_boxes, len(clock_s))
        if source is None and self.needs_start:
            raise UsageError("this path starts from where the object is, which isn't known; give --box or --mask")
        if self.motions and source is not None:
            return _inside(*_follow(self.motions, clock_s, *source))
        return _inside(*_interpolate(self.keyframes, clock_s, None if source is None else source[1]))

    def to_json(self) -> dict[str, Any]:
        """What a JSON path file holds; `path_json.path_from_json` reads it back to an equal Path."""
        head: dict[str, Any] = {"version": 1, "units": "relative"}
        if self.motions:
            return head | {"motions": [_motion_json(motion) for motion in self.motions]}
        return head | {"keyframes": [_keyframe_json(key) for key in self.keyframes]}


def parse_path(text: str) -> Path:
    """Read a path as the user gives it: inline ("0%:0.3,0.3 100%:0.7,0.7@ease-out", "left scale:1.5") or a JSON file.

    Text that ends with .json, or isn't inline and names a file, is that file. Raises UsageError, and nothing else: for
    inline text with that text and a caret under the place, for a file with the file's name and the entry.
    """
    from vxedit.edit.path_text import read_path  # it imports this module

    return read_path(text)


def keyframe_problem(keyframes: Sequence[Keyframe]) -> Problem | None:
    """Times that don't rise, as far as can be told without a clip, or an easing where nothing leads to."""
    if keyframes and keyframes[0].ease != "linear":
        return Problem(0, f"the first keyframe has no way to ease ('{keyframes[0].ease}'): name it where the way ends")
    last: dict[str, Time] = {}
    for index, key in enumerate(keyframes):
        before = last.get(key.time.unit)
        if before and key.time.value <= before.value:
            how = "repeats" if key.time == before else "is earlier than"
            return Problem(index, f"keyframes must rise in time: {key.time} {how} {before}; reorder them")
        last[key.time.unit] = key.time
    return None


def motion_problem(motions: Sequence[Motion]) -> Problem | None:
    """The same motion twice, or `to` beside one that also says where the object goes."""
    seen: list[str] = []
    for index, motion in enumerate(motions):
        word = motion.word
        if word in seen:
            return Problem(index, f"'{word}' is named twice; name it once")
        places = [other for other in seen if other != "scale"]
        if word != "scale" and places and "to" in (word, *places):
            other = "to" if word != "to" else places[0]
            return Problem(index, f"'{word}' and '{other}' both say where the object ends; leave one out")
        seen.append(word)
    return None


def _clock(times_s: np.ndarray) -> np.ndarray:
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError(f"times_s must be (F,), finite and rising, got {times.shape}")
    return times - times[0]


def _centres_sizes(boxes: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    box = np.asarray(boxes, dtype=np.float64)
    if box.shape != (frames, 4) or not np.isfinite(box).all() or (box[:, 2:] <= box[:, :2]).any():
        raise ValueError(f"start_boxes must be ({frames}, 4), finite, x1 > x0 and y1 > y0, got {box.shape}")
    return (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]


def _follow(
    motions: Sequence[Motion], clock_s: np.ndarray, centre: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centres and sizes (F, 2) of all motions at once, from the source's."""
    progress = (clock_s / clock_s[-1] if len(clock_s) > 1 else clock_s)[:, None]  # (F, 1)
    if any(motion.word == "hold" for motion in motions):
        centre, size = np.broadcast_to(centre[0], centre.shape), np.broadcast_to(size[0], size.shape)
    for motion in motions:
        way = eased(progress, motion.ease)
        if motion.word == "scale":
            size = size * (1.0 + (motion.amount[0] - 1.0) * way)
        elif motion.word == "to":
            centre = centre[0] * (1.0 - way) + np.array(motion.amount) * way
        else:
            centre = centre + np.array(motion.offset) * way
    return centre, size


def _interpolate(
    keyframes: Sequence[Keyframe], clock_s: np.ndarray, source_size: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Centres and sizes (F, 2) between keyframes. A size that isn't given is the source's in each frame, not in one."""
    at_s = _on_clock(keyframes, clock_s)
    after = np.searchsorted(at_s, clock_s, side="right")  # the first keyframe later than the frame
    if len(clock_s) == 1:
        after[:] = 0  # every per cent of a single frame is that frame, which is where the path starts
    left, right = np.maximum(after - 1, 0), np.minimum(after, len(keyframes) - 1)
    span = at_s[right] - at_s[left]
    progress = np.divide(clock_s - at_s[left], span, out=np.zeros_like(span), where=span > 0)
    way = np.array([float(eased(p, keyframes[k].ease)) for p, k in zip(progress, right, strict=True)])[:, None]
    centres = np.array([key.centre for key in keyframes], dtype=np.float64)  # (K, 2)
    sizes = np.stack([_size(key, len(clock_s), source_size) for key in keyframes])  # (K, F, 2)
    frame = np.arange(len(clock_s))
    return (
        centres[left] * (1.0 - way) + centres[right] * way,
        sizes[left, frame] * (1.0 - way) + sizes[right, frame] * way,
    )


def _size(key: Keyframe, frames: int, source_size: np.ndarray | None) -> np.ndarray:
    """A keyframe's size in each frame (F, 2)."""
    if key.size is not None and key.size[1] is not None:
        return np.full((frames, 2), key.size, dtype=np.float64)
    if source_size is None:
        raise ValueError("a keyframe without a size needs the source's")
    return source_size if key.size is None else np.asarray(source_size * (key.size[0] / source_size[:, :1]))


def _on_clock(keyframes: Sequence[Keyframe], clock_s: np.ndarray) -> np.ndarray:
    at_s = np.array([_seconds(key.time, clock_s) for key in keyframes])
    wrong = np.flatnonzero(np.diff(at_s) <= _SAME_TIME_S)
    if len(clock_s) > 1 and len(wrong):
        first, second = keyframes[wrong[0]].time, keyframes[wrong[0] + 1].time
        where = f"{first} is {at_s[wrong[0]]:.3f} s and {second} is {at_s[wrong[0] + 1]:.3f} s"
        raise UsageError(f"keyframes must rise in time: in this clip {where}; reorder them")
    return at_s


def _seconds(time: Time, clock_s: np.ndarray) -> float:
    last = float(clock_s[-1])
    if time.unit == "percent":
        return last * time.value / 100.0
    if time.unit == "frame":
        if time.value >= len(clock_s):
            raise UsageError(f"frame {time} is beyond the end: the edited part has frames 0 to {len(clock_s) - 1}")
        return float(clock_s[int(time.value)])
    shown = float(np.median(np.diff(clock_s))) if len(clock_s) > 1 else 0.0  # a 1 s clip's last frame starts before 1 s
    if time.value > last + shown + _TOLD:
        raise UsageError(f"{time} is beyond the end: the edited part is {last + shown:.3f} s long; use 100%")
    return time.value


def _inside(centre: np.ndarray, size: np.ndarray) -> SampledPath:
    """Boxes inside the frame: cut to its size where larger, else moved. Both are said."""
    fitted = np.minimum(size, 1.0)
    moved = np.clip(centre, fitted / 2, 1.0 - fitted / 2)
    boxes = np.clip(np.concatenate([moved - fitted / 2, moved + fitted / 2], axis=1), 0.0, 1.0)
    said = (
        _said("is larger than the frame", "cut by up to", size - fitted),
        _said("leaves the frame", "moved back inside by up to", np.abs(centre - moved)),
    )
    return SampledPath(boxes, tuple(text for text in said if text))


def _said(what: str, done: str, amount: np.ndarray) -> str:
    frames = np.flatnonzero((amount > _TOLD).any(axis=1))
    if not len(frames):
        return ""
    x, y = amount.max(axis=0)
    return (
        f"the path's box {what} in {len(frames)} of {len(amount)} frames, first in frame {frames[0]}; "
        f"{done} {x:.3f} of the frame's width, {y:.3f} of its height"
    )


def _keyframe_json(key: Keyframe) -> dict[str, Any]:
    entry: dict[str, Any] = {"time": str(key.time), "x": float(key.centre[0]), "y": float(key.centre[1])}
    entry |= {name: float(side) for name, side in zip("wh", key.size or (), strict=False) if side is not None}
    return entry | {"ease": key.ease}


def _motion_json(motion: Motion) -> dict[str, Any]:
    return {"motion": motion.word, "amount": [float(value) for value in motion.amount], "ease": motion.ease}
