"""What a path is written in: keyframes and named motions, each checked where it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NamedTuple, get_args

from vxedit.edit.easing import EASES, Ease
from vxedit.errors import UsageError

Unit = Literal["frame", "percent", "seconds"]
_SUFFIX: dict[str, str] = {"frame": "", "percent": "%", "seconds": "s"}

OUTSIDE = 0.5
"""How far outside the frame a centre may lie, in frames: further out it is taken for pixels or a slip."""


class MotionForm(NamedTuple):
    """A named motion's amounts: their names, the range of each, and what stands in where none is given."""

    names: tuple[str, ...]
    low: float
    high: float
    default: tuple[float, ...] | None


_STEP = MotionForm(("distance",), 0.0, 1.0, (0.25,))
MOTIONS: dict[str, MotionForm] = {
    "left": _STEP,
    "right": _STEP,
    "up": _STEP,
    "down": _STEP,
    "to": MotionForm(("X", "Y"), -OUTSIDE, 1.0 + OUTSIDE, None),
    "by": MotionForm(("DX", "DY"), -1.0, 1.0, None),
    "scale": MotionForm(("factor",), 0.05, 20.0, None),
    "hold": MotionForm((), 0.0, 0.0, ()),
}


def nearest(word: str, known: tuple[str, ...]) -> str:
    """A question whether the known word that is near was meant; empty where none is."""
    near = get_close_matches(word.lower(), known, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def plain(value: float) -> str:
    """The shortest text that reads back as the same float: 0.3, 1, 1e-05."""
    return repr(float(value)).removesuffix(".0")


def check_ease(ease: str) -> None:
    """Raises UsageError unless `ease` is one of the easings."""
    if ease not in EASES:
        raise UsageError(f"unknown easing {ease[:40]!r}{nearest(ease, EASES)}; there are {', '.join(EASES)}")


def check_centre(name: str, value: float) -> None:
    """Raises UsageError unless `value` is a share of the frame, or a little outside it."""
    _check_range(name, value, -OUTSIDE, 1.0 + OUTSIDE, "it is a share of the frame: 0.5 is the middle")


def check_size(name: str, value: float) -> None:
    """Raises UsageError unless 0 < `value` <= 1."""
    _check_range(name, value, 0.0, 1.0, "it is a share of the frame: 1 is all of it")
    if value == 0.0:
        raise UsageError(f"{name} must be more than 0; leave the size out to keep the object's own")


def check_amount(word: str, position: int, value: float) -> None:
    """Raises UsageError unless `value` can be the amount at `position` of the motion `word`."""
    form = MOTIONS[word]
    _check_range(f"{word}'s {form.names[position]}", value, form.low, form.high, _meaning(word))


def _meaning(word: str) -> str:
    if word == "scale":
        return "1 keeps the size and 2 doubles it"
    return "it is a share of the frame" + ("; name the other direction to go there" if MOTIONS[word] is _STEP else "")


def _check_range(name: str, value: float, low: float, high: float, meaning: str) -> None:
    if not math.isfinite(value):
        raise UsageError(f"{name} must be a number from {low:g} to {high:g}, got {value}")
    if not low <= value <= high:
        raise UsageError(f"{name} must be {low:g} to {high:g}, got {value:g}; {meaning}")


@dataclass(frozen=True)
class Time:
    """When a keyframe is reached, within the part of the clip that is edited.

    `unit` frame: the frame's index, from 0; percent: of the way from the first frame (0) to the last (100); seconds:
    from the first frame. Raises UsageError for what is never a time; what lies beyond a clip's end shows in sampling.
    """

    value: float
    unit: Unit

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise UsageError(f"unknown unit of time '{self.unit}'; there are {', '.join(get_args(Unit))}")
        if not math.isfinite(self.value) or self.value < 0.0:
            raise UsageError(f"a time must be 0 or later, got {self}")
        if self.unit == "percent" and self.value > 100.0:
            raise UsageError(f"a time must be at most 100%, got {self}")
        if self.unit == "frame" and self.value != math.floor(self.value):
            raise UsageError(f"a frame number must be whole, got {self}; write {self}s for seconds or {self}%")

    def __str__(self) -> str:
        return plain(self.value) + _SUFFIX[self.unit]


@dataclass(frozen=True)
class Keyframe:
    """Where the object's box is at one time: `centre` (x, y) and `size` (w, h) as shares of the frame.

    `size` None keeps the object's own size in the source, frame by frame; (w, None) keeps its own aspect. `ease` shapes
    the way from the keyframe before to this one. Raises UsageError for a place or size that can't be meant.
    """

    time: Time
    centre: tuple[float, float]
    size: tuple[float, float | None] | None = None
    ease: Ease = "linear"

    def __post_init__(self) -> None:
        for name, value in zip("XY", self.centre, strict=True):
            check_centre(name, value)
        for name, side in zip("WH", self.size or (None, None), strict=True):
            if side is not None:
                check_size(name, side)
        check_ease(self.ease)


@dataclass(frozen=True)
class Motion:
    """A motion by its name, over the whole clip, starting from where the object is.

    left, right, up, down (distance, else a quarter of the frame) and by (dx, dy): added to the object's own motion.
    to (x, y): from its first place to that centre. scale (factor): its size grows to that. hold: stays at its first
    box. Raises UsageError for an unknown word, or amounts out of range.
    """

    word: str
    amount: tuple[float, ...] = ()
    ease: Ease = "linear"

    def __post_init__(self) -> None:
        form = check_motion(self.word, len(self.amount))
        for position, value in enumerate(self.amount):
            check_amount(self.word, position, value)
        if not self.amount and form.default:
            object.__setattr__(self, "amount", form.default)
        check_ease(self.ease)
        if self.word == "hold" and self.ease != "linear":
            raise UsageError(f"hold goes nowhere, so it takes no easing, got '{self.ease}'; leave it out")

    @property
    def offset(self) -> tuple[float, float]:
        """How far it takes the centre on top of the object's own motion, (dx, dy) in frames; y grows downwards."""
        if self.word == "by":
            return self.amount[0], self.amount[1]
        x, y = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}.get(self.word, (0, 0))
        return (x * self.amount[0], y * self.amount[0]) if x or y else (0.0, 0.0)


def check_motion(word: str, amounts: int) -> MotionForm:
    """The motion's form. Raises UsageError unless there is such a motion and it takes that many amounts."""
    if word not in MOTIONS:
        known = tuple(MOTIONS)
        raise UsageError(f"unknown motion {word[:40]!r}{nearest(word, known)}; there are {', '.join(known)}")
    form = MOTIONS[word]
    if amounts != len(form.names) and (amounts or form.default is None):
        written = f"{word}:{','.join(form.names)}" if form.names else word
        raise UsageError(f"{word} is written {written}, got {amounts} number{'s' * (amounts != 1)} after it")
    return form
