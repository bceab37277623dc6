"""Fits frames to another size, and puts edited ones back into the original pixels."""

from __future__ import annotations

import numpy as np


def resize_frames(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize `frames` uint8 (F, H, W, 3) to (F, height, width, 3).

    A side that shrinks is averaged over the area each new pixel covers, one that grows is interpolated (bicubic); the
    same size gives the very same frames. The aspect is not kept. Raises ValueError for sides below 1 or other frames.
    """
    import cv2

    if frames.dtype != np.uint8 or frames.ndim != 4:
        raise ValueError(f"frames must be uint8 (F, H, W, 3), got {frames.dtype} {frames.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"a frame can't be {width}x{height}; both sides must be 1 or more")
    if frames.shape[1:3] == (height, width):
        return frames
    # Shrink first: when one side grows and the other shrinks, no filter of OpenCV does both well at once.
    small = (min(width, frames.shape[2]), min(height, frames.shape[1]))
    resized = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, out in zip(frames, resized, strict=True):
        shrunk = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        out[:] = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC)
    return resized


def composite(original: np.ndarray, edited: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`edited` over `original`, both uint8 (F, H, W, 3), by `alpha` (F, H, W) in 0..1; rounded to uint8.

    Where alpha is 0 the original's bytes come out, where it is 1 the edited clip's. Raises ValueError if the shapes
    don't agree or alpha leaves 0..1 or has NaN.
    """
    if original.shape != edited.shape or alpha.shape != original.shape[:3]:
        raise ValueError(f"shapes don't agree: {original.shape}, {edited.shape}, alpha {alpha.shape}")
    if not (alpha.min() >= 0 and alpha.max() <= 1):  # false for NaN as well
        raise ValueError("alpha must be in 0..1 everywhere")
    blended = np.empty_like(original)
    for before, after, share, out in zip(original, edited, alpha, blended, strict=True):  # one by one, to save memory
        base = before.astype(np.float32)
        out[:] = np.rint(base + (after.astype(np.float32) - base) * share[..., None].astype(np.float32))
    return blended
