"""What moves with the object is the object's: a tail, a leaf or a flame whose colours the cut took for the
background's."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from vxedit.edit.locate import Located, filled, grown
from vxedit.edit.refine import camera_of, touching
from vxedit.edit.steady import middle, object_motion

OFFSETS = (-6, -4, -2, 2, 4, 6)
"""The frames to either side that a frame is compared with."""

APART = 2.0
"""Pixels of a frame 128 wide by which object and camera must have moved apart between two frames to be told apart."""

BETTER = 12.0
"""Grey levels by which the object's motion must explain a pixel better than the camera's."""

NEAR, RIM, BEYOND = 12.0, 1.0, 4.0
"""Pixels of a frame 128 wide: how far from the mask a part may be, the rim in which object and background mix, and how
far a part must reach to be one and not a wider rim."""

LEAST = 4.0
"""How much of a part must lie beyond that, in pixels of a frame 128 wide."""


def with_comoving(frames: np.ndarray, found: Located) -> Located:
    """The object with the parts beside it, in frames uint8 (F, H, W, 3), that move as it does and not as the camera.

    A pixel is taken along the object's motion and along the camera's into frames a little earlier and later; where it
    looks the same along the first alone, it is the object's. Nothing is said where the two motions are one.
    """
    camera, moves = camera_of(frames, found), object_motion(frames, found.masks)
    unit = frames.shape[2] / 128
    free = ~np.stack([grown(mask, 2 * unit) for mask in found.masks])
    masks = found.masks.copy()
    for i, mask in enumerate(found.masks):
        if mask.any():
            near = grown(mask, NEAR * unit) & ~mask
            near[near] = _better(frames, moves, camera, free, i, middle(mask), near) > BETTER
            masks[i] = _with_parts(mask, near, unit)
    return replace(found.with_masks(masks), camera=camera)


def _with_parts(mask: np.ndarray, comoving: np.ndarray, unit: float) -> np.ndarray:
    """The mask (H, W) bool with those pieces of the `comoving` pixels beside it that are parts and not a wider rim;
    `unit`: the pixels that are one of a frame 128 wide."""
    beyond, rim = ~grown(mask, BEYOND * unit), grown(mask, RIM * unit)
    count, labels = cv2.connectedComponents((comoving & ~rim).astype(np.uint8), connectivity=4)
    size = np.bincount(labels[beyond], minlength=count)
    parts = (labels > 0) & (size >= LEAST * unit**2)[labels]
    return filled(touching(mask | (comoving & grown(parts, (RIM + 1) * unit)), mask))


def _better(
    frames: np.ndarray,
    moves: np.ndarray,
    camera: np.ndarray,
    free: np.ndarray,
    i: int,
    centre: np.ndarray,
    near: np.ndarray,
) -> np.ndarray:
    """By how many grey levels the object's motion explains the pixels `near` (H, W) better than the camera's, (P,): the
    median of its errors over the frames compared with, against the lower quartile of the camera's, since what the
    object uncovers looks new along the camera's too. `free` (F, H, W) bool: where the object is not; `centre` (2,): its
    middle in frame i. Minus infinity where fewer than two frames tell."""
    own, background = [], []
    point, everywhere = np.append(centre, 1), np.ones_like(near)
    for j in (i + offset for offset in OFFSETS if 0 <= i + offset < len(frames)):
        along, beside = (maps[j] @ np.linalg.inv(maps[i]) for maps in (moves, camera))
        if np.hypot(*(along @ point - beside @ point)[:2]) < APART * frames.shape[2] / 128:
            continue
        own.append(_error(frames[i], frames[j], everywhere, along)[near])
        background.append(_error(frames[i], frames[j], free[j], beside)[near])
    if len(own) < 2:
        return np.full(int(near.sum()), -np.inf)
    return _ranked(background, 0.25) - _ranked(own, 0.5)


def _error(frame: np.ndarray, other: np.ndarray, shown: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """How far frame uint8 (H, W, 3) is from what the other shows where `warp` (3, 3) leads, the mean over 3 x 3 pixels,
    in grey levels; NaN where that is outside or not `shown` (H, W) there."""
    height, width = frame.shape[:2]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    view = cv2.warpAffine(other, warp[:2], (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpAffine(shown.astype(np.float32), warp[:2], (width, height), flags=how, borderValue=0)
    apart = cv2.blur(cv2.absdiff(frame, view).max(-1).astype(np.float32), (3, 3))
    return np.where(seen > 0.99, apart, np.nan)


def _ranked(errors: list[np.ndarray], share: float) -> np.ndarray:
    """The error at `share` of the ranks, of those that are known; NaN where none is."""
    ordered = np.sort(np.stack(errors), 0)  # what isn't known comes last
    known = (~np.isnan(ordered)).sum(0)
    return np.take_along_axis(ordered, np.round(share * np.maximum(known - 1, 0)).astype(int)[None], 0)[0]
