"""Where the object is, against the renderer's masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.edit.scenes import box_iou, clip, grown, mask_iou
from vxedit.edit.locate import concentration, locate, locate_in_boxes, mask_boxes, pixel_box
from vxedit.errors import UsageError
from vxedit.render.scene import Rendered

CAST = (
    *(("burger", "a brick wall"), ("apple", "a wooden table"), ("car", "a photo"), ("fish", "snow")),
    *(("balloon", "sand"), ("cup", "the sea"), ("rocket", "grass"), ("star", "a city")),
)


def attention(truth: Rendered, cells: int = 16) -> np.ndarray:
    """What a model would see that looks at the object alone: its masks on the model's grid."""
    return on_grid(truth.masks[0], cells)


def on_grid(masks: np.ndarray, cells: int = 16) -> np.ndarray:
    return np.stack([cv2.resize(m.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA) for m in masks])


@pytest.fixture(scope="module")
def scenes() -> list[Rendered]:
    return [clip(name, place, frames=2, size=96, seed=i) for i, (name, place) in enumerate(CAST)]


def test_attention_on_the_object_gives_its_outline(scenes: list[Rendered]) -> None:
    found = [locate(truth.frames, 0.02 + 0.1 * attention(truth)) for truth in scenes]
    sharp = [mask_iou(one.masks, truth.masks[0]).min() for one, truth in zip(found, scenes, strict=True)]
    assert sum(value >= 0.85 for value in sharp) >= 6
    assert min(sharp) > 0.6
    coarse = [mask_iou(_blown_up(truth) > 0.5, truth.masks[0]).min() for truth in scenes]
    assert np.mean(sharp) > np.mean(coarse) + 0.03  # the pixels add something
    for one in found:
        assert one.masks.dtype == bool
        assert np.array_equal(one.boxes, mask_boxes(one.masks))


def _blown_up(truth: Rendered) -> np.ndarray:
    side = truth.frames.shape[1]
    return np.stack([cv2.resize(a, (side, side), interpolation=cv2.INTER_CUBIC) for a in attention(truth)])


def test_a_lesser_second_place_is_left_out(scenes: list[Rendered]) -> None:
    truth = scenes[0]
    maps = attention(truth)
    maps[:, 13:, 13:] = 0.6  # a corner that the word looks at as well
    assert maps[0, 13:, 13:].sum() < attention(truth)[0].sum()
    assert mask_iou(locate(truth.frames, maps).masks, truth.masks[0]).min() > 0.8


@pytest.mark.parametrize(
    ("name", "place", "seed"), [("burger", "a brick wall", 0), ("car", "the sea", 2), ("cup", "the sea", 0)]
)
def test_frames_that_show_the_object_whole_find_it_where_the_attention_has_only_its_core(
    name: str, place: str, seed: int
) -> None:
    """The core does not hold all of the object's colours; the other frames do."""
    truth, weak = clip(name, place, frames=5, size=96, seed=seed), [2, 3]
    seen = truth.masks[0].copy()
    seen[weak] = ~grown(~seen[weak], 5)
    assert (seen[weak].sum((1, 2)) < 0.4 * truth.masks[0][weak].sum((1, 2))).all()
    maps = 0.02 + 0.1 * on_grid(seen)
    found = locate(truth.frames, maps).masks
    assert mask_iou(found, truth.masks[0]).min() > 0.93
    for i in weak:
        alone = locate(truth.frames[i : i + 1], maps[i : i + 1]).masks
        assert mask_iou(alone, truth.masks[0][i : i + 1]) < 0.87


def test_the_same_twice(scenes: list[Rendered]) -> None:
    truth = scenes[6]
    one, other = (locate(truth.frames, attention(truth)) for _ in range(2))
    assert np.array_equal(one.masks, other.masks)


def test_a_box_gives_the_outline_in_it(scenes: list[Rendered]) -> None:
    sharp, plain = [], []
    for truth in scenes:
        boxes = truth.boxes[0]
        found = locate_in_boxes(truth.frames, boxes)
        assert np.array_equal(found.boxes, boxes)
        filled = np.zeros_like(found.masks)
        for i, box in enumerate(boxes):
            x0, y0, x1, y1 = pixel_box(box, *filled.shape[1:])
            filled[i, y0:y1, x0:x1] = True
        assert not (found.masks & ~filled).any()
        sharp.append(mask_iou(found.masks, truth.masks[0]).min())
        plain.append(mask_iou(filled, truth.masks[0]).min())
    assert sum(value >= 0.8 for value in sharp) >= 6
    assert np.mean(sharp) > np.mean(plain) + 0.1


def test_where_colours_say_nothing_the_box_is_taken_whole() -> None:
    flat = np.full((2, 40, 40, 3), 90, np.uint8)
    found = locate_in_boxes(flat, np.array([[0.25, 0.25, 0.5, 0.75], [0.0, 0.0, 1.0, 1.0]]))
    assert found.masks[0, 10:30, 10:20].all() and found.masks[0].sum() == 200
    assert found.masks[1].all()


def test_a_box_of_next_to_nothing_is_a_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3)).astype(np.uint8)
    assert locate_in_boxes(picture, np.array([[0.5, 0.5, 0.501, 0.501]])).masks.sum() == 1


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0.25, 0.1, 0.5, 0.9), (5, 1, 10, 9)),
        ((0.26, 0.11, 0.51, 0.89), (5, 1, 11, 9)),
        ((-0.2, 0.5, 1.3, 0.5), (0, 5, 20, 6)),
        ((1.0, 1.0, 1.2, 1.4), (19, 9, 20, 10)),
    ],
)
def test_pixels_cover_their_box_and_stay_in_the_frame(box: tuple[float, ...], pixels: tuple[int, ...]) -> None:
    assert pixel_box(np.array(box), 10, 20) == pixels


def test_boxes_are_tight_and_gaps_take_the_nearest() -> None:
    masks = np.zeros((5, 10, 20), bool)
    masks[1, 2:5, 4:10] = True
    masks[4, 9, 19] = True
    boxes = mask_boxes(masks)
    first, last = [0.2, 0.2, 0.5, 0.5], [0.95, 0.9, 1.0, 1.0]
    assert boxes == pytest.approx(np.array([first, first, first, last, last]))


def test_masks_of_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"empty.*--box"):
        mask_boxes(np.zeros((3, 8, 8), bool))


def test_a_box_that_holds_the_truth_agrees_with_it(scenes: list[Rendered]) -> None:
    truth = scenes[3]
    found = locate(truth.frames, attention(truth))
    assert box_iou(found.boxes, truth.boxes[0]).min() > 0.85


def test_concentration_is_one_when_flat_and_ten_at_most() -> None:
    flat, spot = np.ones((1, 20, 20)), np.zeros((1, 20, 20))
    spot[0, 3:7, 4:9] = 1
    half = flat.copy()
    half[0, :10] = 3  # three quarters of the mass in half of the cells: 1.5 times in each tenth of it
    found = concentration(np.concatenate([flat, spot, half, 0 * flat]))
    assert found == pytest.approx([1, 10, 1.5, 0])
