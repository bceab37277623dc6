"""Masks that hold an object's core alone, grown to the renderer's outline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.edit.scenes import clip, grown, mask_iou
from vxedit.edit.locate import Located, mask_boxes
from vxedit.edit.refine import hidden_by, refine
from vxedit.render.scene import Rendered

STILL, PANNING = (0.0, 0.0), (0.12, -0.06)
CAST = (
    *(("ball", "gravel", STILL), ("burger", "a brick wall", STILL), ("star", "a wooden table", STILL)),
    *(("car", "a meadow", PANNING), ("balloon", "sand", PANNING), ("rocket", "grass", PANNING)),
)
MOVING = {"start": (0.25, 0.35), "end": (0.7, 0.6)}


def cored(masks: np.ndarray, pixels: int) -> Located:
    """What is left of masks that many pixels inside their outline."""
    core = ~grown(~masks, pixels)
    assert core.any((1, 2)).all()
    return Located(core, mask_boxes(core))


@pytest.fixture(scope="module")
def ball() -> Rendered:
    return clip("ball", "gravel", frames=4, pan=PANNING, **MOVING)


@pytest.mark.parametrize(("name", "place", "pan"), CAST)
def test_a_core_grows_back_to_its_object(name: str, place: str, pan: tuple[float, float]) -> None:
    truth = clip(name, place, frames=4, pan=pan, seed=1, **MOVING)
    core = cored(truth.masks[0], 3)
    assert mask_iou(core.masks, truth.masks[0]).max() < 0.62
    found = refine(truth.frames, core)
    assert mask_iou(found.masks, truth.masks[0]).min() > 0.85
    assert not (core.masks & ~found.masks).any()
    assert np.array_equal(found.boxes, mask_boxes(found.masks))


def test_masks_that_are_right_stay_so(ball: Rendered) -> None:
    """The outline's blur differs from the plate too, and is not the object's."""
    found = refine(ball.frames, Located(ball.masks[0], ball.boxes[0]))
    assert mask_iou(found.masks, ball.masks[0]).min() > 0.98


def test_each_round_sees_further() -> None:
    ball = clip("ball", "gravel", frames=4, pan=PANNING, seed=11, **MOVING)
    core = cored(ball.masks[0], 9)
    none, one, two = (refine(ball.frames, core, rounds=n).masks for n in range(3))
    assert np.array_equal(none, core.masks)
    once, twice = mask_iou(one, ball.masks[0]), mask_iou(two, ball.masks[0])
    assert (once > mask_iou(core.masks, ball.masks[0]) + 0.2).all()
    assert (twice > once + 0.1).all() and twice.min() > 0.85
    assert not (one & ~two).any()


def test_it_does_not_grow_beyond_what_it_looks_at(ball: Rendered) -> None:
    """Something long held by the object in one frame is taken for it only near it."""
    frames, held = ball.frames.copy(), np.zeros(ball.masks[0].shape, bool)
    x, y = (((ball.boxes[0][1, :2] + ball.boxes[0][1, 2:]) / 2) * 96).astype(int)
    held[1, y - 2 : y + 2, x:] = True
    frames[held] = (255, 0, 255)
    found = refine(frames, Located(ball.masks[0], ball.boxes[0]), rounds=1).masks
    assert (found & held & ~ball.masks[0]).sum() > 12
    assert not (found & ~grown(ball.masks[0], 6)).any()


def test_what_differs_apart_from_the_object_is_left_out(ball: Rendered) -> None:
    core, frames = cored(ball.masks[0], 2), ball.frames.copy()
    x0, y0, _, _ = (ball.boxes[0][2] * 96).round().astype(int)
    speck = (2, slice(y0 - 2, y0 + 1), slice(x0 - 2, x0 + 1))  # at the corner of the object's box, in its reach
    reach = ball.masks[0].copy()
    reach[speck] = True
    frames[speck] = (255, 0, 255)
    assert not grown(ball.masks[0], 2)[speck].any()
    found = refine(frames, replace(core, reach=reach)).masks
    assert not found[speck].any()
    assert mask_iou(found, ball.masks[0]).min() > 0.8


def test_where_no_frame_shows_what_is_behind_nothing_is_added() -> None:
    """The plate is made up there: that the object differs from it says nothing."""
    still = clip("ball", "gravel", frames=3, start=(0.5, 0.5), end=(0.5, 0.5))
    core = cored(still.masks[0], 3)
    assert np.array_equal(refine(still.frames, core).masks, core.masks)


def test_every_piece_is_kept_and_an_empty_frame_stays_empty(ball: Rendered) -> None:
    masks = cored(ball.masks[0], 3).masks
    middle = int(np.flatnonzero(masks[1].any(0)).mean())
    masks[1, :, middle - 1 : middle + 2] = False  # two halves
    masks[1, 2:4, 2:4] = True  # and something far off
    masks[3] = False
    found = refine(ball.frames, Located(masks, mask_boxes(masks)))
    assert not (masks & ~found.masks).any()
    assert found.masks[1, :10, :10].sum() >= 4
    assert mask_iou(found.masks[1:2, 10:], ball.masks[0][1:2, 10:]) > 0.82  # the halves are one again
    assert not found.masks[3].any()


def test_holes_are_filled(ball: Rendered) -> None:
    masks = ball.masks[0].copy()
    x, y = (((ball.boxes[0][:, :2] + ball.boxes[0][:, 2:]) / 2) * 96).astype(int).T
    for i in range(len(masks)):
        masks[i, y[i] - 3 : y[i] + 3, x[i] - 3 : x[i] + 3] = False
    # not seen as different: the frames show the background there
    frames = np.where(masks[..., None], ball.frames, ball.clean)
    assert mask_iou(refine(frames, Located(masks, ball.boxes[0])).masks, ball.masks[0]).min() > 0.97


def test_what_may_be_the_object_is_kept_and_grows_with_it(ball: Rendered) -> None:
    core = cored(ball.masks[0], 3)
    reach = core.masks.copy()
    reach[:, 40:44, 80:84] = True
    found = refine(ball.frames, replace(core, reach=reach))
    assert found.reach is not None and np.array_equal(found.reach, found.masks | reach)
    bare = refine(ball.frames, core)
    assert bare.reach is not None and np.array_equal(bare.reach, bare.masks)


def test_the_cameras_motion_is_kept_or_found(ball: Rendered) -> None:
    core = cored(ball.masks[0], 3)
    measured = refine(ball.frames, core)
    assert measured.camera is not None
    assert measured.camera[3][:2, 2] == pytest.approx([-0.12 * 96, 0.06 * 96], abs=0.5)
    told = measured.camera + 1e-9
    again = refine(ball.frames, replace(core, camera=told))
    assert again.camera is told and np.array_equal(again.masks, measured.masks)
    # and used: under a camera that stands still the background differs from itself
    still = refine(ball.frames, replace(core, camera=np.repeat(np.eye(3)[None], 4, 0)))
    assert (mask_iou(still.masks, ball.masks[0]) < mask_iou(measured.masks, ball.masks[0]) - 0.02).all()


def test_neither_frames_nor_masks_are_changed(ball: Rendered) -> None:
    core, frames = cored(ball.masks[0], 3), ball.frames.copy()
    masks = core.masks.copy()
    refine(frames, core)
    assert np.array_equal(frames, ball.frames) and np.array_equal(core.masks, masks)


@pytest.mark.parametrize(("side", "margin", "radius"), [(128, 3.0, 3), (256, 3.0, 6), (128, 8.0, 8), (64, 8.0, 4)])
def test_what_an_object_hides_is_its_mask_and_a_margin(side: int, margin: float, radius: int) -> None:
    masks = np.zeros((2, side, side), bool)
    masks[0, 20, 30] = True
    hidden = hidden_by(Located(masks, np.zeros((2, 4))), margin=margin)
    away = np.hypot(*(np.mgrid[:side, :side] - np.array([20, 30]).reshape(2, 1, 1)))
    assert hidden.dtype == bool and not hidden[1].any()
    assert hidden[0][away <= radius - 1].all() and not hidden[0][away > radius + 0.5].any()
    assert hidden[0, 20, 30 - radius] and hidden[0, 20 + radius, 30]


def test_it_hides_all_that_may_be_the_object(ball: Rendered) -> None:
    core = cored(ball.masks[0], 3)
    assert not (core.masks & ~hidden_by(core)).any()
    wide = replace(core, reach=ball.masks[0])
    assert not (ball.masks[0] & ~hidden_by(wide)).any()
    assert (ball.masks[0] & ~hidden_by(core)).any()
    assert np.array_equal(hidden_by(wide), hidden_by(Located(ball.masks[0], ball.boxes[0])))
