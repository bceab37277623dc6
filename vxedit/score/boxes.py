"""How far found boxes are from where they should be.

A box is xyxy in [0, 1], shares of the frame. `found` (F, 4) holds NaN in the frames without a detection, `target`
(F, 4) none. The measures are those of Peekaboo (Jain et al., CVPR 2024, arXiv 2312.07509) and TrailBlazer (Ma et al.,
SIGGRAPH Asia 2024, arXiv 2401.00896), with what is wrong in their published code repaired:

- Peekaboo's `get_metrics.py` leaves frames without a detection out of AP50, so a detector that fails on the hard frames
  raises it. Here such a frame is a miss.
- It calls a clip covered from 9 of 24 frames; the paper says more than half. Here it is more than half.
- It divides the centre distance by the diagonal of a 320x576 frame whatever the frame is, and gives a frame without a
  detection the distance from the frame's corner. Here it is the frame's own diagonal, and such a frame either does not
  count or counts as the worst there could be; both are given.
- TrailBlazer's `OwlVit/main.py` multiplies two extents of the overlap without cutting them at zero, so boxes that are
  apart both ways overlap. Here each extent is cut first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

HALF = 0.5  # AP50's overlap, and the share of a covered clip's frames that is exceeded


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[..., 2] - boxes[..., 0], 0, None) * np.clip(boxes[..., 3] - boxes[..., 1], 0, None)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _areas(np.concatenate([np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], -1))


def _paired(found: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, target = np.asarray(found, float), np.asarray(target, float)
    if found.ndim != 2 or found.shape != target.shape or found.shape[1] != 4 or not len(found):
        raise ValueError(f"found and target boxes must both be (F, 4), F >= 1, got {found.shape} and {target.shape}")
    if np.isnan(target).any():
        raise ValueError("target boxes must hold no NaN; only a frame of the found ones may lack a box")
    return found, target


def detected(found: np.ndarray) -> np.ndarray:
    """(F,) bool: the frames that have a box."""
    return ~np.isnan(np.asarray(found, float)).any(-1)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4), each extent of the intersection cut at zero before the product.

    0 where a box is NaN or both are empty.
    """
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    shared = _overlap(a, b)
    union = _areas(a) + _areas(b) - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def mean_iou(found: np.ndarray, target: np.ndarray) -> float:
    """Mean over all frames of the IoU, 0 in a frame without a detection."""
    return float(iou(*_paired(found, target)).mean())


def detected_iou(found: np.ndarray, target: np.ndarray) -> float:
    """TrailBlazer's: mean of the IoU over the frames with a detection alone, 0 when there is none."""
    found, target = _paired(found, target)
    has = detected(found)
    return float(iou(found, target)[has].mean()) if has.any() else 0.0


def volume_iou(found: np.ndarray, target: np.ndarray) -> float:
    """Peekaboo's code: the whole clip's boxes as one volume, its intersection over its union.

    Large frames weigh more than small ones; a frame without a detection adds its target to the union.
    """
    found, target = _paired(found, target)
    shared = np.nan_to_num(_overlap(found, target))
    union = np.nan_to_num(_areas(found)) + _areas(target) - shared
    return float(shared.sum() / union.sum()) if union.sum() > 0 else 0.0


def ap50(found: np.ndarray, target: np.ndarray) -> float:
    """Share of all frames whose IoU is 0.5 or more. A frame without a detection is a miss, not left out."""
    return float((iou(*_paired(found, target)) >= HALF).mean())


def _distances(found: np.ndarray, target: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    height, width = frame
    gap = (found[:, :2] + found[:, 2:] - target[:, :2] - target[:, 2:]) / 2 * (width, height)
    return np.hypot(gap[:, 0], gap[:, 1]) / np.hypot(height, width)


def centre_distance(found: np.ndarray, target: np.ndarray, *, frame: tuple[int, int]) -> float:
    """Mean distance of the boxes' centres, the frame's diagonal = 1, over the frames with a detection; NaN without any.

    frame: (height, width) in any unit, because a share of the width is not as long as a share of the height.
    """
    found, target = _paired(found, target)
    has = detected(found)
    return float(_distances(found, target, frame)[has].mean()) if has.any() else float("nan")


def penalised_distance(found: np.ndarray, target: np.ndarray, *, frame: tuple[int, int]) -> float:
    """`centre_distance` over all frames; one without a detection counts as the corner farthest from the target."""
    found, target = _paired(found, target)
    centre = (target[:, :2] + target[:, 2:]) / 2
    corner = np.where(centre < 0.5, 1.0, 0.0)
    filled = np.where(detected(found)[:, None], found, np.concatenate([corner, corner], 1))
    return float(_distances(filled, target, frame).mean())


def covered(found: np.ndarray) -> bool:
    """Whether more than half of a clip's frames have a detection."""
    return bool(detected(found).mean() > HALF)


def coverage(clips: Iterable[np.ndarray]) -> float:
    """Share of the clips that are covered, from each clip's found boxes (F, 4). Peekaboo's paper, section 5.

    Raises ValueError when there are no clips.
    """
    flags = [covered(found) for found in clips]
    if not flags:
        raise ValueError("coverage needs at least one clip, got none")
    return float(np.mean(flags))


@dataclass(frozen=True)
class BoxScores:
    """One clip's measures, each as its function defines it."""

    mean_iou: float
    detected_iou: float
    volume_iou: float
    ap50: float
    centre_distance: float
    penalised_distance: float
    covered: bool


def score_boxes(found: np.ndarray, target: np.ndarray, *, frame: tuple[int, int]) -> BoxScores:
    """All of a clip's measures. found, target: (F, 4); frame: (height, width)."""
    pair = (found, target)
    return BoxScores(
        mean_iou(*pair),
        detected_iou(*pair),
        volume_iou(*pair),
        ap50(*pair),
        centre_distance(*pair, frame=frame),
        penalised_distance(*pair, frame=frame),
        covered(found),
    )
