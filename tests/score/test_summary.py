"""Means with intervals, and the table they stand in."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vxedit.score.summary import Mean, Row, Table, mean_interval


def test_the_interval_is_that_of_a_normal_mean() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = mean_interval(values)
    half = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean()) and found.count == 400
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = [m.low <= 0 <= m.high for m in (mean_interval(rng.normal(0, 1, 40), draws=400) for _ in range(300))]
    assert 0.9 <= np.mean(held) <= 0.98


def test_the_seed_decides() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 9.5, 11.0]
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3) != mean_interval(values, seed=4)
    narrow, wide = mean_interval(values, level=0.5), mean_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_values_without_an_answer_do_not_count() -> None:
    assert mean_interval([math.nan, 2.0, math.nan]) == Mean(2.0, 2.0, 2.0, 1)
    none = mean_interval([math.nan])
    assert none.count == 0 and math.isnan(none.mean)
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1.0], level=95)


def table() -> Table:
    rows = (
        Row("edited", {"CD": Mean(0.0157, 0.0149, 0.0166, 32), "mIoU": 0.77125, "worst": math.inf}),
        Row("the paper's", {"CD": 0.071, "mIoU": None, "ignored": 3.0}),
        Row("empty", {"CD": Mean(math.nan, math.nan, math.nan, 0), "mIoU": math.nan}),
    )
    return Table(("CD", "mIoU", "worst"), rows, {"CD": 4, "mIoU": 2})


def test_text_lines_up() -> None:
    assert table().to_text().split("\n") == [
        "                                  CD  mIoU  worst",
        "edited       0.0157 [0.0149, 0.0166]  0.77    inf",
        "the paper's                   0.0710     -      -",
        "empty                              -     -      -",
    ]


def test_json_holds_numbers_or_null() -> None:
    plain = json.loads(json.dumps(table().to_dict(), allow_nan=False))
    assert plain["columns"] == ["CD", "mIoU", "worst"]
    edited, paper, empty = (row["figures"] for row in plain["rows"])
    assert edited["CD"] == {"mean": 0.0157, "low": 0.0149, "high": 0.0166, "count": 32}
    assert edited["worst"] is None and paper == {"CD": 0.071, "mIoU": None, "worst": None}
    assert empty["CD"] == {"mean": None, "low": None, "high": None, "count": 0} and empty["mIoU"] is None
