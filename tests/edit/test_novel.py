"""Parts that have colours of their own are found; whatever the background has too never is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.edit.scenes import clip, located, mask_iou
from vxedit.edit.novel import with_novel

RED, BLUE, GREY = (200, 40, 40), (40, 60, 200), (120, 120, 120)
Box = tuple[int, int, int, int]


def scene(parts: dict[Box, tuple[int, int, int]], *, side: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Two frames (2, side, side, 3) of a red square on grey noise, with `parts` by their place (x0, y0, x1, y1) in
    pixels of a frame 128 wide, and the square's masks."""
    scale = side // 128
    frames = np.random.default_rng(0).integers(-6, 7, (2, side, side, 3)) + GREY
    masks = np.zeros((2, side, side), bool)
    for (x0, y0, x1, y1), colour in {(50, 50, 74, 74): RED, **parts}.items():
        frames[:, y0 * scale : y1 * scale, x0 * scale : x1 * scale] = colour
    masks[:, 50 * scale : 74 * scale, 50 * scale : 74 * scale] = True
    return frames.astype(np.uint8), masks


def added(parts: dict[Box, tuple[int, int, int]], *, side: int = 128) -> np.ndarray:
    """How many pixels of a frame 128 wide each frame's mask gains."""
    frames, masks = scene(parts, side=side)
    found = with_novel(frames, located(masks)).masks
    assert (found >= masks).all()
    return (found & ~masks).sum((1, 2)) / (side / 128) ** 2


@pytest.mark.parametrize("side", [128, 256])
def test_a_part_in_a_colour_of_its_own_is_the_object_s(side: int) -> None:
    assert added({(58, 74, 66, 88): BLUE}, side=side) == pytest.approx(8 * 14, abs=4)


@pytest.mark.parametrize(
    "parts",
    [
        {(58, 74, 66, 88): BLUE, (4, 4, 12, 12): BLUE},
        {(58, 74, 66, 110): BLUE},
        {(58, 80, 66, 88): BLUE},
        {(60, 74, 63, 78): BLUE},
        {(46, 74, 78, 92): BLUE},
        {(58, 74, 66, 88): (130, 120, 110)},
    ],
    ids=["its colour is elsewhere too", "it leads away", "apart", "a speck", "more than the object", "nearly grey"],
)
def test_what_may_be_the_background_s_is_left(parts: dict[Box, tuple[int, int, int]]) -> None:
    assert not added(parts).any()


def test_the_leaves_of_a_flower_are_found_where_nothing_moves() -> None:
    flower = clip("flower", "a curtain", frames=4, size=128, start=(0.5, 0.4), end=(0.5, 0.4))
    head = flower.masks[0].copy()
    red, green, blue = np.moveaxis(flower.frames.astype(int), -1, 0)
    stem = head & (green > red + 20) & (green > blue + 20)
    head[:, np.argwhere(stem.any((0, 2)))[0, 0] :] = False
    before = mask_iou(head, flower.masks[0]).mean()
    found = with_novel(flower.frames, located(head))
    assert before < 0.85 and mask_iou(found.masks, flower.masks[0]).mean() > before + 0.1
    assert found.reach is not None and (found.reach >= found.masks).all()
    assert np.abs(found.boxes[:, 3] - flower.boxes[0][:, 3]).max() < 4 / 128


def test_a_mask_that_is_right_and_an_empty_one_stay_as_they_are() -> None:
    flower = clip("flower", "a curtain", frames=4, size=128)
    masks = flower.masks[0].copy()
    masks[2] = False
    found = with_novel(flower.frames, located(masks)).masks
    assert not found[2].any() and mask_iou(found[[0, 1, 3]], masks[[0, 1, 3]]).min() > 0.96


def test_without_any_background_nothing_is_said() -> None:
    frames, masks = scene({(58, 74, 66, 88): BLUE})
    masks[:, 4:124, 4:124] = True
    assert np.array_equal(with_novel(frames, located(masks)).masks, masks)
