"""How pixels move from one frame to another."""

from __future__ import annotations

import cv2
import numpy as np


def flow_between(before: np.ndarray, after: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Motion (H, W, 2) in pixels from each pixel of one frame, uint8 (H, W, 3), to the other's, by dense inverse search
    (Kroeger et al., ECCV 2016). `start` (2,): the motion to begin the search at, across and down."""
    first, second = (cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in (before, after))
    guess = None if start is None else np.tile(start.astype(np.float32), (*first.shape, 1))
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, guess)
