"""The objects of a job: each named by its own words, and each found where it is and no other stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.edit.scenes import clip, mask_iou
from vxedit.backbones.registry import outline
from vxedit.edit.locate import Located, mask_boxes
from vxedit.edit.path import parse_path
from vxedit.errors import UsageError
from vxedit.job import ObjectJob
from vxedit.objects import Box, Wanted, check_box, check_words, find_objects

PROMPT = "the burger on the red ball"
STAY = parse_path("by:0,0")


def columns_of(model: Path, *words: str) -> list[tuple[int, ...]]:
    pieces = outline(str(model)).tokens(PROMPT)
    return check_words([ObjectJob(word, "left") for word in words], pieces, PROMPT)


def test_every_object_has_its_own_columns_in_the_order_asked(hollow: Path) -> None:
    """Columns: the 1, bur 2, ger 3, on 4, the 5, red 6, ball 7."""
    assert columns_of(hollow, "ball", "burger") == [(7,), (2, 3)]
    assert columns_of(hollow, "burger", "red ball") == [(2, 3), (6, 7)]


@pytest.mark.parametrize(("one", "other"), [("ball", "ball"), ("red ball", "ball"), ("burger", "Burgers")])
def test_two_objects_named_by_one_word_are_refused(hollow: Path, one: str, other: str) -> None:
    with pytest.raises(UsageError) as caught:
        columns_of(hollow, "on", one, other)
    said = str(caught.value)
    assert f"the same word of the prompt: {one!r} and {other!r}" in said and "give each its own" in said


def test_a_word_that_is_not_there_is_refused_for_any_object(hollow: Path) -> None:
    with pytest.raises(UsageError, match="'cup' is not in the prompt"):
        columns_of(hollow, "ball", "cup")


@pytest.mark.parametrize("box", [None, (0.0, 0.0, 1.0, 1.0), (0.2, 0.3, 0.21, 0.9)])
def test_a_box_in_the_frame_is_one(box: Box | None) -> None:
    check_box(box)


@pytest.mark.parametrize(
    "box",
    [(0.5, 0.0, 0.5, 1.0), (0.6, 0.0, 0.5, 1.0), (0.0, 0.6, 1.0, 0.5), (-0.1, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.1)]
    + [(float("nan"), 0.0, 1.0, 1.0), (0.0, 0.0, float("inf"), 1.0)],
)
def test_what_is_no_box_is_refused(box: Box) -> None:
    with pytest.raises(UsageError, match=r"is no box: give shares of the frame"):
        check_box(box)


def test_an_object_is_where_its_box_its_mask_or_its_attention_says() -> None:
    truth = clip("ball", "gravel", frames=3, size=64, start=(0.3, 0.4), end=(0.4, 0.5))
    masks, boxes = truth.masks[0], truth.boxes[0]
    attention = masks.reshape(3, 16, 4, 16, 4).mean((2, 4))
    flat = np.full((3, 16, 16), 0.1)
    x0, y0, x1, y1 = (float(side) for side in boxes[0])
    told: dict[str, tuple[Wanted, np.ndarray]] = {
        "box": (Wanted("ball", (1,), STAY, box=(x0, y0, x1, y1)), flat),
        "mask": (Wanted("ball", (1,), STAY, masks=masks[:1]), flat),
        "masks": (Wanted("ball", (1,), STAY, masks=masks), flat),
        "attention": (Wanted("ball", (1,), STAY), attention),
    }
    for way, (wanted, seen) in told.items():
        (found,) = find_objects([wanted], truth.frames, [seen])
        assert mask_iou(found.masks, masks).min() > (0.99 if way == "masks" else 0.75), way
        assert np.abs(found.boxes - boxes).max() < 0.05, way
        assert (found.cover is not None) == (way in ("box", "attention")), way  # what is found is made steady


def test_a_lost_piece_is_found_again_from_the_frames_around() -> None:
    """The attention of one frame leaves out half of the object."""
    truth = clip("car", "sand", frames=5, size=96, start=(0.35, 0.4), end=(0.55, 0.5))
    attention = truth.masks[0].reshape(5, 16, 6, 16, 6).mean((2, 4))
    middle = int(truth.boxes[0, 2, [0, 2]].mean() * 16)
    attention[2, :, middle:] = 0
    (found,) = find_objects([Wanted("car", (1,), STAY)], truth.frames, [attention])
    assert mask_iou(found.masks, truth.masks[0]).min() > 0.8


def test_masks_of_the_clip_s_size_are_brought_to_the_model_s() -> None:
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 10:30, 12:36] = masks[1, 20:40, 0:24] = True
    frames = np.zeros((2, 20, 30, 3), np.uint8)
    (found,) = find_objects([Wanted("ball", (1,), STAY, masks=masks)], frames, [np.ones((2, 4, 4))])
    assert np.array_equal(found.masks, masks[:, ::2, ::2])
    assert np.array_equal(found.boxes, mask_boxes(masks))


class Disputed:
    """16 columns: one object was found in the first ten, the other in the last ten; the first is looked at in the left
    half and the other in the right one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = np.zeros((2, 16, 16, 3), np.uint8)
        self.left, self.right = np.zeros((2, 16, 16)), np.zeros((2, 16, 16))
        self.left[..., :8] = self.right[..., 8:] = 0.5
        self.left[..., 8:] = self.right[..., :8] = 0.1
        self.camera = np.repeat(np.eye(3)[None], 2, 0)
        masks = [np.zeros((2, 16, 16), bool) for _ in range(2)]
        masks[0][..., :10], masks[1][..., 6:] = True, True
        self.masks = masks
        found = [Located(mask, mask_boxes(mask), mask, self.camera, 0.9 * mask) for mask in masks]
        monkeypatch.setattr("vxedit.objects.locate", lambda _, seen: found[0 if seen[0, 0, 0] > seen[0, 0, 15] else 1])
        monkeypatch.setattr("vxedit.objects.refine", lambda _, one: one)
        monkeypatch.setattr("vxedit.objects.steadied_object", lambda _, one: one)

    def find(self, first: Wanted, second: Wanted, *, scale: float = 1.0) -> list[Located]:
        return find_objects([first, second], self.frames, [scale * self.left, self.right])


