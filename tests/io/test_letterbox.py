"""Bars are found to the pixel, and nothing that is picture is taken for one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.io.test_write import moving
from vxedit.io.frames import open_video
from vxedit.io.letterbox import letterbox
from vxedit.io.write import write_video

H, W = 96, 160
WHOLE = (0, 0, W, H)


def barred(left: int, top: int, right: int, bottom: int, *, level: int = 0, count: int = 3) -> np.ndarray:
    """A moving picture (count, H, W, 3) with bars of these widths and of one grey."""
    frames = np.full((count, H, W, 3), level, np.uint8)
    frames[:, top : H - bottom, left : W - right] = moving(count, H - top - bottom, W - left - right)
    return frames


@pytest.mark.parametrize(
    ("bars", "picture"),
    [
        ((0, 12, 0, 12), (0, 12, W, 84)),
        ((20, 0, 20, 0), (20, 0, 140, H)),
        ((20, 12, 20, 12), (20, 12, 140, 84)),
        ((0, 13, 0, 13), (0, 12, W, 84)),  # even, and outwards: a row of the bar stays
        ((0, 12, 0, 16), (0, 12, W, 80)),
        ((0, 0, 0, 0), WHOLE),
        ((0, 2, 0, 2), WHOLE),
    ],
)
def test_bars(bars: tuple[int, int, int, int], picture: tuple[int, int, int, int]) -> None:
    assert letterbox(barred(*bars)) == picture
    assert letterbox(barred(*bars, level=30)) == picture


def test_one_side_only_where_asked() -> None:
    for bars, picture in (
        ((0, 24, 0, 0), (0, 24, W, H)),
        ((0, 12, 0, 40), (0, 12, W, 56)),
        ((0, 0, 9, 0), (0, 0, 152, H)),
    ):
        assert letterbox(barred(*bars)) == WHOLE
        assert letterbox(barred(*bars), one_sided=True) == picture


def test_a_frame_of_odd_sides_keeps_its_last_row() -> None:
    frames = barred(20, 0, 20, 0)[:, :95, :159]
    assert letterbox(frames) == (20, 0, 140, 95)


def test_bars_must_hold_in_every_frame() -> None:
    frames = barred(0, 12, 0, 12)
    frames[1] = moving(1, H, W)[0]
    assert letterbox(frames) == WHOLE
    written = barred(0, 12, 0, 12)
    written[2, 88:92, 40:44] = 200  # a subtitle in the bar
    assert letterbox(written) == WHOLE


def test_dark_frames_among_others_hide_nothing() -> None:
    frames = barred(0, 12, 0, 12)
    frames[0] = 0  # it begins in black
    assert letterbox(frames) == (0, 12, W, 84)


def dark_scenes() -> dict[str, np.ndarray]:
    y, x = np.mgrid[:H, :W]
    chance = np.random.default_rng(0)
    scenes = {
        "all dark": np.zeros((H, W)),
        "dark with grain": chance.integers(0, 12, (H, W)),
        "a moon": 200.0 * ((x - 80) ** 2 + (y - 48) ** 2 < 15**2),
        "a wide spot of light": 220.0 * (((x - 80) / 78) ** 2 + ((y - 48) / 30) ** 2 < 1),
        "light that fades up and down": np.clip(255 - 5.0 * np.abs(y - 47.5), 0, 255),
        "hills": 150.0 * ((y > 60 + 12 * np.sin(x / 9)) & (y < 90 + 4 * np.sin(x / 7))),
        "a lit window": 220.0 * ((abs(x - 40) < 12) & (abs(y - 30) < 9)),
        "letters": 255.0 * ((abs(y - 48) < 8) & (abs(x - 80) < 60) & (x % 12 < 5)),
    }
    return {name: np.repeat(np.repeat(s[None, ..., None], 3, 0), 3, -1).astype(np.uint8) for name, s in scenes.items()}


@pytest.mark.parametrize("name", dark_scenes())
def test_a_dark_scene_is_no_bar(name: str) -> None:
    assert letterbox(dark_scenes()[name]) == WHOLE


@pytest.mark.parametrize("crf", [16, 30])
def test_bars_that_went_through_a_codec(crf: int, tmp_path: Path) -> None:
    frames = np.zeros((10, 256, 144, 3), np.uint8)
    frames[:, 83:173] = moving(10, 90, 144)
    write_video(tmp_path / "bars.mp4", frames, Fraction(10), crf=crf)
    with open_video(tmp_path / "bars.mp4") as clip:
        x0, y0, x1, y1 = letterbox(clip.sample(4))
    assert (x0, x1) == (0, 144) and 83 - 6 <= y0 <= 83 and 173 <= y1 <= 173 + 6, "picture was cut, or bars were left"
    assert y0 % 2 == y1 % 2 == 0


def test_light_at_the_edge_may_be_uneven() -> None:
    frames = barred(0, 12, 0, 12)
    shade = cv2.GaussianBlur(np.where(np.arange(W)[None] < W // 5, 0, 1.0).repeat(H, 0), (0, 0), 1)
    assert letterbox((frames * shade[None, ..., None]).astype(np.uint8))[1::2] == (12, 84)  # a fifth of it is black


def test_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        letterbox(np.zeros((2, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="at least one"):
        letterbox(np.zeros((0, 8, 8, 3), np.uint8))
