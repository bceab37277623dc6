"""A clip in windows: all frames in them, evenly, and one rendering faded into the next."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vxedit.errors import UsageError
from vxedit.windows import MOST_SHARED, Window, crossfade, windows


@pytest.mark.parametrize("length", [2, 3, 8, 16, 49])
def test_windows_cover_every_frame_evenly(length: int) -> None:
    for frames in range(1, 6 * length + 7):
        found = windows(frames, length)
        assert found[0].begin == 0 and found[-1].end == frames and found[0].shared == 0
        assert {len(window) for window in found} == {min(frames, length)}
        shared = [window.shared for window in found[1:]]
        assert shared == [a.end - b.begin for a, b in pairwise(found)]
        least = max(1, min(MOST_SHARED, round(length / 4)))
        assert all(least <= one < length for one in shared)
        assert not shared or max(shared) - min(shared) <= 1
        # one window fewer would share too little
        assert len(found) == 1 or (len(found) - 1) * (length - least) + least < frames


def test_what_is_new_in_the_windows_is_the_clip_once() -> None:
    new = [i for window in windows(250, 16) for i in range(window.begin + window.shared, window.end)]
    assert new == list(range(250))


def test_a_clip_no_longer_than_a_window_is_one() -> None:
    assert windows(16, 16) == windows(16, 48) == (Window(0, 16),)
    assert windows(17, 16) == (Window(0, 16), Window(1, 17, 15))


@pytest.mark.parametrize("length", [1, 0, -4])
def test_a_window_of_less_than_two_frames_is_refused(length: int) -> None:
    with pytest.raises(UsageError, match=f"--window {length} is too short.*give 2 or more"):
        windows(10, length)


def test_a_crossfade_is_linear_in_time() -> None:
    before, after = (np.full((3, 2, 4, 3), level, np.uint8) for level in (40, 200))
    made = crossfade(before, after)
    assert made.dtype == np.uint8 and made.shape == before.shape
    assert [set(frame.ravel().tolist()) for frame in made] == [{80}, {120}, {160}]  # 40 + 160 k / 4


def test_what_both_agree_on_stays_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.integers(0, 256, (2, 5, 8, 8, 3), dtype=np.uint8)
    agreed = rng.random(before.shape) < 0.5
    made = crossfade(before, np.where(agreed, before, after))
    assert np.array_equal(made[agreed], before[agreed])
    low, high = np.minimum(before, after), np.maximum(before, after)
    assert ((made >= low) & (made <= high)).all() and not np.array_equal(made[~agreed], before[~agreed])
