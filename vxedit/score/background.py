"""What changed where nothing should have: outside the edit region that an edit's boxes say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vxedit.score.fidelity import background_psnr, ssim

MARGIN = 0.1
"""How far the edit region reaches beyond the boxes, as a share of the frame's shorter side, where a record says
nothing."""

_WINDOW = 7  # SSIM's


def boxes_mask(boxes: np.ndarray, height: int, width: int, *, margin: int = 0) -> np.ndarray:
    """bool (F, height, width): the pixels that boxes (F, 4) xyxy in [0, 1] touch, grown by `margin` pixels; none in the
    frames where the box is NaN."""
    mask = np.zeros((len(boxes), height, width), bool)
    for frame, box in zip(mask, np.asarray(boxes, float) * (width, height, width, height), strict=True):
        if np.isnan(box).any() or (box[2:] <= box[:2]).any():
            continue
        # Shares of whole pixels come back a little off; without the slack each would touch the next pixel.
        x0, y0 = np.floor(box[:2] + 1e-6).astype(int) - margin
        x1, y1 = np.ceil(box[2:] - 1e-6).astype(int) + margin
        frame[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
    return mask


def outside(boxes: Sequence[np.ndarray], height: int, width: int, *, margin: float = MARGIN) -> np.ndarray:
    """bool (F, height, width): what lies outside the edit region, where a clip should be its source's.

    The region is the union of `boxes`, each (F, 4): every object's place before and after, grown on every side by
    `margin`, a share of the frame's shorter side (a tenth by default).
    """
    grow = round(margin * min(height, width))
    return ~np.logical_or.reduce([boxes_mask(each, height, width, margin=grow) for each in boxes])


@dataclass(frozen=True)
class Background:
    """psnr in dB, at most 100; ssim in [-1, 1]; share: the part of all pixels that was compared. NaN without any."""

    psnr: float
    ssim: float
    share: float


def background(edited: np.ndarray, source: np.ndarray, mask: np.ndarray) -> Background:
    """The edited clip against its source where `mask` bool (F, H, W) is true. Clips: uint8 (F, H, W, 3), one shape.

    SSIM's windows reach three pixels over the mask's rim; it is NaN for frames too small for one.
    """
    if not mask.any():
        return Background(float("nan"), float("nan"), 0.0)
    fits = min(source.shape[1:3]) >= _WINDOW
    likeness = ssim(edited, source, mask=mask) if fits else float("nan")
    return Background(background_psnr(edited, source, mask), likeness, float(mask.mean()))
