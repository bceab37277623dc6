"""An object's template at any pose: the same polygons that the renderer paints, warped with sub-pixel accuracy.

A pose is a float array (5,): centre x, y, width, height in pixels (pixel i covers [i, i + 1]) and the angle in degrees,
as `vxedit.render.scene.Actor` turns its objects.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from vxedit.errors import UsageError
from vxedit.render.objects import DRAWINGS

_FINE = 256  # side of the finest unit-square template
_PAINT = 4  # the polygons are painted this much larger and averaged down
_OVER = 2  # a warped template is sampled at twice the pixel grid and averaged down


@cache
def template(name: str, side: int = _FINE) -> np.ndarray:
    """The object filling a square: float32 (side, side, 4), premultiplied RGB in [0, 255] and coverage in [0, 1].

    Treat it as read-only, it is shared. Raises UsageError for a name that the renderer does not draw.
    """
    if name not in DRAWINGS:
        raise UsageError(f"no template for {name!r}; the detector knows {', '.join(DRAWINGS)}; use one of these words")
    large = np.zeros((side * _PAINT, side * _PAINT, 4), np.float32)
    for shape in DRAWINGS[name].shapes:
        fixed = np.round((shape.points * side * _PAINT - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(large, [fixed], (*shape.colour, 1.0), cv2.LINE_8, 8)
    return cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)


def _level(extent: float) -> int:
    """The coarsest template that still has two samples a pixel of the drawn one, so that the warp does not alias."""
    side = 16
    while side < min(_FINE, _OVER * extent):
        side *= 2
    return side


def draw(name: str, pose: np.ndarray, *, height: int, width: int) -> tuple[np.ndarray, slice, slice]:
    """The template at a pose, cut to a frame of height x width pixels.

    Gives premultiplied RGBA float32 (h, w, 4) and the rows and columns of the frame that it covers; h or w is 0 when
    the pose lies outside the frame.
    """
    x, y, w, h, angle = (float(v) for v in pose)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    half_w, half_h = (abs(w * c) + abs(h * s)) / 2, (abs(w * s) + abs(h * c)) / 2
    left, top = max(0, int(np.floor(x - half_w))), max(0, int(np.floor(y - half_h)))
    right, bottom = min(width, int(np.ceil(x + half_w))), min(height, int(np.ceil(y + half_h)))
    if right <= left or bottom <= top:
        return np.zeros((0, 0, 4), np.float32), slice(left, left), slice(top, top)
    side = _level(max(w, h))
    turn = np.array([[c / w, s / w], [-s / h, c / h]]) * side  # frame pixels to template samples
    view = np.empty((2, 3))
    view[:, :2] = turn / _OVER
    view[:, 2] = turn @ (left - x + 0.5 / _OVER, top - y + 0.5 / _OVER) + side / 2 - 0.5
    span = ((right - left) * _OVER, (bottom - top) * _OVER)
    fine = cv2.warpAffine(template(name, side), view, span, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    patch = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    return patch, slice(top, bottom), slice(left, right)


def pose_box(name: str, pose: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """The tight box (4,) xyxy in [0, 1] round the pixels that the object covers by half or more: the renderer's own
    definition of a box. NaN when it covers none."""
    patch, rows, columns = draw(name, pose, height=height, width=width)
    covered = patch[..., 3] >= 0.5
    down, across = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    if not len(down):
        return np.full(4, np.nan)
    x, y = columns.start, rows.start
    box = (x + across[0], y + down[0], x + across[-1] + 1, y + down[-1] + 1)
    return np.array(box) / (width, height, width, height)
