"""Which piece of a mask is the object, in one frame and through a clip."""

from __future__ import annotations

import numpy as np
import pytest

from vxedit.edit.pieces import strongest_piece, strongest_track

LEFT, RIGHT = slice(4, 12), slice(28, 36)


def two_of_a_kind(left: list[float], right: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Masks (F, 20, 40) with a piece at either side where its score in that frame is above zero, and the scores."""
    score = np.zeros((len(left), 20, 40), np.float32)
    score[:, 6:14, LEFT] = np.array(left)[:, None, None]
    score[:, 6:14, RIGHT] = np.array(right)[:, None, None]
    return score > 0, score


def test_of_one_frame_the_piece_with_the_most_score() -> None:
    masks, score = two_of_a_kind([0.5], [0.6])
    piece = strongest_piece(masks[0], score[0])
    assert piece[:, RIGHT].any()
    assert not piece[:, LEFT].any()


def test_an_empty_mask_gives_the_peak() -> None:
    score = np.zeros((2, 20, 40), np.float32)
    score[:, 3, 7] = 1
    empty = np.zeros(score.shape, bool)
    assert np.argwhere(strongest_piece(empty[0], score[0])).tolist() == [[3, 7]]
    assert np.argwhere(strongest_track(empty, score)).tolist() == [[0, 3, 7], [1, 3, 7]]


def test_frames_that_waver_between_two_keep_to_one() -> None:
    left = [0.6, 0.5, 0.6, 0.5, 0.7, 0.6]
    masks, score = two_of_a_kind(left, [0.5, 0.6, 0.5, 0.6, 0.5, 0.5])
    alone = np.stack([strongest_piece(*one) for one in zip(masks, score, strict=True)])
    assert alone[:, :, RIGHT].any()  # taken one by one the frames do not agree
    track = strongest_track(masks, score)
    assert np.array_equal(track[:, :, LEFT], masks[:, :, LEFT])
    assert not track[:, :, RIGHT].any()


def test_where_one_is_gone_the_track_goes_to_the_other() -> None:
    masks, score = two_of_a_kind([0.9, 0.9, 0, 0], [0.1, 0.1, 0.9, 0.9])
    track = strongest_track(masks, score)
    assert track[:, :, LEFT].any((1, 2)).tolist() == [True, True, False, False]
    assert track[:, :, RIGHT].any((1, 2)).tolist() == [False, False, True, True]


def test_a_clear_case_in_most_frames_decides_for_all() -> None:
    masks, score = two_of_a_kind([0.5, 0.05, 0.05, 0.05, 0.05], [0.4, 0.9, 0.9, 0.9, 0.9])
    track = strongest_track(masks, score)
    assert not track[:, :, LEFT].any()
    assert np.array_equal(track[:, :, RIGHT], masks[:, :, RIGHT])


@pytest.mark.parametrize("scale", [1, 3])
def test_a_moving_object_is_followed_at_any_size(scale: int) -> None:
    """What moves an eighth of the frame in each, beside a thing that stands still and wins in one frame."""
    side, frames = 40 * scale, 6
    score = np.zeros((frames, side, side), np.float32)
    for i in range(frames):
        x = (2 + 5 * i) * scale
        score[i, 30 * scale : 36 * scale, x : x + 6 * scale] = 0.6
    score[:, 2 * scale : 8 * scale, 30 * scale : 36 * scale] = 0.5
    score[3, 2 * scale : 8 * scale, 30 * scale : 36 * scale] = 0.8
    track = strongest_track(score > 0, score)
    assert not track[:, : 10 * scale].any()
    assert track[:, 30 * scale :].any((1, 2)).all()


def test_one_piece_a_frame_is_left_as_it_is() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((5, 20, 40), bool)
    for mask in masks:
        x = int(rng.integers(0, 30))
        mask[5:12, x : x + 8] = True
    assert np.array_equal(strongest_track(masks, rng.random(masks.shape).astype(np.float32)), masks)


def test_of_many_crumbs_one_is_taken() -> None:
    score = np.zeros((2, 20, 120), np.float32)
    score[:, 10, ::4] = 1.0  # thirty pieces, none with a twentieth of the score
    score[:, 10, 40] = 1.1
    track = strongest_track(score > 0, score)
    assert np.argwhere(track).tolist() == [[0, 10, 40], [1, 10, 40]]
