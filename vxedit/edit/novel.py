"""What has colours that the scene has nowhere else is the object's: green leaves below a violet flower, on a pink
curtain."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from vxedit.edit.locate import Located, filled, grown
from vxedit.edit.refine import touching

NEAREST, FARTHEST, BEYOND = 16.0, 32.0, 4.0
"""How far from the mask a part may reach: as far as the mask is wide, but at least and at most so many pixels of a
frame 128 wide; and how many more it is from there to what is surely background."""

BIN = 4
"""Levels of a colour channel that count as one."""

NOVEL = 28.0
"""How far from every colour of the background a part's are, in levels of CIELAB at 8 bits."""

LEAST, MOST = 16.0, 0.8
"""The least size of a part, in pixels of a frame 128 wide, and the most of all that is added, in shares of the mask."""


def with_novel(frames: np.ndarray, found: Located) -> Located:
    """The object with the parts that touch it, in frames uint8 (F, H, W, 3), whose colours its background lacks.

    A part reaches no farther than the object is wide: what leads on from there is another object, or the scene's, and
    is left; so is all where it would be more than MOST of the object. The background is what is farther away in any
    frame.
    """
    unit = frames.shape[2] / 128
    near = float(np.clip(found.masks.sum((1, 2)).max() ** 0.5, NEAREST * unit, FARTHEST * unit))
    far = ~np.stack([grown(mask, near + BEYOND * unit) for mask in found.extent])
    if not far.any():
        return found
    colours = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2LAB) for frame in frames]) // BIN
    taken = np.zeros((256 // BIN,) * 3, bool)
    taken[tuple(colours[far].T)] = True
    distance = distance_transform_edt(~taken) * BIN
    masks = found.masks.copy()
    for i, mask in enumerate(found.masks):
        if mask.any():
            masks[i] = _with_parts(mask, distance[tuple(np.moveaxis(colours[i], -1, 0))] > NOVEL, near, unit)
    return found.with_masks(masks)


def _with_parts(mask: np.ndarray, novel: np.ndarray, reach: float, unit: float) -> np.ndarray:
    """The mask (H, W) bool with the pieces of the `novel` pixels that touch it and go no farther than `reach`; `unit`:
    the pixels that are one of a frame 128 wide."""
    near, beside = grown(mask, reach), ~grown(mask, unit)
    _, labels = cv2.connectedComponents((novel & ~mask).astype(np.uint8))
    touched = np.unique(labels[grown(mask, 2 * unit)])
    leaving = np.unique(labels[~near])
    size = np.bincount(labels[beside], minlength=labels.max() + 1)
    kept = [k for k in touched if k and k not in leaving and size[k] >= LEAST * unit**2]
    parts = np.isin(labels, kept)
    if not parts.any() or parts.sum() > MOST * mask.sum():
        return mask
    gap = np.ones((2 * max(1, round(unit)) + 1,) * 2, np.uint8)
    bridged = cv2.morphologyEx((mask | parts).astype(np.uint8), cv2.MORPH_CLOSE, gap) > 0
    return filled(touching(bridged, mask))
