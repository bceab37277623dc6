"""Pixels and noise carried from box to box."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vxedit.edit.transport import box_map, carry, carry_noise, refill_noise

SIDE = 32
SOURCE = np.array([[8, 10, 20, 18]]) / SIDE


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.uint8)


def box_alpha(box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = np.rint(box[0] * SIDE).astype(int)
    alpha = np.zeros((1, SIDE, SIDE), np.float32)
    alpha[0, y0:y1, x0:x1] = 1
    return alpha


def premultiplied(frames: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return frames.astype(np.float32) * alpha[..., None]


def test_the_map_takes_corners_to_corners() -> None:
    source, target = np.array([0.1, 0.2, 0.5, 0.8]), np.array([0.3, 0.1, 0.9, 0.4])
    warp, size = box_map(source, target, 40, 60), np.array([60, 40])
    for corner in (slice(0, 2), slice(2, 4)):
        index = source[corner] * size - 0.5  # the place of a pixel whose centre is there
        assert warp[:, :2] @ index + warp[:, 2] == pytest.approx(target[corner] * size - 0.5)
    assert box_map(source, source, 40, 60) == pytest.approx(np.eye(2, 3))


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (7, -5), (-8, 11)])
def test_a_shift_by_whole_pixels_moves_them_exactly(dx: int, dy: int) -> None:
    frames, alpha = picture(), box_alpha(SOURCE)
    target = SOURCE + np.array([dx, dy, dx, dy]) / SIDE
    colour, cover = carry(premultiplied(frames, alpha), alpha, SOURCE, target)
    assert colour.dtype == cover.dtype == np.float32
    assert np.array_equal(cover, box_alpha(target))
    moved = np.zeros(frames.shape, np.float32)
    moved[0, 10 + dy : 18 + dy, 8 + dx : 20 + dx] = frames[0, 10:18, 8:20]
    assert np.array_equal(colour, moved)


def test_what_leaves_the_frame_does_not_come_in_on_the_other_side() -> None:
    frames, alpha = picture(), box_alpha(SOURCE)
    colour, cover = carry(premultiplied(frames, alpha), alpha, SOURCE, SOURCE + np.array([[18, 0, 18, 0]]) / SIDE)
    assert cover[0, :, 26:].sum() == 6 * 8 and cover[0, :, :26].sum() == 0
    assert np.array_equal(colour[0, 10:18, 26:], frames[0, 10:18, 8:14])
    assert carry(premultiplied(frames, alpha), alpha, SOURCE, SOURCE + 2)[1].sum() == 0


def test_half_the_size_keeps_the_mean_colour_and_a_quarter_of_the_area() -> None:
    """A pattern of pixels is averaged; sampling alone would take one of its two colours."""
    frames = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    frames[0, ::2, ::2] = frames[0, 1::2, 1::2] = (200, 40, 120)
    box = np.array([[4, 4, 28, 28]]) / SIDE
    colour, cover = carry(
        premultiplied(frames, box_alpha(box)), box_alpha(box), box, np.array([[10, 10, 22, 22]]) / SIDE
    )
    assert cover.sum() == pytest.approx(144, rel=0.05)
    assert cover[0, 13:19, 13:19] == pytest.approx(1, abs=1e-5)
    assert colour[0, 13:19, 13:19].mean((0, 1)) == pytest.approx([100, 20, 60], rel=0.03)
    assert np.abs(colour[0, 13:19, 13:19] - (100, 20, 60)).max() < 40


def test_growing_keeps_colour_and_fills_the_box() -> None:
    frames = np.full((1, SIDE, SIDE, 3), 90, np.uint8)
    target = np.array([[4, 6, 28, 22]]) / SIDE  # twice the size
    colour, cover = carry(premultiplied(frames, box_alpha(SOURCE)), box_alpha(SOURCE), SOURCE, target)
    assert cover.sum() == pytest.approx(24 * 16, rel=0.05)
    assert cover[0, 8:20, 6:26] == pytest.approx(1, abs=1e-3)
    assert colour[0, 8:20, 6:26] == pytest.approx(90, abs=0.5)
    assert (colour <= 255 * cover[..., None]).all() and colour.min() >= 0


def test_every_frame_goes_its_own_way() -> None:
    frames, alpha = np.concatenate([picture(0), picture(1)]), np.concatenate([box_alpha(SOURCE)] * 2)
    sources, targets = np.concatenate([SOURCE] * 2), np.concatenate([SOURCE, SOURCE + 4 / SIDE])
    colours = premultiplied(frames, alpha)
    colour, cover = carry(colours, alpha, sources, targets)
    for i in range(2):
        alone = carry(colours[i : i + 1], alpha[i : i + 1], sources[i : i + 1], targets[i : i + 1])
        assert np.array_equal(colour[i], alone[0][0]) and np.array_equal(cover[i], alone[1][0])
    assert not np.array_equal(cover[0], cover[1])


def noise(frames: int = 2) -> Tensor:
    return torch.randn(1, 4, frames, 16, 16, generator=torch.Generator().manual_seed(0))


def cells(box: np.ndarray) -> Tensor:
    """A box on the latents' grid of 16 x 16: (f, 16, 16)."""
    mask = torch.zeros(len(box), 16, 16)
    for i, (x0, y0, x1, y1) in enumerate(np.rint(box * 16).astype(int)):
        mask[i, y0:y1, x0:x1] = 1
    return mask


