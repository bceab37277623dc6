"""Box measures against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vxedit.score import boxes as m

NONE = (math.nan,) * 4
SQUARE = (0.2, 0.2, 0.6, 0.6)


def b(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, float)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (SQUARE, 1.0),
        ((0.4, 0.2, 0.8, 0.6), 1 / 3),  # half of each is shared: 1 / (2 + 2 - 1)
        ((0.4, 0.4, 0.8, 0.8), 1 / 7),  # a quarter: 1 / (4 + 4 - 1)
        ((0.3, 0.3, 0.5, 0.5), 1 / 4),  # inside, with half of each side
        ((0.6, 0.2, 0.8, 0.6), 0.0),  # touching
        ((0.7, 0.7, 0.9, 0.9), 0.0),  # apart both ways: the product of two negative extents is positive
        (NONE, 0.0),
        ((0.5, 0.5, 0.5, 0.5), 0.0),
    ],
)
def test_iou(other: tuple[float, ...], expected: float) -> None:
    assert m.iou(np.array(other), np.array(SQUARE)) == pytest.approx(expected)
    assert m.iou(np.array(SQUARE), np.array(other)) == pytest.approx(expected)


def test_empty_boxes_do_not_overlap() -> None:
    assert m.iou(np.zeros(4), np.zeros(4)) == 0


def test_frames_without_a_detection_count_as_zero_or_not_at_all() -> None:
    found, target = b(SQUARE, NONE, (0.4, 0.2, 0.8, 0.6), NONE), b(*[SQUARE] * 4)
    assert m.mean_iou(found, target) == pytest.approx((1 + 1 / 3) / 4)
    assert m.detected_iou(found, target) == pytest.approx((1 + 1 / 3) / 2)
    assert m.detected_iou(b(NONE), b(SQUARE)) == 0


def test_volume_weighs_by_area() -> None:
    small, large = (0.0, 0.0, 0.1, 0.1), (0.0, 0.0, 0.5, 0.5)
    found, target = b(small, (0.5, 0.5, 1.0, 1.0)), b(small, large)
    assert m.mean_iou(found, target) == 0.5
    assert m.volume_iou(found, target) == pytest.approx(0.01 / (0.01 + 0.25 + 0.25))


def test_volume_counts_what_was_not_found() -> None:
    assert m.volume_iou(b(SQUARE, NONE), b(SQUARE, SQUARE)) == pytest.approx(0.5)
    assert m.volume_iou(b(NONE), b(SQUARE)) == 0


def test_ap50_has_misses() -> None:
    half = (0.2, 0.2, 0.6, 0.4)  # IoU exactly 1/2
    less = (0.2, 0.2, 0.6, 0.39)
    assert m.ap50(b(SQUARE, half, less, NONE), b(*[SQUARE] * 4)) == 0.5


def test_centre_distance_is_a_share_of_the_diagonal() -> None:
    moved = tuple(np.add(SQUARE, (0.3, 0.0, 0.3, 0.0)))
    assert m.centre_distance(b(moved), b(SQUARE), frame=(100, 100)) == pytest.approx(0.3 / math.sqrt(2))
    assert m.centre_distance(b(moved), b(SQUARE), frame=(300, 400)) == pytest.approx(0.3 * 400 / 500)
    down = tuple(np.add(SQUARE, (0.0, 0.3, 0.0, 0.3)))
    assert m.centre_distance(b(down), b(SQUARE), frame=(300, 400)) == pytest.approx(0.3 * 300 / 500)


def test_centre_does_not_depend_on_size() -> None:
    assert m.centre_distance(b((0.3, 0.3, 0.5, 0.5)), b(SQUARE), frame=(9, 16)) == pytest.approx(0)


def test_missing_frames_are_left_out_or_punished() -> None:
    found, target = b(SQUARE, NONE), b(SQUARE, SQUARE)  # the target's centre is (0.4, 0.4), its farthest corner (1, 1)
    assert m.centre_distance(found, target, frame=(64, 64)) == pytest.approx(0, abs=1e-12)
    assert m.penalised_distance(found, target, frame=(64, 64)) == pytest.approx(0.6 / 2)
    assert math.isnan(m.centre_distance(b(NONE), b(SQUARE), frame=(64, 64)))
    assert m.penalised_distance(b(NONE), b(SQUARE), frame=(64, 64)) == pytest.approx(0.6)


def test_the_penalty_is_never_less_than_a_detection_would_cost() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.5, (200, 2, 2))
    pairs = np.concatenate([low, low + rng.uniform(0, 0.5, (200, 2, 2))], -1)
    found, target = pairs[:, 0], pairs[:, 1]
    for i in range(200):
        one = slice(i, i + 1)
        cost = m.penalised_distance(b(NONE), target[one], frame=(90, 160))
        assert m.centre_distance(found[one], target[one], frame=(90, 160)) <= cost <= 1


def test_coverage_takes_more_than_half() -> None:
    half, more = b(*[SQUARE] * 8, *[NONE] * 8), b(*[SQUARE] * 9, *[NONE] * 7)
    assert not m.covered(half) and m.covered(more)
    assert m.coverage([half, more, more, more]) == 0.75
    with pytest.raises(ValueError, match="at least one clip"):
        m.coverage([])


def test_all_at_once() -> None:
    found, target = b(SQUARE, NONE, (0.4, 0.2, 0.8, 0.6)), b(*[SQUARE] * 3)
    scores = m.score_boxes(found, target, frame=(128, 128))
    assert scores.mean_iou == m.mean_iou(found, target) and scores.detected_iou == m.detected_iou(found, target)
    assert scores.volume_iou == m.volume_iou(found, target) and scores.ap50 == pytest.approx(1 / 3)
    assert scores.centre_distance == pytest.approx(0.1 / math.sqrt(2)) and scores.covered
    assert scores.penalised_distance == pytest.approx((0.2 / math.sqrt(2) + 0.6) / 3)


@pytest.mark.parametrize("bad", [np.zeros((0, 4)), np.zeros((2, 3)), np.zeros((3, 4)), np.full((2, 4), np.nan)])
def test_targets_must_fit(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="target boxes"):
        m.mean_iou(np.zeros((2, 4)), bad)
