"""The published measures with the flaws that they have, each next to what the repaired one says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vxedit.score import boxes as repaired
from vxedit.score.published import peekaboo, peekaboo_means, signed_iou, trailblazer

QUARTER = np.array([0, 0, 0.5, 0.5])
ASIDE = np.array([0.25, 0, 0.75, 0.5])  # shares a half of QUARTER: IoU 1/3
NOTHING = np.full(4, np.nan)
DIAGONAL = math.hypot(320, 576)


def test_peekaboo_by_hand() -> None:
    target = np.tile(QUARTER, (3, 1))
    got = peekaboo(np.stack([QUARTER, ASIDE, NOTHING]), target)
    # in areas of a box: shared 1 + 1/2 + 0, union 1 + 3/2 + 1
    assert got.volume_iou == pytest.approx(1.5 / 3.5)
    assert got.ap50 == pytest.approx(1 / 2)  # the frame without a detection does not count
    # 576 / 4 pixels aside; the missing one lies in the corner: pixels 0..287 and 0..159 have their middle at half that
    assert got.centre_distance == pytest.approx((144 + math.hypot(143.5, 79.5)) / 3 / DIAGONAL)
    assert (got.detections, got.covered) == (2, True)
    assert repaired.ap50(np.stack([QUARTER, ASIDE, NOTHING]), target) == pytest.approx(1 / 3)


def test_peekaboo_in_a_small_frame_keeps_the_large_diagonal() -> None:
    target, found = QUARTER[None], ASIDE[None]
    assert peekaboo(found, target, frame=(128, 128)).centre_distance == pytest.approx(32 / DIAGONAL)


def test_more_than_a_third_of_the_frames_is_covered() -> None:
    target = np.tile(QUARTER, (24, 1))
    for frames, covered in ((8, False), (9, True)):
        found = np.concatenate([np.tile(QUARTER, (frames, 1)), np.tile(NOTHING, (24 - frames, 1))])
        assert peekaboo(found, target).covered is covered
        assert not repaired.covered(found)


def test_no_detection_at_all() -> None:
    got = peekaboo(NOTHING[None], QUARTER[None])
    assert math.isnan(got.ap50) and got.volume_iou == 0 and not got.covered
    assert got.centre_distance == pytest.approx(math.hypot(143.5, 79.5) / DIAGONAL)


def test_the_two_lines_over_a_set() -> None:
    right = peekaboo(np.tile(QUARTER, (4, 1)), np.tile(QUARTER, (4, 1)))  # IoU 1, AP50 1, 4 detections
    rare = peekaboo(np.stack([ASIDE, NOTHING, NOTHING, NOTHING]), np.tile(QUARTER, (4, 1)))  # not covered
    never = peekaboo(np.tile(NOTHING, (4, 1)), np.tile(QUARTER, (4, 1)))
    # rare: shared 1/2 of a box, union 3/2 + 3
    assert rare.volume_iou == pytest.approx(0.5 / 4.5) and rare.ap50 == 0
    weighted, plain = (peekaboo_means([right, rare, never], weighted=flag) for flag in (True, False))
    assert weighted.mean_iou == pytest.approx(1)
    assert plain.mean_iou == pytest.approx((1 + 1 / 9 + 0) / 3)
    assert weighted.ap50 == pytest.approx(4 / 5)
    assert plain.ap50 == pytest.approx(1 / 2)  # the clip that has none is left out
    assert weighted.coverage == plain.coverage == pytest.approx(1 / 3)
    assert weighted.centre_distance == plain.centre_distance
    nothing = peekaboo_means([never], weighted=True)
    assert math.isnan(nothing.mean_iou) and math.isnan(nothing.ap50) and nothing.coverage == 0
    with pytest.raises(ValueError, match="at least one clip"):
        peekaboo_means([], weighted=True)


def test_boxes_apart_both_ways_overlap_for_trailblazer() -> None:
    here, there, far = np.array([[0, 0, 0.2, 0.2], [0.3, 0.3, 0.5, 0.5], [0.6, 0.6, 0.8, 0.8]])
    # extents -0.1 and -0.1: 0.01 shared of 0.04 + 0.04 - 0.01
    assert signed_iou(here, there) == pytest.approx(1 / 7)
    assert repaired.iou(here, there) == 0
    assert signed_iou(here, far) == 0  # 0.16 shared: the union is negative, and so is the quotient
    assert signed_iou(here, here + (0.3, 0, 0.3, 0)) == 0  # apart one way: negative
    assert signed_iou(QUARTER, ASIDE) == pytest.approx(1 / 3)
    assert signed_iou(here, np.array([0.2, 0.2, 0.2, 0.2])) == 0


def test_trailblazer_skips_frames_without_a_detection() -> None:
    found = np.stack([QUARTER, ASIDE, NOTHING])
    assert trailblazer(found, np.tile(QUARTER, (3, 1))) == pytest.approx((1 + 1 / 3) / 2)
    assert trailblazer(NOTHING[None], QUARTER[None]) == 0


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(F, 4\)"):
        peekaboo(QUARTER, QUARTER)
    with pytest.raises(ValueError, match=r"\(F, 4\)"):
        trailblazer(np.zeros((2, 4)), np.zeros((3, 4)))
