"""How unsteady a clip is: what is left between successive frames once their motion is taken out.

The warping error of Lai et al., "Learning Blind Video Temporal Consistency" (ECCV 2018), with dense inverse search for
the flow (Kroeger et al., ECCV 2016) so that no network is needed.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from vxedit.optical_flow import flow_between


def _warp(picture: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The second frame's values (H, W, c) where the flow leads, and (H, W) bool whether that is inside the frame."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x + flow[..., 0], y + flow[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), inside


def _pair_error(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of the first frame and the second one warped to it, where the flows agree both ways
    (Sundaram et al., ECCV 2010: what they disagree on is hidden in one of the frames)."""
    onwards, back = flow_between(first, second), flow_between(second, first)
    warped, inside = _warp(second, onwards)
    returned, _ = _warp(back, onwards)
    power = (onwards**2).sum(-1) + (returned**2).sum(-1)
    valid = inside & (((onwards + returned) ** 2).sum(-1) <= 0.01 * power + 0.5)
    return float(np.abs(warped - first)[valid].mean()) if valid.any() else float("nan")


def warp_error(frames: np.ndarray) -> float:
    """Mean over successive frames of the warping error, in grey levels 0..255.

    frames: uint8 (F, H, W, 3), sides >= 32. 0 for a still clip. The flow is the clip's own. NaN for a single frame.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or min(frames.shape[1:3]) < 32:
        raise ValueError(f"flow needs frames uint8 (F, H, W, 3) of 32x32 or more, got {frames.dtype} {frames.shape}")
    errors = [_pair_error(a, b) for a, b in pairwise(frames)]
    known = [e for e in errors if np.isfinite(e)]
    return float(np.mean(known)) if known else float("nan")


def flicker(edited: np.ndarray, source: np.ndarray) -> float:
    """The edited clip's warping error over the source's: 1, as steady as the source; above, it flickers.

    1 when both are perfectly still, infinite when only the source is.
    """
    ours, theirs = warp_error(edited), warp_error(source)
    if theirs == 0:
        return 1.0 if ours == 0 else float("inf")
    return ours / theirs
