"""Which window of the frame the model sees, at what size, and the way back: stretched, cropped or padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from vxedit.errors import UsageError
from vxedit.io.fit import resize_frames
from vxedit.job import Fit

BoxPx = tuple[int, int, int, int]
"""Corners x0, y0, x1, y1 in whole pixels, the last ones not included."""


@dataclass(frozen=True)
class Placement:
    """The `window` of a `frame` (width, height) that a model sees at its size `model` (width, height), all in pixels.

    `picture`: the part of the frame that is picture, inside any black bars. The window may reach beyond it; what it
    sees there is the picture's border, repeated. Boxes xyxy are in shares, of the frame or of the model's view.
    """

    frame: tuple[int, int]
    picture: BoxPx
    window: BoxPx
    model: tuple[int, int]

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.picture
        if not (0 <= x0 < x1 <= self.frame[0] and 0 <= y0 < y1 <= self.frame[1]):
            raise ValueError(f"the picture {self.picture} isn't within a frame of {self.frame[0]}x{self.frame[1]}")
        if min(self.model) < 1:
            raise ValueError(f"the model can't see {self.model[0]}x{self.model[1]}; both sides must be 1 or more")
        x0, y0, x1, y1 = self.taken
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"the window {self.window} shows nothing of the picture {self.picture}")

    @property
    def whole(self) -> bool:
        """Whether the window is all of the frame."""
        return self.window == (0, 0, *self.frame)

    @property
    def taken(self) -> BoxPx:
        """What of the picture is in the window: the only pixels of the frame that can change."""
        (a, b, c, d), (x0, y0, x1, y1) = self.picture, self.window
        return (max(a, x0), max(b, y0), min(c, x1), min(d, y1))

    @property
    def size(self) -> tuple[int, int]:
        """The window's (width, height) in pixels of the frame."""
        x0, y0, x1, y1 = self.window
        return (x1 - x0, y1 - y0)

    @property
    def stretch(self) -> float:
        """How much wider than it is the model sees a thing: 1 where shapes are kept."""
        return (self.model[0] / self.size[0]) / (self.model[1] / self.size[1])

    @property
    def real(self) -> np.ndarray:
        """Which part of the model's view is picture, a box (4,) in shares of it; the rest repeats the border."""
        return self.boxes_to_model(np.array(self.taken) / np.tile(self.frame, 2))

    def cut(self, frames: np.ndarray) -> np.ndarray:
        """The window of frames (F, H, W, ...), at their own size. Beyond the picture: its border for pictures, False
        for masks bool. Shares its memory with the frames where nothing is beyond."""
        self._check(frames)
        x0, y0, x1, y1 = self.taken
        inside = frames[:, y0:y1, x0:x1]
        left, top, right, bottom = (abs(a - b) for a, b in zip(self.window, self.taken, strict=True))
        if not (left or top or right or bottom):
            return inside
        around = ((0, 0), (top, bottom), (left, right)) + ((0, 0),) * (frames.ndim - 3)
        if frames.dtype == bool:
            return np.pad(inside, around)
        return np.pad(inside, around, mode="edge")

    def paste(self, window: np.ndarray, original: np.ndarray) -> np.ndarray:
        """Put a window (F, h, w, ...), as `cut` gives it, back into frames (F, H, W, ...), of which the rest stays as
        it is. What of the window lies beyond the picture is dropped. A window that is the whole frame is it.
        """
        self._check(original)
        if window.shape[:1] + window.shape[3:] != original.shape[:1] + original.shape[3:]:
            raise ValueError(f"a window {window.shape} doesn't belong to frames {original.shape}")
        if window.shape[1:3] != self.size[::-1]:
            raise ValueError(f"a window of {self.size[0]}x{self.size[1]} is needed, got {window.shape}")
        x0, y0, x1, y1 = self.taken
        if self.whole and self.taken == self.window:
            return window
        left, top = x0 - self.window[0], y0 - self.window[1]
        pasted = original.copy()
        pasted[:, y0:y1, x0:x1] = window[:, top : top + y1 - y0, left : left + x1 - x0]
        return pasted

    def to_model(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (F, H, W, 3) as the model sees them, (F, h, w, 3)."""
        return resize_frames(self.cut(frames), self.model[1], self.model[0])

    def from_model(self, edited: np.ndarray, original: np.ndarray) -> np.ndarray:
        """What the model made, uint8 (F, h, w, 3), in its place in the original frames (F, H, W, 3)."""
        return self.paste(resize_frames(edited, self.size[1], self.size[0]), original)

    def boxes_to_model(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) in shares of the frame, as shares of the model's view; outside it they leave [0, 1]."""
        corner, size = np.tile(self.window[:2], 2), np.tile(self.size, 2)
        return (np.asarray(boxes, np.float64) * np.tile(self.frame, 2) - corner) / size

    def boxes_from_model(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) in shares of the model's view, as shares of the frame."""
        corner, size = np.tile(self.window[:2], 2), np.tile(self.size, 2)
        return (np.asarray(boxes, np.float64) * size + corner) / np.tile(self.frame, 2)

    def covers(self, boxes: np.ndarray) -> np.ndarray:
        """Which of the boxes (..., 4), in shares of the frame, lie wholly in what can change; bool (...)."""
        x0, y0, x1, y1 = np.moveaxis(np.asarray(boxes, np.float64) * np.tile(self.frame, 2), -1, 0)
        a, b, c, d = self.taken
        slack = 1e-6  # in pixels, for a box that is given as the window's own corners
        return (x0 >= a - slack) & (y0 >= b - slack) & (x1 <= c + slack) & (y1 <= d + slack)

    def _check(self, frames: np.ndarray) -> None:
        if frames.ndim < 3 or frames.shape[1:3] != self.frame[::-1]:
            raise ValueError(
                f"frames of {self.frame[0]}x{self.frame[1]} are needed, (F, H, W, ...), got {frames.shape}"
            )


def place(
    frame: tuple[int, int],
    model: tuple[int, int],
    *,
    fit: Fit = "stretch",
    picture: BoxPx | None = None,
    centre: tuple[float, float] = (0.5, 0.5),
) -> Placement:
    """How a frame (width, height) is shown to a model at its size (width, height), in pixels.

    `picture`: the part inside the bars, as `letterbox` finds it (None: all). "stretch" shows the picture as it is,
    "crop" its largest window of the model's aspect, centred on `centre` (in shares of the frame) as far as the picture
    reaches, "pad" the smallest window of that aspect that holds it, in the middle. A cropped or padded side is even, so
    the aspect is met to a pixel. Raises UsageError for another `fit`.
    """
    if fit not in get_args(Fit):
        raise UsageError(f"--fit {fit} is unknown: choose {', '.join(get_args(Fit))}")
    inside = picture or (0, 0, *frame)
    whole = Placement(frame, inside, inside, model)
    if fit == "stretch":
        return whole
    x0, y0, x1, y1 = inside
    width, height = _aspect(x1 - x0, y1 - y0, model[0] / model[1], larger=fit == "pad")
    if fit == "pad":
        left, top = x0 - (width - (x1 - x0)) // 2, y0 - (height - (y1 - y0)) // 2
    else:
        left = _offset(x0, x1, width, centre[0] * frame[0])
        top = _offset(y0, y1, height, centre[1] * frame[1])
    return Placement(frame, inside, (left, top, left + width, top + height), model)


def middle(boxes: np.ndarray) -> tuple[float, float]:
    """The centre (x, y) of all that boxes (..., 4) xyxy cover together, in their own unit: what a cropped window should
    be centred on. Boxes with NaN are left out; ValueError where no other is left."""
    known = np.asarray(boxes, np.float64).reshape(-1, 4)
    known = known[np.isfinite(known).all(1)]
    if len(known) == 0:
        raise ValueError("there are no boxes to centre on")
    x, y = (known[:, :2].min(0) + known[:, 2:].max(0)) / 2
    return float(x), float(y)


def _aspect(width: int, height: int, aspect: float, *, larger: bool) -> tuple[int, int]:
    """The sides of a picture, one of them made larger or smaller (even, then) so that width / height is `aspect`."""
    too_wide = width > height * aspect
    if too_wide == larger:
        return width, _even(width / aspect, height, larger=larger)
    return _even(height * aspect, width, larger=larger), height


def _even(side: float, own: int, *, larger: bool) -> int:
    """The even number nearest `side`, or `own` where rounding would go past it, or make nothing of it."""
    nearest = 2 * round(side / 2)
    return max(nearest, own) if larger else max(1, min(nearest or 2, own))


def _offset(begin: int, end: int, side: int, centre: float) -> int:
    """Where a window of `side` centred on `centre` begins within [begin, end); an even number where there is one."""
    offset = min(max(round(centre - side / 2), begin), end - side)
    return offset - offset % 2 if offset - offset % 2 >= begin else offset