@pytest.fixture
def disputed(monkeypatch: pytest.MonkeyPatch) -> Disputed:
    return Disputed(monkeypatch)


@pytest.mark.parametrize("scale", [1.0, 100.0, 0.01])
def test_what_both_claim_is_the_one_s_that_is_looked_at_more(disputed: Disputed, scale: float) -> None:
    """Each map counts in shares of its own peak: a word that is looked at more all over does not win everywhere."""
    left, right = disputed.find(Wanted("a", (1,), STAY), Wanted("b", (2,), STAY), scale=scale)
    for found, columns in ((left, slice(0, 8)), (right, slice(8, 16))):
        expected = np.zeros((2, 16, 16), bool)
        expected[..., columns] = True
        assert np.array_equal(found.masks, expected)
        assert found.reach is not None and np.array_equal(found.reach, expected)
        assert found.cover is not None and np.array_equal(found.cover, 0.9 * expected)
        assert np.array_equal(found.boxes, mask_boxes(expected)) and found.camera is disputed.camera


def test_an_object_by_itself_keeps_all_that_was_found(disputed: Disputed) -> None:
    (found,) = find_objects([Wanted("a", (1,), STAY)], disputed.frames, [disputed.left])
    assert np.array_equal(found.masks, disputed.masks[0])


def test_masks_that_were_given_are_not_cut(disputed: Disputed) -> None:
    given = Wanted("a", (1,), STAY, masks=disputed.masks[0])
    left, right = disputed.find(given, Wanted("b", (2,), STAY))
    assert np.array_equal(left.masks, disputed.masks[0])
    assert not right.masks[..., :8].any() and right.masks[..., 8:].all()


def test_an_object_that_would_be_left_with_nothing_keeps_what_was_found(disputed: Disputed) -> None:
    """It lies wholly where the other is looked at more."""
    disputed.masks[1][..., 8:] = False
    left, right = disputed.find(Wanted("a", (1,), STAY), Wanted("b", (2,), STAY))
    assert np.array_equal(right.masks, disputed.masks[1]) and right.masks.any()
    assert left.masks[..., :8].all()
