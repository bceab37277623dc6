"""How much of the object is still to be seen where it was, in clips whose clean background nobody knows."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vxedit.score.background import boxes_mask

LEAST_PIXELS = 30  # fewer vacated pixels than this say little
_FAINT = 9.0  # mean squared levels between object and background below which a remnant could not be seen
_WORK = 128  # larger frames are compared at this geometric mean of their sides
_RIM = 2  # pixels round the object's box that may hold some of it
_SWEEPS = 20


def residue(
    edited: np.ndarray,
    source: np.ndarray,
    *,
    source_boxes: np.ndarray,
    target_boxes: np.ndarray,
    others: Sequence[np.ndarray] = (),
) -> float:
    """Share of the object that is left in the vacated part of its box: 1, nothing changed there; 0, it became unlike.

    edited, source: uint8 (F, H, W, 3). source_boxes, target_boxes: (F, 4) xyxy in [0, 1], the object's place before and
    after; NaN where there is none. others: boxes (F, 4) of what else may be there now, such as another moved object.

    With e, s and b the edited frame, the source and the background behind the object, per frame

        residue = 1 - |e - s| / |b - s|, cut to [0, 1],

    the norms over the pixels of the source box outside all the boxes of the others and the target: how much nearer to
    the source the edit is than the background would be. A blend of the two, alpha s + (1 - alpha) b, gives alpha.
    A correlation alone would not do: over a plain background the faintest remnant correlates fully with the object.

    b is not known. It is taken from around the source box in the same frame, grown smoothly across it; the texture
    that it lacks makes the true background farther from the source than b is, which the cut at 0 takes away, so that a
    clean edit measures near 0. Where truth is known, `vxedit.score.ghost` is exact.

    Mean over the frames with at least 30 vacated pixels in which the source differs from b; NaN when there is none, as
    when nothing moved. Frames of more than 128x128 pixels are averaged down to that area first.
    """
    counts = {len(edited), len(source), len(source_boxes), len(target_boxes), *map(len, others)}
    if len(counts) > 1 or edited.shape != source.shape:
        raise ValueError(f"residue needs two clips of one shape and a box a frame, got {edited.shape}, {source.shape}")
    height, width = _size(*source.shape[1:3])
    before = boxes_mask(source_boxes, height, width)
    vacated = before & ~boxes_mask(target_boxes, height, width)
    for boxes in others:
        vacated &= ~boxes_mask(boxes, height, width)
    around = boxes_mask(source_boxes, height, width, margin=_RIM)
    shares = []
    for now, then, hole, region in zip(edited, source, around, vacated, strict=True):
        if region.sum() < LEAST_PIXELS or hole.all():
            continue
        e, s = (cv2.resize(v, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) for v in (now, then))
        shown = (_grown(s, hole) - s)[region]
        power = float((shown**2).sum(dtype=np.float64))
        if power >= _FAINT * shown.size:
            left = float(((e - s)[region] ** 2).sum(dtype=np.float64))
            shares.append(float(np.clip(1 - np.sqrt(left / power), 0, 1)))
    return float(np.mean(shares)) if shares else float("nan")


def _size(height: int, width: int) -> tuple[int, int]:
    shrink = min(1.0, _WORK / float(np.sqrt(height * width)))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _grown(frame: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The frame float32 (H, W, 3) with the hole bool (H, W) filled from around it: coarse to fine, then evened out as
    heat spreads from its rim."""
    filled = _pulled(frame, (~hole).astype(np.float32))
    for _ in range(_SWEEPS):
        filled = np.where(hole[..., None], cv2.blur(filled, (3, 3)), filled)
    return filled


def _pulled(frame: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What is not known (weight 0) is taken from the frame at half its size, and there from a quarter, and so on."""
    height, width = known.shape
    if known.all():
        return frame
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(frame * known[..., None], half, interpolation=cv2.INTER_AREA)
    mean = summed / np.maximum(weight, 1e-6)[..., None]
    coarse = _pulled(mean, (weight > 0).astype(np.float32)) if max(half) > 1 else mean
    return np.where(known[..., None] > 0, frame, cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