def test_noise_moves_by_whole_cells_and_only_there() -> None:
    sources = np.array([[2, 3, 8, 9], [2, 3, 8, 9]]) / 16
    targets = sources + np.array([[5, 4, 5, 4], [-2, 0, -2, 0]]) / 16
    before, inside = noise(), cells(targets)
    after = carry_noise(before, sources, targets, inside)
    assert torch.equal(after[0, :, 0, 7:13, 7:13], before[0, :, 0, 3:9, 2:8])
    assert torch.equal(after[0, :, 1, 3:9, 0:6], before[0, :, 1, 3:9, 2:8])
    outside = (inside == 0).expand(1, 4, 2, 16, 16)
    assert torch.equal(after[outside], before[outside])


@pytest.mark.parametrize("side", [4, 11, 14])
def test_noise_stays_as_strong_at_any_size(side: int) -> None:
    sources = np.array([[3, 3, 10, 10]] * 2) / 16
    targets = np.array([[1, 1, 1 + side, 1 + side]] * 2) / 16
    inside = cells(targets)
    before, after = noise(), carry_noise(noise(), sources, targets, inside)
    at_target = after[..., 1 : 1 + side, 1 : 1 + side]
    assert float(at_target.std()) == pytest.approx(1, abs=0.12)
    object_noise = set(before[0, 0, 0, 3:10, 3:10].flatten().tolist())
    assert set(after[0, 0, 0, 1 : 1 + side, 1 : 1 + side].flatten().tolist()) <= object_noise


def test_noise_of_an_object_that_stays_is_unchanged() -> None:
    box = np.array([[0.13, 0.21, 0.57, 0.7]] * 2)
    assert torch.equal(carry_noise(noise(), box, box, torch.ones(2, 16, 16)), noise())


def test_a_refilled_hole_has_the_backgrounds_noise_and_nothing_else_changes() -> None:
    hole = cells(np.array([[3, 3, 9, 12], [0, 0, 4, 4]]) / 16).bool()
    before = noise() + 10 * hole  # what the object left behind, plain to see
    untouched = before.clone()
    after = refill_noise(before, hole, torch.Generator().manual_seed(1))
    assert torch.equal(before, untouched)
    kept = (~hole).expand_as(before)
    assert torch.equal(after[kept], before[kept])
    for i in range(2):
        columns = after[0, :, i][:, hole[i]].T
        assert float(columns.max()) < 6
        # whole cells, all their channels, from the same frame
        there = before[0, :, i][:, ~hole[i]].T
        assert all((there == column).all(1).any() for column in columns)
        assert len({tuple(column.tolist()) for column in columns}) > len(columns) / 2


def test_the_refill_depends_on_the_generator_alone() -> None:
    hole = cells(np.array([[3, 3, 9, 12]] * 2) / 16).bool()
    one, same, other = (refill_noise(noise(), hole, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_no_hole_and_nothing_but_hole_are_left_alone() -> None:
    made = torch.Generator().manual_seed(1)
    for hole in (torch.zeros(2, 16, 16, dtype=torch.bool), torch.ones(2, 16, 16, dtype=torch.bool)):
        assert torch.equal(refill_noise(noise(), hole, made), noise())


def test_cubic_overshoot_stays_within_colours() -> None:
    frames = picture()
    frames[:] = np.where(frames > 127, 255, 0)
    alpha = cv2.GaussianBlur(box_alpha(SOURCE)[0], (0, 0), 1.0)[None]
    colour, cover = carry(premultiplied(frames, alpha), alpha, SOURCE, SOURCE + 0.37 / SIDE)
    assert cover.min() >= 0 and cover.max() <= 1
    assert colour.min() >= 0 and (colour <= 255 * cover[..., None] + 1e-3).all()
