"""The objects of a clip that is edited in windows, followed from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vxedit.edit.locate import Located
from vxedit.io.crop import Placement
from vxedit.objects import Wanted
from vxedit.windows import Window


class Followed:
    """What is said of the objects, window by window, in the order of the `windows`.

    Where a box or a mask of the first frame says where an object is, later windows begin with where it was found in the
    one before; a word's attention says it in each anew.
    """

    def __init__(self, wanted: Sequence[Wanted], placement: Placement, windows: Sequence[Window]) -> None:
        self._now = [_in_view(one, placement) for one in wanted]
        self._windows = windows

    def of(self, window: Window) -> tuple[Wanted, ...]:
        """The objects as they are wanted in a window, boxes and masks in what the model sees."""
        return tuple(_masked_in(one, window) for one in self._now)

    def found(self, window: Window, there: Sequence[Located]) -> None:
        """Go on to the next window, from where the objects were found in this one."""
        later = self._windows[self._windows.index(window) + 1 :]
        if later:
            at = later[0].begin - window.begin
            self._now = [_moved(one, place, at) for one, place in zip(self._now, there, strict=True)]


def _in_view(one: Wanted, placement: Placement) -> Wanted:
    if placement.whole:
        return one
    box = None if one.box is None else tuple(placement.boxes_to_model(np.array(one.box)).clip(0, 1).tolist())
    return replace(one, box=box, masks=None if one.masks is None else placement.cut(one.masks))


def _masked_in(one: Wanted, window: Window) -> Wanted:
    if one.masks is None or not _masked_throughout(one):
        return one
    return replace(one, masks=one.masks[window.begin : window.end])


def _masked_throughout(one: Wanted) -> bool:
    return one.masks is not None and len(one.masks) > 1


def _moved(one: Wanted, there: Located, at: int) -> Wanted:
    """What is known of an object at a frame of the window in which it was found."""
    if _masked_throughout(one) or (one.box is None and one.masks is None):
        return one
    x0, y0, x1, y1 = (float(side) for side in there.boxes[at])
    if one.masks is not None and there.masks[at].any():
        return replace(one, masks=there.masks[at][None])
    return replace(one, box=(x0, y0, x1, y1), masks=None)
