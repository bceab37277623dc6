"""How alike two clips are: all of them, the background, and the moved object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CAP_DB = 100.0  # what equal frames score; a mean over clips needs a number


def _same(a: np.ndarray, b: np.ndarray) -> None:
    if a.dtype != np.uint8 or b.dtype != np.uint8 or a.shape != b.shape or a.ndim != 4 or a.shape[-1] != 3:
        got = f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
        raise ValueError(f"two clips to compare must be uint8 (F, H, W, 3) of one shape, got {got}")


def _decibels(error: float) -> float:
    return CAP_DB if error <= 0 else min(CAP_DB, float(10 * np.log10(255**2 / error)))


def psnr(a: np.ndarray, b: np.ndarray, *, mask: np.ndarray | None = None) -> float:
    """Peak signal to noise ratio in dB of two clips uint8 (F, H, W, 3), at most 100.

    From the mean squared error over all frames together, so that one perfect frame does not lift the mean. mask: bool
    (F, H, W) or (H, W), the pixels that count. Raises ValueError when none does; NaN would be lost in a mean.
    """
    _same(a, b)
    square = ((a.astype(np.float32) - b) ** 2).mean(-1)
    if mask is None:
        return _decibels(float(square.mean(dtype=np.float64)))
    counted = np.broadcast_to(np.asarray(mask, bool), square.shape)
    if not counted.any():
        raise ValueError("the mask leaves no pixel to compare; give one that is true somewhere")
    return _decibels(float(square[counted].mean(dtype=np.float64)))


def background_psnr(edited: np.ndarray, source: np.ndarray, outside: np.ndarray) -> float:
    """PSNR over the pixels outside the edit region. outside: bool (F, H, W), true where nothing should have changed."""
    return psnr(edited, source, mask=outside)


def ssim(a: np.ndarray, b: np.ndarray, *, mask: np.ndarray | None = None) -> float:
    """Structural similarity (Wang et al., 2004), mean over the frames of two clips uint8 (F, H, W, 3), sides >= 7.

    mask: bool (F, H, W), the pixels whose windows count; each frame weighs by how many it has.
    """
    from skimage.metrics import structural_similarity

    _same(a, b)
    if min(a.shape[1:3]) < 7:
        raise ValueError(f"SSIM looks through a 7x7 window, the frames are {a.shape[2]}x{a.shape[1]}; use larger ones")
    if mask is None:
        pairs = zip(a, b, strict=True)
        return float(np.mean([structural_similarity(x, y, channel_axis=-1, data_range=255) for x, y in pairs]))
    maps = [
        structural_similarity(x, y, channel_axis=-1, data_range=255, full=True)[1] for x, y in zip(a, b, strict=True)
    ]
    return float(np.stack(maps)[np.asarray(mask, bool)].mean())


@dataclass(frozen=True)
class Identity:
    """The moved object against its source: PSNR in dB, SSIM, and the correlation of the patterns in [-1, 1], over the
    `frames` frames that have both boxes. NaN with `frames` 0."""

    psnr: float
    ssim: float
    correlation: float
    frames: int


def crop(frame: np.ndarray, box: np.ndarray, *, side: int) -> np.ndarray:
    """The part of a frame uint8 (H, W, ...) in a box xyxy in [0, 1], as (side, side, ...), sampled at sub-pixel places.

    What lies outside the frame repeats its edge.
    """
    import cv2

    height, width = frame.shape[:2]
    x0, y0, x1, y1 = np.asarray(box, float) * (width, height, width, height)
    dx, dy = (x1 - x0) / side, (y1 - y0) / side
    view = np.array([[dx, 0, x0 + dx / 2 - 0.5], [0, dy, y0 + dy / 2 - 0.5]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ascontiguousarray(frame), view, (side, side), flags=how, borderMode=cv2.BORDER_REPLICATE)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two sets of colours (n, 3), each channel about its own mean; 0 when one is flat."""
    x, y = (v.astype(np.float64) - v.mean(0) for v in (a, b))
    scale = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def identity(
    edited: np.ndarray,
    source: np.ndarray,
    *,
    edited_boxes: np.ndarray,
    source_boxes: np.ndarray,
    source_masks: np.ndarray | None = None,
    side: int = 64,
) -> Identity:
    """Whether the moved object is still the object: its crop in each edited frame against its crop in the source frame.

    edited, source: uint8 (F, H, W, 3), frame sizes may differ. Boxes: (F, 4) xyxy in [0, 1], NaN where there is no
    object. Both crops are brought to side x side pixels, which takes size and shape out of the comparison.
    source_masks: bool (F, H, W), the object's pixels in the source; with them the background in a crop's corners does
    not count, which differs from place to place. Compare with what the clip's true edit gives, or the autoencoder
    alone: cutting at boxes of whole pixels and sampling again costs some decibels.
    """
    counts = [len(edited), len(source), len(edited_boxes), len(source_boxes)]
    if len(set(counts)) > 1:
        raise ValueError(f"identity needs as many frames and boxes on both sides, got {counts}")
    both = np.flatnonzero(~(np.isnan(edited_boxes).any(1) | np.isnan(source_boxes).any(1)))
    if not len(both):
        return Identity(float("nan"), float("nan"), float("nan"), 0)
    there = np.stack([crop(edited[i], edited_boxes[i], side=side) for i in both])
    here = np.stack([crop(source[i], source_boxes[i], side=side) for i in both])
    shown = np.ones(here.shape[:3], bool)
    if source_masks is not None:
        shown = np.stack([crop(source_masks[i].astype(np.uint8) * 255, source_boxes[i], side=side) > 127 for i in both])
    patterns = [_correlation(x[m], y[m]) for x, y, m in zip(there, here, shown, strict=True)]
    likeness = psnr(there, here, mask=shown), ssim(there, here, mask=shown), float(np.mean(patterns))
    return Identity(*likeness, len(both))
