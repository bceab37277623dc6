"""What the published code of Peekaboo and TrailBlazer computes, flaws and all, so that figures can be set beside
theirs.

`vxedit.score.boxes` has the same measures repaired and says what is wrong with these. Boxes as there: xyxy shares of
the frame, `found` (F, 4) NaN in the frames without a detection, `target` (F, 4) without NaN.

Peekaboo: `eval/get_metrics.py` of Jain et al., CVPR 2024, arXiv 2312.07509. TrailBlazer: `Metrics/OwlVit/main.py` of Ma
et al., SIGGRAPH Asia 2024, arXiv 2401.00896. Both take the detector's highest box where its score is above 0.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vxedit.score.boxes import HALF, detected

PEEKABOO_FRAME = (320, 576)
"""Height and width in pixels whose diagonal divides every centre distance."""

COVERED = 1 / 3
"""A clip is covered by more than 8 of 24 frames."""

_NEVER_ZERO = 1e-5


@dataclass(frozen=True)
class Peekaboo:
    """One clip by Peekaboo's code. ap50 is NaN where no frame has a detection."""

    volume_iou: float
    ap50: float
    centre_distance: float
    detections: int
    covered: bool


@dataclass(frozen=True)
class PeekabooMeans:
    """A line that Peekaboo's code prints over a set of clips; NaN where no clip counts."""

    mean_iou: float
    ap50: float
    centre_distance: float
    coverage: float


def _checked(found: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, target = np.asarray(found, float), np.asarray(target, float)
    if found.ndim != 2 or found.shape != target.shape or found.shape[1] != 4 or not len(found):
        raise ValueError(f"found and target boxes must both be (F, 4), F >= 1, got {found.shape} and {target.shape}")
    return found, target


def _pixels(boxes: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Boxes as the slices of pixels that the code paints: ends cut off to whole numbers, a missing one the zero box."""
    height, width = frame
    inside = np.clip(np.nan_to_num(boxes), 0, 1)
    # A share that a whole number of pixels gave must give it back: 64 / 128 * 128 may end just below 64.
    return np.floor(inside * (width, height, width, height) + 1e-6)


def _counts(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1)


def _centroids(boxes: np.ndarray) -> np.ndarray:
    """Halfway between the first and the last painted pixel; the corner (0, 0) where none is."""
    middle = (boxes[:, :2] + boxes[:, 2:] - 1) / 2
    return np.where(_counts(boxes)[:, None] > 0, middle, 0.0)


def peekaboo(found: np.ndarray, target: np.ndarray, *, frame: tuple[int, int] = PEEKABOO_FRAME) -> Peekaboo:
    """One clip's figures.

    IoU is that of the whole clip's boxes as one volume; AP50 leaves out the frames without a detection; the centre of
    such a frame is the corner (0, 0); the centre distance is divided by the diagonal of a 320x576 frame.

    frame: (height, width) that the boxes are painted in. The code paints in the clip's own size and still divides by
    that diagonal, so a small clip has small distances; at the default size the figure means the same for every clip.
    """
    found, target = _checked(found, target)
    theirs, ours = _pixels(target, frame), _pixels(found, frame)
    ends = np.maximum(theirs[:, :2], ours[:, :2]), np.minimum(theirs[:, 2:], ours[:, 2:])
    shared = _counts(np.concatenate(ends, 1))
    union = _counts(theirs) + _counts(ours) - shared
    painted = _counts(ours) > 0
    ious = (shared / (union + _NEVER_ZERO))[painted]
    gaps = _centroids(theirs) - _centroids(ours)
    return Peekaboo(
        volume_iou=float(shared.sum() / (union.sum() + _NEVER_ZERO)),
        ap50=float((ious >= HALF).mean()) if painted.any() else math.nan,
        centre_distance=float(np.hypot(gaps[:, 0], gaps[:, 1]).mean() / math.hypot(*PEEKABOO_FRAME)),
        detections=int(detected(found).sum()),
        covered=bool(detected(found).mean() > COVERED),
    )


def peekaboo_means(clips: Sequence[Peekaboo], *, weighted: bool) -> PeekabooMeans:
    """The line over all clips. The code prints both: `weighted` takes IoU over the covered clips alone and weighs
    AP50 by the number of detections; the other takes plain means over the clips that have the figure."""
    if not clips:
        raise ValueError("means need at least one clip, got none")
    covers = np.array([clip.covered for clip in clips], float)
    ious, ap50s = np.array([clip.volume_iou for clip in clips]), np.array([clip.ap50 for clip in clips])
    counts = np.array([clip.detections for clip in clips], float)
    distance = float(np.mean([clip.centre_distance for clip in clips]))
    if not weighted:
        known = ap50s[~np.isnan(ap50s)]
        ap50 = float(known.mean()) if len(known) else math.nan
        return PeekabooMeans(float(ious.mean()), ap50, distance, float(covers.mean()))
    iou = float(ious @ covers / covers.sum()) if covers.any() else math.nan
    ap50 = float(np.nan_to_num(ap50s) @ counts / counts.sum()) if counts.any() else math.nan
    return PeekabooMeans(iou, ap50, distance, float(covers.mean()))


def signed_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """TrailBlazer's overlap over union of boxes (..., 4).

    The overlap is the product of two extents that may both be negative, so boxes that are apart both ways overlap, the
    more the farther, until the union is negative; only a negative quotient becomes 0. 0 where the union is 0.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    shared = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return np.clip(np.divide(shared, union, out=np.zeros_like(union), where=union != 0), 0, None)


def trailblazer(found: np.ndarray, target: np.ndarray) -> float:
    """One clip's mIoU by TrailBlazer's code: mean of `signed_iou` over the frames with a detection; 0 without any."""
    found, target = _checked(found, target)
    has = detected(found)
    return float(signed_iou(found[has], target[has]).mean()) if has.any() else 0.0
