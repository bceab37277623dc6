"""What is said of an object in one window becomes what is known of it in the next."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from vxedit.edit.locate import Located, mask_boxes
from vxedit.edit.path import parse_path
from vxedit.followed import Followed
from vxedit.io.crop import Placement
from vxedit.objects import Wanted
from vxedit.windows import Window, windows

FRAMES = 20
WINDOWS = windows(FRAMES, 8)
WHOLE = Placement((48, 32), (0, 0, 48, 32), (0, 0, 48, 32), (24, 16))
CROPPED = Placement((48, 32), (0, 0, 48, 32), (16, 0, 48, 32), (16, 16))
ONE = Wanted("ball", (1,), parse_path("left"))


def there(window: Window, side: int = 4) -> Located:
    """An object that is a column further right in every frame of the clip, as the model sees it at 24 x 16."""
    masks = np.zeros((len(window), 16, 24), bool)
    for k in range(len(window)):
        masks[k, 6 : 6 + side, window.begin + k : window.begin + k + side] = True
    return Located(masks, mask_boxes(masks))


def test_a_box_goes_on_from_where_the_window_before_found_it() -> None:
    followed = Followed([replace(ONE, box=(0.1, 0.2, 0.3, 0.4))], WHOLE, WINDOWS)
    assert followed.of(WINDOWS[0])[0].box == (0.1, 0.2, 0.3, 0.4)
    for window, later in pairwise(WINDOWS):
        followed.found(window, [there(window)])
        (wanted,) = followed.of(later)
        at = later.begin
        assert wanted.box == pytest.approx((at / 24, 6 / 16, (at + 4) / 24, 10 / 16))
        assert wanted.masks is None and (wanted.obj, wanted.columns, wanted.motion) == ("ball", (1,), ONE.motion)
    followed.found(WINDOWS[-1], [there(WINDOWS[-1])])  # after the last there is nothing to go on to


def test_a_mask_of_the_first_frame_goes_on_as_the_mask_that_was_found() -> None:
    mask = np.zeros((1, 32, 48), bool)
    mask[0, 12:20, 0:8] = True
    followed = Followed([replace(ONE, masks=mask)], WHOLE, WINDOWS)
    first = followed.of(WINDOWS[0])[0].masks
    assert first is not None and np.array_equal(first, mask)
    found = there(WINDOWS[0])
    followed.found(WINDOWS[0], [found])
    masks = followed.of(WINDOWS[1])[0].masks
    assert masks is not None and masks.shape == (1, 16, 24)
    assert np.array_equal(masks[0], found.masks[WINDOWS[1].begin])


def test_a_mask_that_was_lost_goes_on_as_the_box() -> None:
    followed = Followed([replace(ONE, masks=np.ones((1, 32, 48), bool))], WHOLE, WINDOWS)
    found = there(WINDOWS[0])
    found.masks[WINDOWS[1].begin] = False
    followed.found(WINDOWS[0], [found])
    (wanted,) = followed.of(WINDOWS[1])
    assert wanted.masks is None and wanted.box == pytest.approx(found.boxes[WINDOWS[1].begin])


def test_masks_of_every_frame_are_each_window_s_own() -> None:
    masks = np.zeros((FRAMES, 32, 48), bool)
    masks[np.arange(FRAMES), 3, np.arange(FRAMES)] = True
    followed = Followed([replace(ONE, masks=masks)], WHOLE, WINDOWS)
    for window in WINDOWS:
        own = followed.of(window)[0].masks
        assert own is not None and np.array_equal(own, masks[window.begin : window.end])
        followed.found(window, [there(window)])


def test_a_word_s_attention_says_it_anew_in_every_window() -> None:
    followed = Followed([ONE], WHOLE, WINDOWS)
    followed.found(WINDOWS[0], [there(WINDOWS[0])])
    assert followed.of(WINDOWS[1]) == (ONE,)


def test_each_object_goes_its_own_way() -> None:
    followed = Followed([ONE, replace(ONE, box=(0.0, 0.0, 0.5, 0.5))], WHOLE, WINDOWS)
    followed.found(WINDOWS[0], [there(WINDOWS[0]), there(WINDOWS[0], side=3)])
    first, second = followed.of(WINDOWS[1])
    at = WINDOWS[1].begin
    assert first == ONE and second.box == pytest.approx((at / 24, 6 / 16, (at + 3) / 24, 9 / 16))


def test_what_is_said_in_the_frame_is_told_in_what_the_model_sees() -> None:
    """The right two thirds of the frame: x' = (48 x - 16) / 32."""
    mask = np.zeros((1, 32, 48), bool)
    mask[0, 8:16, 20:30] = True
    followed = Followed([replace(ONE, box=(0.5, 0.25, 0.75, 0.5)), replace(ONE, masks=mask)], CROPPED, WINDOWS)
    boxed, masked = followed.of(WINDOWS[0])
    assert boxed.box == pytest.approx((0.25, 0.25, 0.625, 0.5))
    assert masked.masks is not None and np.array_equal(masked.masks, mask[:, :, 16:])
    followed.found(WINDOWS[0], [there(WINDOWS[0]), there(WINDOWS[0])])  # found in the model's view, and left in it
    assert followed.of(WINDOWS[1])[0].box == pytest.approx(there(WINDOWS[0]).boxes[WINDOWS[1].begin])
