"""Rates and choices of frames, on stamps written by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vxedit.errors import InputError
from vxedit.io.rates import exact_rate, measured_rate
from vxedit.io.timeline import choose, timeline, times_of


@pytest.mark.parametrize(
    ("printed", "exact"),
    [
        (23.98, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (119.88, Fraction(120000, 1001)),
        (24, Fraction(24)),
        (10, Fraction(10)),
        (25, Fraction(25)),
        (12.5, Fraction(25, 2)),
        (11.36, Fraction(1136, 100)),
        (0.001, Fraction(1, 100)),
    ],
)
def test_rates_as_printed(printed: float, exact: Fraction) -> None:
    assert exact_rate(printed) == exact


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_no_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        exact_rate(rate)


def test_the_stamps_decide_between_header_and_mean() -> None:
    even = np.arange(10) / 24
    assert measured_rate(even, Fraction(24000, 1001)) == Fraction(24000, 1001)  # too short to tell: believed
    assert measured_rate(even, Fraction(50)) == 24
    assert measured_rate(np.round(np.arange(30) * 1001 / 30000, 3), None) == Fraction(30000, 1001)
    assert measured_rate(np.array([0.0, 0.1, 0.2, 1.0]), Fraction(10)) == 3
    assert measured_rate(np.array([0.0]), None) == 25


def test_stamps_rounded_to_milliseconds_become_exact() -> None:
    true = np.arange(40) * 1001 / 24000
    line = timeline(np.round(true, 3), np.round(true + 1001 / 24000, 3), nominal=Fraction(24000, 1001))
    assert np.allclose(line.times_s, true, atol=1e-12) and line.end_s == pytest.approx(40 * 1001 / 24000)


def test_clip_that_starts_late_begins_at_zero() -> None:
    line = timeline(np.arange(5) / 10 + 1.4, np.arange(1, 6) / 10 + 1.4, nominal=Fraction(10))
    assert np.allclose(line.times_s, np.arange(5) / 10) and line.end_s == pytest.approx(0.5) and line.skipped == 0


def test_stamps_that_go_back_are_refused() -> None:
    with pytest.raises(ValueError, match="back"):
        timeline(np.array([0.0, 0.2, 0.1]), np.array([0.1, 0.3, 0.2]), nominal=None)
    with pytest.raises(ValueError, match="no frames"):
        timeline(np.array([]), np.array([]), nominal=None)


def test_half_way_is_always_the_earlier_frame() -> None:
    ends = np.arange(1, 61) / 10 + 1.4  # not quite tenths once the start is taken away
    line = timeline(ends - 0.1, ends, nominal=None)
    picks = choose(line, "clip", start_s=0.0, num_frames=None, fps=Fraction(20))
    assert picks.tolist() == [n // 2 for n in range(120)]


def test_nearest_in_time() -> None:
    starts = np.array([0.0, 0.1, 0.5, 0.6])
    line = timeline(starts, np.array([0.1, 0.5, 0.6, 0.8]), nominal=None)

    def chosen(start_s: float, num_frames: int | None, fps: int | None) -> list[int]:
        rate = None if fps is None else Fraction(fps)
        return choose(line, "clip", start_s=start_s, num_frames=num_frames, fps=rate).tolist()

    assert chosen(0.0, None, 10) == [0, 1, 1, 1, 2, 2, 3, 3]  # 0.3 is half way: the earlier frame
    assert chosen(0.28, None, None) == [1, 2, 3] and chosen(0.32, None, None) == [2, 3]
    assert chosen(0.79, None, None) == [3]
    assert chosen(0.0, 2, None) == [0, 1] and chosen(0.0, 2, 10) == [0, 1]
    with pytest.raises(InputError, match=r"clip: .*0\.80 s"):
        chosen(0.8, None, None)


def test_frames_that_are_repeated_have_times_of_their_own() -> None:
    """A path is followed in time, which has to go on."""
    line = timeline(np.arange(4) / 10, np.arange(1, 5) / 10, nominal=Fraction(10))
    picks = choose(line, "clip", start_s=0.1, num_frames=None, fps=Fraction(25))
    assert len(set(picks.tolist())) < len(picks)
    times = times_of(line, picks, Fraction(25))
    np.testing.assert_allclose(times, 0.1 + np.arange(len(picks)) / 25)
    np.testing.assert_array_equal(times_of(line, picks[:1], None), line.times_s[picks[:1]])


def test_stamps_that_are_the_same_are_set_apart() -> None:
    starts = np.array([0.0, 0.1, 0.1, 0.5, 0.6])
    line = timeline(starts, starts + 0.05, nominal=Fraction(10))
    assert (np.diff(line.times_s) > 0).all()
    np.testing.assert_allclose(line.times_s, starts, atol=1e-4)
