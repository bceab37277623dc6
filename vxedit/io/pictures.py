"""Pictures of clips: boxes and trails drawn on them, heat maps over them, and sheets to compare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vxedit.io.atomic import write_bytes
from vxedit.io.fit import resize_frames

_BOX = (255, 220, 40)
_TRAIL = (70, 200, 255)
_DARK = (20, 20, 20)
_PAPER = 248
_CELL_PX = (160, 240)  # least height, most width of a frame in a sheet
_GAP_PX = 4
_SUBPIXEL_BITS = 4


def draw_boxes(
    frames: np.ndarray, boxes: np.ndarray, *, trail: bool = False, at: np.ndarray | None = None
) -> np.ndarray:
    """Copies of `frames` uint8 (F, H, W, 3) with `boxes` (F, 4), xyxy in shares of the frame, drawn on them.

    `trail` adds the line of all the boxes' centres, with a dot where the frame's own is. `at` (F,): the frames are only
    these of a clip whose boxes are all given. A box with NaN is left out; a box beyond the frame is cut off by it.
    Raises ValueError if the counts differ.
    """
    if boxes.shape[1:] != (4,) or len(frames) != (len(boxes) if at is None else len(at)):
        raise ValueError(f"{len(frames)} frames need boxes ({len(frames)}, 4), got {boxes.shape}")
    height, width = frames.shape[1:3]
    corners = np.asarray(boxes, np.float64) * (width, height, width, height)
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    drawn = frames.copy()
    own = np.arange(len(boxes)) if at is None else at
    for frame, box, centre in zip(drawn, corners[own], centres[own], strict=True):
        if trail:
            _line(frame, centres[np.isfinite(centres).all(1)], _TRAIL)
        if np.isfinite(box).all():
            x0, y0, x1, y1 = box
            _line(frame, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]), _BOX)
            if trail:
                _dot(frame, centre)
    return drawn


def heat(frames: np.ndarray, maps: np.ndarray, *, at: np.ndarray | None = None) -> np.ndarray:
    """`maps` (F, h, w) of any size, such as attention, as colours over `frames` uint8 (F, H, W, 3): dark low, yellow
    high.

    The maps are upsampled smoothly and scaled to the clip's own lowest and highest value; a flat map is all low, NaN
    counts as lowest. `at` (F,): the frames are only these of a clip whose maps are all given. Raises ValueError if the
    counts differ.
    """
    import cv2

    if maps.ndim != 3 or len(frames) != (len(maps) if at is None else len(at)):
        raise ValueError(f"{len(frames)} frames need maps ({len(frames)}, h, w), got {maps.shape}")
    height, width = frames.shape[1:3]
    blended = np.empty_like(frames)
    levels = _normalised(maps) if at is None else _normalised(maps)[at]
    for frame, level, out in zip(frames, levels, blended, strict=True):
        smooth = np.clip(cv2.resize(level, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
        colour = cv2.applyColorMap(np.rint(smooth * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
        share = (0.45 + 0.35 * smooth)[..., None]  # the frame shows through, least where the map is high
        out[:] = np.rint(frame * (1 - share) + colour * share)
    return blended


COLUMNS = 6
"""Frames in a row of a sheet."""


def spread(count: int, columns: int = COLUMNS) -> np.ndarray:
    """At most `columns` indices spread evenly over `count` frames, the first and the last among them."""
    return np.unique(np.rint(np.linspace(0, count - 1, columns)).astype(int))


def sheet(rows: Sequence[tuple[str, np.ndarray]], columns: int = COLUMNS) -> np.ndarray:
    """One picture uint8 (H, W, 3): a row for every (label, frames (F, h, w, 3)), with `columns` frames spread evenly
    over it.

    All rows get one height of frame: small clips are enlarged to be seen, large ones reduced. Raises ValueError for no
    rows, an empty clip or columns below 1.
    """
    if not rows or columns < 1 or any(len(frames) == 0 for _, frames in rows):
        raise ValueError("a sheet needs at least one row, one column and one frame in every row")
    height = _cell_height([frames for _, frames in rows])
    strips = [_strip(frames, columns, height) for _, frames in rows]
    scale = max(0.4, height / 260)
    margin = max(_text_width(label, scale) for label, _ in rows) + 4 * _GAP_PX
    picture = np.full(
        (_GAP_PX + len(rows) * (height + _GAP_PX), margin + max(strip.shape[1] for strip in strips), 3),
        _PAPER,
        np.uint8,
    )
    for row, ((label, _), strip) in enumerate(zip(rows, strips, strict=True)):
        top = _GAP_PX + row * (height + _GAP_PX)
        picture[top : top + height, margin : margin + strip.shape[1]] = strip
        _write(picture, label, (2 * _GAP_PX, top + height // 2 + int(10 * scale)), scale)
    return picture


def sheet_rows(rows: Sequence[tuple[str, Sequence[np.ndarray]]], columns: Sequence[str]) -> np.ndarray:
    """One picture uint8 (H, W, 3) of pictures of one size (h, w, 3): a label and a picture a column in every row, the
    columns' names above. Raises ValueError for no rows or rows of other lengths."""
    if not rows or any(len(pictures) != len(columns) for _, pictures in rows):
        raise ValueError(f"every row needs {len(columns)} pictures, and there must be one")
    height, width = rows[0][1][0].shape[:2]
    scale, head = 0.45, 20
    margin = max(_text_width(label, scale) for label, _ in rows) + 2 * _GAP_PX
    size = (head + len(rows) * (height + _GAP_PX), margin + len(columns) * (width + 2 * _GAP_PX), 3)
    picture = np.full(size, _PAPER, np.uint8)
    for k, name in enumerate(columns):
        _write(picture, name, (margin + k * (width + 2 * _GAP_PX), head - 6), scale)
    for i, (label, pictures) in enumerate(rows):
        top = head + i * (height + _GAP_PX)
        _write(picture, label, (_GAP_PX, top + height // 2), scale)
        for k, one in enumerate(pictures):
            left = margin + k * (width + 2 * _GAP_PX)
            picture[top : top + height, left : left + width] = one
    return picture


def side_by_side(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Clips uint8 (F, h, w, 3) of the same count joined left to right, (F, H, W, 3), all as high as the highest.

    Raises ValueError if there are none or their counts differ.
    """
    if len({len(clip) for clip in clips}) != 1:
        raise ValueError(f"clips side by side need the same number of frames, got {[len(clip) for clip in clips]}")
    height = max(clip.shape[1] for clip in clips)
    return np.concatenate([resize_frames(clip, height, _scaled(clip, height)) for clip in clips], axis=2)


def write_png(path: Path, picture: np.ndarray, *, overwrite: bool = False) -> None:
    """Write `picture` uint8 (H, W, 3) RGB as a PNG, whole or not at all. Raises OutputError if it can't be written."""
    import cv2

    done, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))  # OpenCV's order is BGR
    if not done:
        raise ValueError(f"a PNG can't be made of {picture.dtype} {picture.shape}")
    write_bytes(path, data.tobytes(), overwrite=overwrite)


def _normalised(maps: np.ndarray) -> np.ndarray:
    """(F, h, w) float32 in 0..1 over the whole clip, so that a frame where nothing is looked at stays dark."""
    values = np.asarray(maps, np.float32)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if high <= low:
        return np.zeros_like(values)
    return np.clip((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low), 0, 1)


def _thickness(frame: np.ndarray) -> int:
    return max(1, round(min(frame.shape[:2]) / 160))


def _line(frame: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw the poly-line of `points` (N, 2), pixels, into `frame`: a dark rim keeps it visible on any background."""
    import cv2

    thin = _thickness(frame)
    fixed = _fixed(points).reshape(-1, 1, 2)
    for ink, thickness in ((_DARK, thin + 2), (colour, thin)):
        cv2.polylines(frame, [fixed], False, ink, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dot(frame: np.ndarray, centre: np.ndarray) -> None:
    import cv2

    x, y = (int(value) for value in _fixed(centre))
    radius = 3 * _thickness(frame)
    for ink, size in ((_DARK, radius + 1), (_TRAIL, radius)):
        cv2.circle(frame, (x, y), size << _SUBPIXEL_BITS, ink, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed(points: np.ndarray) -> np.ndarray:
    # OpenCV's fixed point, within what 32 bits hold. It puts (0, 0) at a pixel's middle, shares at its corner.
    return np.rint((np.clip(points, -1e5, 1e5) - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _cell_height(clips: Sequence[np.ndarray]) -> int:
    least, most_width = _CELL_PX
    height = max(least, max(clip.shape[1] for clip in clips))
    widest = max(clip.shape[2] / clip.shape[1] for clip in clips)
    return max(8, min(height, round(most_width / widest)))


def _scaled(clip: np.ndarray, height: int) -> int:
    return max(1, round(clip.shape[2] * height / clip.shape[1]))


def _strip(frames: np.ndarray, columns: int, height: int) -> np.ndarray:
    """`columns` frames from first to last, resized to `height`, with a gap after each."""
    chosen = frames[spread(len(frames), columns)]
    cells = resize_frames(chosen, height, _scaled(frames, height))
    gapped = np.pad(cells, ((0, 0), (0, 0), (0, _GAP_PX), (0, 0)), constant_values=_PAPER)
    return np.concatenate(list(gapped), axis=1)


def _text_width(text: str, scale: float) -> int:
    import cv2

    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    return int(width)


def _write(picture: np.ndarray, text: str, at: tuple[int, int], scale: float) -> None:
    import cv2

    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _DARK, 1, cv2.LINE_AA)
