"""The clean plate: what stands behind the object, taken from frames in which it stands free, the camera's motion
undone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Plate:
    """`frames` uint8 (F, H, W, 3) without the object; `known` (F, H, W) bool: seen in some frame, not made up."""

    frames: np.ndarray
    known: np.ndarray


def register(frames: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The camera's motion: (F, 3, 3) maps from pixels of frame 0 to the same scene point's pixels in frame i.

    Affine, by maximising the correlation (Evangelidis & Psarakis 2008) of neighbouring frames where neither is `hidden`
    (F, H, W) bool. Where that fails, the camera is taken to stand still between the two frames.
    """
    grey = [cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.0) for frame in frames]
    maps = [np.eye(3)]
    for i in range(1, len(frames)):
        free = (~(hidden[i - 1] | hidden[i])).astype(np.uint8)
        maps.append(_neighbour(grey[i - 1], grey[i], free) @ maps[-1])
    return np.stack(maps)


def _neighbour(before: np.ndarray, after: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The 3 x 3 affine map from pixels of `before` to those of `after`; identity where none explains them better."""
    start, _ = cv2.phaseCorrelate(np.float32(before) * free, np.float32(after) * free)
    best, score = np.eye(3), _match(before, after, np.eye(3), free)
    limit = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-5)
    for shift in ((0.0, 0.0), start):
        warp = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        try:
            _, warp = cv2.findTransformECC(before, after, warp, cv2.MOTION_AFFINE, limit, free, 5)
        except cv2.error:
            continue
        found = np.vstack([warp, [0, 0, 1]]).astype(float)
        value = _match(before, after, found, free)
        if value < score:
            best, score = found, value
    return best


def _match(before: np.ndarray, after: np.ndarray, warp: np.ndarray, free: np.ndarray) -> float:
    """Mean absolute difference where both are free, after the map."""
    height, width = before.shape
    moved = cv2.warpAffine(
        after, warp[:2], (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return float(np.abs(moved.astype(np.float32) - before)[free > 0].mean()) if free.any() else np.inf


def clean_plate(frames: np.ndarray, hidden: np.ndarray, camera: np.ndarray) -> Plate:
    """Frames uint8 (F, H, W, 3) with what is `hidden` (F, H, W) bool replaced by what other frames show there, the
    camera's motion (F, 3, 3), as `register` gives it, undone.

    The nearest frame in time that shows a place gives it, shifted in brightness to agree round the hole; what no frame
    shows is continued from the hole's rim (Telea 2004).
    """
    plates, known = frames.copy(), ~hidden
    for i in range(len(frames)):
        if not hidden[i].any():
            continue
        for j in sorted((j for j in range(len(frames)) if j != i), key=lambda j: abs(j - i)):
            if known[i].all():
                break
            _borrow(plates, known, i, frames[j], ~hidden[j], camera[j] @ np.linalg.inv(camera[i]))
        if not known[i].all():
            plates[i] = cv2.inpaint(plates[i], (~known[i]).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return Plate(plates, known)


def _borrow(
    plates: np.ndarray, known: np.ndarray, i: int, frame: np.ndarray, free: np.ndarray, warp: np.ndarray
) -> None:
    """Fill what plate i still lacks with what another frame shows there; warp (3, 3) maps i's pixels to that
    frame's."""
    height, width = known[i].shape
    inverse = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(free.astype(np.float32), warp[:2], (width, height), flags=inverse, borderValue=0) > 0.99
    gained = seen & ~known[i]
    if not gained.any():
        return
    view = cv2.warpAffine(frame, warp[:2], (width, height), flags=inverse, borderMode=cv2.BORDER_REPLICATE).astype(
        np.float32
    )
    rim = cv2.dilate(gained.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & known[i] & seen
    if rim.sum() >= 12:
        view += (plates[i][rim].astype(np.float32) - view[rim]).mean(0)
    plates[i][gained] = np.clip(view[gained] + 0.5, 0, 255).astype(np.uint8)
    known[i] |= gained


def steadied(frames: np.ndarray, unknown: np.ndarray, camera: np.ndarray, *, reach: int = 2) -> np.ndarray:
    """Frames uint8 (F, H, W, 3) with what is made up of the background, `unknown` (F, H, W) bool, the same from frame
    to frame: the mean over the frames up to `reach` away that make up the same place of the scene, the camera's motion
    (F, 3, 3), as `register` gives it, undone. The rest stays bit for bit."""
    height, width = unknown.shape[1:]
    inverse = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = frames.copy()
    for i in range(len(frames)):
        if not unknown[i].any():
            continue
        total, count = frames[i].astype(np.float32), np.ones((height, width), np.float32)
        for j in (j for j in range(max(0, i - reach), min(len(frames), i + reach + 1)) if j != i):
            warp = (camera[j] @ np.linalg.inv(camera[i]))[:2]
            made = cv2.warpAffine(unknown[j].astype(np.float32), warp, (width, height), flags=inverse) > 0.99
            view = cv2.warpAffine(frames[j].astype(np.float32), warp, (width, height), flags=inverse)
            total[made] += view[made]
            count[made] += 1
        out[i][unknown[i]] = (total[unknown[i]] / count[unknown[i]][:, None] + 0.5).astype(np.uint8)
    return out
