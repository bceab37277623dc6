"""Parts that move with the object are found; what moves with the camera never is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.edit.scenes import clip, located, mask_iou
from vxedit.edit.comoving import with_comoving
from vxedit.edit.locate import mask_boxes
from vxedit.render.scene import Rendered


@pytest.fixture(scope="module")
def fish() -> Rendered:
    return clip("fish", "gravel", frames=8, size=128, pan=(0.1, -0.05), start=(0.3, 0.35), end=(0.6, 0.6))


def tailless(masks: np.ndarray) -> np.ndarray:
    """Every frame's mask without its left quarter."""
    short = masks.copy()
    for mask, (x0, _, x1, _) in zip(short, mask_boxes(masks) * masks.shape[2], strict=True):
        mask[:, : round(x0 + (x1 - x0) / 4)] = False
    return short


def test_a_tail_that_every_frame_lacks_is_found_by_its_motion(fish: Rendered) -> None:
    short = tailless(fish.masks[0])
    before = mask_iou(short, fish.masks[0]).mean()
    found = with_comoving(fish.frames, located(short))
    assert before < 0.86 and mask_iou(found.masks, fish.masks[0]).mean() > before + 0.06
    assert (found.masks >= short).all()
    assert np.abs(found.boxes[:, 0] - fish.boxes[0][:, 0]).mean() < 4 / 128
    assert found.reach is not None and (found.reach >= found.masks).all()


def test_a_mask_that_is_right_stays_as_it_is(fish: Rendered) -> None:
    found = with_comoving(fish.frames, located(fish.masks[0]))
    assert mask_iou(found.masks, fish.masks[0]).min() > 0.97
    assert found.camera is not None and found.camera.shape == (8, 3, 3)


def test_where_object_and_camera_move_as_one_nothing_is_said() -> None:
    """The fish stands still in the scene, so that its tail can't be told from the ground by motion."""
    still = clip("fish", "gravel", frames=8, size=128, start=(0.4, 0.4), end=(0.4, 0.4))
    short = tailless(still.masks[0])
    assert np.array_equal(with_comoving(still.frames, located(short)).masks, short)


def test_a_frame_without_the_object_stays_empty(fish: Rendered) -> None:
    masks = fish.masks[0].copy()
    masks[3] = False
    found = with_comoving(fish.frames, located(masks))
    assert not found.masks[3].any() and found.masks[2].any()


def test_a_single_frame_has_nothing_to_compare_with(fish: Rendered) -> None:
    short = tailless(fish.masks[0])[:1]
    assert np.array_equal(with_comoving(fish.frames[:1], located(short)).masks, short)
