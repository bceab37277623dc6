"""The edit region is the boxes and a margin; outside it every change counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vxedit.score.background import background, boxes_mask, outside

BOX = np.array([[0.25, 0.5, 0.5, 0.75]])


def test_the_pixels_of_a_box() -> None:
    mask = boxes_mask(BOX, 40, 80)
    assert mask.shape == (1, 40, 80) and mask.sum() == 20 * 10
    assert mask[0, 20:30, 20:40].all()
    assert (
        boxes_mask(BOX, 40, 80, margin=3)[0, 17:33, 17:43].sum() == boxes_mask(BOX, 40, 80, margin=3).sum() == 16 * 26
    )


def test_a_box_that_is_none_covers_nothing() -> None:
    assert not boxes_mask(np.full((2, 4), np.nan), 8, 8).any()
    assert not boxes_mask(np.array([[0.5, 0.5, 0.5, 0.5]]), 8, 8).any()


def test_boxes_are_cut_at_the_frame() -> None:
    assert boxes_mask(np.array([[0.9, 0.9, 1, 1]]), 10, 10, margin=20).all()
    assert boxes_mask(np.array([[0, 0, 1, 1]]), 10, 10).all()


def test_the_region_grows_by_a_share_of_the_shorter_side() -> None:
    there = BOX + (0.25, -0.25, 0.25, -0.25)
    away = outside([BOX, there], 40, 80)  # a tenth of 40 is 4 pixels
    inside = np.zeros((40, 80), bool)
    inside[16:34, 16:44] = inside[6:24, 36:64] = True
    assert (away[0] == ~inside).all()
    assert outside([BOX], 40, 80, margin=0).sum() == 40 * 80 - 200


def test_only_changes_outside_count() -> None:
    rng = np.random.default_rng(0)
    source = rng.integers(50, 200, (1, 40, 80, 3), np.uint8)
    mask = outside([BOX], 40, 80)
    edited = source.copy()
    edited[0, 20:30, 20:40] = 0
    assert background(edited, source, mask).psnr == 100
    edited[0, :5] += 10
    changed = background(edited, source, mask)
    # 400 of the pixels that count are off by 10 levels
    assert changed.psnr == pytest.approx(10 * math.log10(255**2 / (100 * 400 / mask.sum())), abs=1e-3)
    assert changed.ssim < background(source, source, mask).ssim == pytest.approx(1)
    assert changed.share == pytest.approx(mask.mean())


def test_no_answer_without_a_background() -> None:
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    got = background(frames, frames, np.zeros((1, 8, 8), bool))
    assert math.isnan(got.psnr) and math.isnan(got.ssim) and got.share == 0
    tiny = frames[:, :4, :4]
    assert math.isnan(background(tiny, tiny, np.ones((1, 4, 4), bool)).ssim)
