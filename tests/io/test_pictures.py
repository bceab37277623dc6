"""Pictures show what they should, where it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vxedit.errors import OutputError
from vxedit.io.pictures import draw_boxes, heat, sheet, side_by_side, write_png


def grey(count: int = 3, height: int = 100, width: int = 200) -> np.ndarray:
    return np.full((count, height, width, 3), 128, np.uint8)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(-1)


BOXES = np.array([[0.1, 0.2, 0.3, 0.6], [0.4, 0.2, 0.6, 0.6], [0.7, 0.2, 0.9, 0.6]])


def test_each_frame_gets_its_own_box() -> None:
    frames = grey()
    touched = changed(frames, draw_boxes(frames, BOXES))
    assert (frames == 128).all()
    for mask, (x0, y0, x1, y1) in zip(touched, BOXES * (200, 100, 200, 100), strict=True):
        rows, columns = np.nonzero(mask)
        edges = [columns.min() - x0, columns.max() + 1 - x1, rows.min() - y0, rows.max() + 1 - y1]
        assert np.abs(edges).max() <= 4
        assert not mask[30:50, int(x0) + 8 : int(x1) - 8].any()  # an outline, not filled


def test_trail_joins_the_centres_in_every_frame() -> None:
    touched = changed(grey(), draw_boxes(grey(), BOXES, trail=True))
    assert touched[:, 40, 45:155].all()
    assert not changed(grey(), draw_boxes(grey(), BOXES))[0, 40, 70:150].any()
    dots = touched[:, 36, :]  # the dot is thicker than the line, and it is the frame's own
    assert [bool(dots[n, 40 + 60 * n]) for n in range(3)] == [True] * 3 and not dots[0, 100]


def test_boxes_beyond_the_frame_or_unknown() -> None:
    boxes = np.array([[-5.0, -5, 9, 9], [np.nan] * 4, [0.9, 0.9, 1e9, 1.5]])
    drawn = draw_boxes(grey(), boxes, trail=True)
    assert changed(grey(), drawn)[2, 95:, 175:185].any()
    assert not changed(grey(), draw_boxes(grey(), boxes))[1].any()
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        draw_boxes(grey(), BOXES[:2])


def test_heat_is_where_the_map_is_over_the_whole_clip() -> None:
    maps = np.zeros((2, 5, 7))
    maps[0, 1, 5] = 0.02
    maps[1, 3, 1] = 0.01
    drawn = heat(grey(2, 100, 140), maps).astype(int).sum(-1)
    assert np.hypot(*(np.array(np.unravel_index(drawn[0].argmax(), (100, 140))) - (30, 110))) < 12
    assert drawn[0].max() > drawn[1].max() > drawn[1, 30, 110]  # one scale for the clip, not one for each frame
    assert np.abs(np.diff(drawn[0].astype(int), axis=1)).max() < 80  # smooth, no squares
    assert np.array_equal(heat(grey(2, 100, 140), maps * 1000), heat(grey(2, 100, 140), maps))


def test_flat_maps_and_nan() -> None:
    flat = heat(grey(2), np.full((2, 4, 4), 0.3))
    assert (flat == flat[0, 0, 0]).all() and flat[0, 0, 0].sum() < 3 * 128
    maps = np.arange(32, dtype=float).reshape(2, 4, 4)
    maps[0, 3, 3] = np.nan
    assert heat(grey(2), maps).shape == (2, 100, 200, 3)
    with pytest.raises(ValueError, match="maps"):
        heat(grey(2), np.zeros((3, 4, 4)))


def test_sheet_has_a_labelled_row_of_spread_frames() -> None:
    ramp = np.stack([np.full((32, 32, 3), value, np.uint8) for value in range(10, 210, 10)])
    picture = sheet([("before", ramp), ("after", ramp[::-1])], columns=3)
    assert picture.dtype == np.uint8 and picture.shape[0] > 2 * 100  # the small clips were enlarged
    rows = [picture[picture.shape[0] * k // 4, :, 0] for k in (1, 3)]
    cells = [
        [int(v) for v, n in zip(*np.unique(row, return_counts=True), strict=True) if n > 60 and v < 240] for row in rows
    ]
    assert cells == [[10, 110, 200], [10, 100, 200]] and rows[0].tolist().index(10) < rows[0].tolist().index(200)
    assert rows[1].tolist().index(200) < rows[1].tolist().index(10)
    margin = picture[:, : rows[0].tolist().index(10)]
    assert (margin[: picture.shape[0] // 2] < 100).any() and (margin[picture.shape[0] // 2 :] < 100).any()


def test_sheet_of_unlike_clips() -> None:
    picture = sheet([("small", grey(2, 16, 16)), ("a much longer label", grey(20, 720, 1280))], columns=4)
    assert picture.shape[1] < 4 * 300 + 300  # large clips are reduced
    for bad in ([], [("none", grey(0))]):
        with pytest.raises(ValueError, match="at least one"):
            sheet(bad)


def test_side_by_side() -> None:
    left, right = grey(2, 20, 30), np.full((2, 40, 20, 3), 7, np.uint8)
    joined = side_by_side([left, right])
    assert joined.shape == (2, 40, 80, 3)  # the left one grew to 40x60
    assert (joined[:, :, :60] == 128).all() and (joined[:, :, 60:] == 7).all()
    with pytest.raises(ValueError, match="same number"):
        side_by_side([left, right[:1]])


def test_png_goes_round_and_is_not_replaced(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    write_png(tmp_path / "a.png", picture)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], picture)
    with pytest.raises(OutputError, match="--overwrite"):
        write_png(tmp_path / "a.png", picture)
