"""Masks that agree from frame to frame, boxes that don't jitter."""

from __future__ import annotations

import numpy as np
import pytest

from tests.edit.scenes import clip, grown, located, mask_iou
from vxedit.edit.locate import Located, mask_boxes
from vxedit.edit.steady import object_motion, smoothed, steadied_object
from vxedit.render.scene import Rendered


@pytest.fixture(scope="module")
def fish() -> Rendered:
    return clip("fish", "sand", frames=6, pan=(0.1, -0.05), start=(0.3, 0.35), end=(0.6, 0.6))


def test_a_tail_that_one_frame_lost_comes_back(fish: Rendered) -> None:
    masks = fish.masks[0].copy()
    x0, _, x1, _ = (mask_boxes(masks)[3] * masks.shape[2]).astype(int)
    masks[3][:, : x0 + (x1 - x0) // 3] = False
    assert mask_iou(masks, fish.masks[0])[3] < 0.8
    found = steadied_object(fish.frames, located(masks))
    assert mask_iou(found.masks, fish.masks[0]).min() > 0.93
    assert np.abs(found.boxes - fish.boxes[0]).max() < 2.5 / masks.shape[2]


def test_what_one_frame_alone_took_for_the_object_goes(fish: Rendered) -> None:
    masks = fish.masks[0].copy()
    masks[2] = grown(masks[2][None], 7)[0]
    assert mask_iou(masks, fish.masks[0])[2] < 0.7
    found = steadied_object(fish.frames, located(masks))
    assert mask_iou(found.masks, fish.masks[0]).min() > 0.9
    rim, beyond = grown(found.masks, 2), ~grown(found.masks, 3)  # of a frame 96 wide
    assert found.reach is not None and found.reach[masks & rim].all()  # it may still not be background
    assert (masks & beyond).any() and not (found.reach & beyond).any()  # so far away it is


def test_masks_that_are_right_stay_so_and_get_a_soft_edge(fish: Rendered) -> None:
    found = steadied_object(fish.frames, located(fish.masks[0]))
    assert mask_iou(found.masks, fish.masks[0]).min() > 0.95
    assert found.cover is not None and found.cover.dtype == np.float32
    assert found.cover.min() >= 0 and found.cover.max() <= 1
    inner, outer = ~grown(~found.masks, 2), ~grown(found.masks, 3)
    assert found.cover[inner].min() > 0.95 and found.cover[outer].max() == 0
    edge = (found.cover > 0.1) & (found.cover < 0.9)
    assert 0.05 < edge.sum() / found.masks.sum() < 0.6
    assert mask_iou(found.cover > 0.5, found.masks).min() > 0.97
    assert found.camera is not None and found.camera.shape == (6, 3, 3)


def test_boxes_that_were_given_stay(fish: Rendered) -> None:
    given = fish.boxes[0] + np.array([-0.02, 0, 0.03, 0])
    found = steadied_object(fish.frames, Located(fish.masks[0], given), boxes=False)
    assert found.boxes is given


def test_a_single_frame_has_no_neighbours(fish: Rendered) -> None:
    one = located(fish.masks[0][:1])
    assert steadied_object(fish.frames[:1], one) is one


def test_where_the_frames_do_not_agree_each_keeps_its_own(fish: Rendered) -> None:
    """The masks jump about, as no object does."""
    masks = np.zeros_like(fish.masks[0])
    for i, mask in enumerate(masks):
        mask[8 + 12 * i : 18 + 12 * i, 8 + 50 * (i % 2) : 18 + 50 * (i % 2)] = True
    found = steadied_object(fish.frames, located(masks))
    assert mask_iou(found.masks, masks).min() > 0.5


def test_the_objects_motion_is_its_own_and_not_the_cameras(fish: Rendered) -> None:
    moves = object_motion(fish.frames, fish.masks[0])
    middles = (fish.boxes[0][:, :2] + fish.boxes[0][:, 2:]) / 2 * fish.frames.shape[2] - 0.5
    carried = np.stack([move @ [*middles[0], 1] for move in moves])[:, :2]
    assert np.abs(carried - middles).max() < 1.5
    assert np.linalg.norm(middles[-1] - middles[0]) > 20


def test_without_pixels_to_follow_it_stands_still(fish: Rendered) -> None:
    assert np.array_equal(object_motion(fish.frames, np.zeros_like(fish.masks[0])), np.repeat(np.eye(3)[None], 6, 0))


def test_smooth_motion_is_left_alone_and_jitter_is_not() -> None:
    time = np.arange(12.0)[:, None] / 12
    smooth = np.hstack([0.2 + 0.3 * time, 0.1 + 0.4 * time**2, 0.5 + 0.3 * time, 0.4 + 0.4 * time**2])
    assert smoothed(smooth) == pytest.approx(smooth)
    jitter = np.random.default_rng(0).uniform(-0.5, 0.5, smooth.shape) / 128
    left = smoothed(smooth + jitter) - smooth
    assert np.square(left).mean() < 0.6 * np.square(jitter).mean()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_have_boxes_too(frames: int) -> None:
    boxes = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.4, 0.4], [0.25, 0.2, 0.45, 0.4]])[:frames]
    assert smoothed(boxes) == pytest.approx(boxes)


def test_a_fast_object_is_not_lost() -> None:
    """Seven pixels a frame over a pan the other way, farther than a search from standstill reaches."""
    fast = clip("fish", "gravel", frames=8, size=128, pan=(0.1, -0.05), start=(0.3, 0.35), end=(0.6, 0.6))
    moves = object_motion(fast.frames, fast.masks[0])
    middles = (fast.boxes[0][:, :2] + fast.boxes[0][:, 2:]) / 2 * 128 - 0.5
    carried = np.stack([move @ [*middles[0], 1] for move in moves])[:, :2]
    assert np.linalg.norm(carried - middles, axis=1).max() < 3
