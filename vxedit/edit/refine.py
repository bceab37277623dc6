"""An object's outline sharpened by what stands behind it: where a frame differs from its clean plate, the object is."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from vxedit.edit.locate import Located, filled, grown
from vxedit.edit.plate import clean_plate, register

APART = 20
"""Grey levels by which a pixel must differ from the plate to be the object's, beyond what light and resampling
explain."""

HIDES = 3.0
"""Pixels of a frame 128 wide round what may be the object that show a rim of it."""


def hidden_by(found: Located, *, margin: float = HIDES) -> np.ndarray:
    """What the object may cover, bool (F, H, W): its reach, grown by `margin` pixels of a frame 128 wide."""
    return np.stack([grown(frame, margin * frame.shape[1] / 128) for frame in found.extent])


def camera_of(frames: np.ndarray, found: Located) -> np.ndarray:
    """The camera's motion (F, 3, 3), as `register` gives it: what is known of it, or seen beside the object."""
    return register(frames, hidden_by(found, margin=8.0)) if found.camera is None else found.camera


def refine(frames: np.ndarray, found: Located, *, rounds: int = 2) -> Located:
    """Add to the masks what a cut by colour left out: pixels near the object, frames uint8 (F, H, W, 3), that differ
    from the plate by more than `APART`, where the plate is known. Keeps what it found of the camera's motion.

    A round sees a latent cell beyond the last: the attention may be strong on an object's core alone.
    """
    for _ in range(rounds):
        found = _refined(frames, found)
    return found


def _refined(frames: np.ndarray, found: Located) -> Located:
    hidden = hidden_by(found, margin=8.0)
    camera = camera_of(frames, found)
    plate = clean_plate(frames, hidden, camera)
    masks = found.masks.copy()
    for i, frame in enumerate(frames):
        apart = cv2.absdiff(frame, plate.frames[i]).max(-1)
        # at an edge the two are mixed: the object's side is where it makes up more than half
        edge = 0.5 * cv2.dilate(apart, np.ones((5, 5), np.uint8))
        differs = (apart > np.maximum(APART, edge)) & plate.known[i] & hidden[i]
        masks[i] = filled(touching(masks[i] | differs, masks[i]))
    return replace(found.with_masks(masks), camera=camera)


def touching(mask: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The connected pieces of a mask (H, W) bool that hold some of `core`, a part of it; none where that is empty."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    return np.isin(labels, np.unique(labels[core]))
