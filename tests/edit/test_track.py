"""Boxes and masks followed through rendered clips."""

from __future__ import annotations

import numpy as np
import pytest

from tests.edit.scenes import box_iou, clip, mask_iou
from vxedit.edit.track import follow, follow_box, follow_mask
from vxedit.render.scene import Rendered

CAST = (("burger", "a brick wall"), ("car", "a wooden table"), ("fish", "gravel"))


@pytest.fixture(scope="module", params=CAST, ids=[name for name, _ in CAST])
def truth(request: pytest.FixtureRequest) -> Rendered:
    name, place = request.param
    return clip(name, place, frames=5, size=96, start=(0.35, 0.4), end=(0.55, 0.52), pan=(0.03, 0.0))


def test_a_box_is_followed(truth: Rendered) -> None:
    true = truth.boxes[0]
    found = follow_box(truth.frames, true[0])
    assert found.shape == true.shape and np.array_equal(found[0], true[0])
    assert box_iou(found, true).min() > 0.7
    assert box_iou(np.repeat(true[:1], 5, 0), true)[-1] < 0.4  # it went far
    assert found.min() >= 0 and found.max() <= 1


def test_a_mask_is_followed(truth: Rendered) -> None:
    found = follow_mask(truth.frames, truth.masks[0, 0])
    assert np.array_equal(found.masks[0], truth.masks[0, 0])
    assert mask_iou(found.masks, truth.masks[0]).min() > 0.65
    assert box_iou(found.boxes, truth.boxes[0]).min() > 0.7


def test_an_object_is_followed_and_cut_out(truth: Rendered) -> None:
    found = follow(truth.frames, truth.boxes[0, 0])
    assert found.masks.shape == truth.masks[0].shape
    agreement = mask_iou(found.masks, truth.masks[0])
    assert agreement.mean() > 0.8 and agreement.min() > 0.6


def test_an_object_that_stands_still_keeps_its_box() -> None:
    still = clip("cup", "sand", frames=4, start=(0.5, 0.5), end=(0.5, 0.5))
    found = follow_box(still.frames, still.boxes[0, 0])
    assert found == pytest.approx(np.repeat(still.boxes[0, :1], 4, 0), abs=0.01)


def test_growth_is_followed() -> None:
    """Nearer by a tenth a frame: shown as ever larger pictures of one clip."""
    import cv2

    still = clip("burger", "gravel", frames=1, start=(0.5, 0.5), end=(0.5, 0.5))
    scales = [1.0, 1.06, 1.12]
    warps = [np.array([[s, 0, 48 * (1 - s)], [0, s, 48 * (1 - s)]]) for s in scales]
    shown = [cv2.warpAffine(still.frames[0], warp, (96, 96), borderMode=cv2.BORDER_REFLECT) for warp in warps]
    frames = np.stack(shown)
    found = follow_box(frames, still.boxes[0, 0])
    width = found[:, 2] - found[:, 0]
    assert width / width[0] == pytest.approx(scales, rel=0.03)


def test_a_box_without_pixels_to_follow_stays() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    box = np.array([0.5, 0.5, 0.53, 0.53])
    assert follow_box(frames, box) == pytest.approx(np.repeat(box[None], 3, 0))
    assert follow(frames, box).masks.any((1, 2)).all()


def test_one_frame_is_enough() -> None:
    one = clip("cup", "sand", frames=1)
    assert follow_box(one.frames, one.boxes[0, 0]).shape == (1, 4)
    assert mask_iou(follow(one.frames, one.boxes[0, 0]).masks, one.masks[0]).min() > 0.8
