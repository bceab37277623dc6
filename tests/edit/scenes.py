"""Rendered clips under a camera and along a track that a test can say."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from vxedit.edit.locate import Located, mask_boxes
from vxedit.render.scene import Rendered, random_scene, render


def clip(
    name: str,
    place: str,
    *,
    frames: int = 5,
    size: int = 96,
    start: tuple[float, float] = (0.3, 0.4),
    end: tuple[float, float] = (0.6, 0.6),
    pan: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> Rendered:
    """One object from centre `start` to `end` over a background, the camera panning by `pan` in all; the light stands
    still."""
    scene = random_scene(seed, frames=frames, size=size, split="test", actors=1, name=name, place=place)
    time = np.linspace(0, 1, frames)[:, None]
    old, centres = scene.actors[0], np.array(start) + time * (np.array(end) - start)
    steady = replace(old, centres=centres, sizes=np.repeat(old.sizes.mean(0)[None], frames, 0), angles=np.zeros(frames))
    camera, light = (time - 0.5) * np.array(pan), np.zeros((frames, 2))
    return render(replace(scene, actors=(steady,), pan=camera, zoom=np.ones(frames), glow=light, held_out=False))


def grown(masks: np.ndarray, pixels: int) -> np.ndarray:
    side = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return np.stack([cv2.dilate(mask.astype(np.uint8), side) for mask in masks]).astype(bool)


def located(masks: np.ndarray) -> Located:
    """Masks bool (F, H, W) as an object that was found, its reach no more than they are."""
    return Located(masks, mask_boxes(masks), masks)


def mask_iou(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """One a frame, (F,)."""
    return (found & truth).sum((1, 2)) / (found | truth).sum((1, 2))


def box_iou(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """One a frame, (F,), of boxes (F, 4) xyxy."""
    sides = np.minimum(found[:, 2:], truth[:, 2:]) - np.maximum(found[:, :2], truth[:, :2])
    common = np.clip(sides, 0, None).prod(1)
    return common / ((found[:, 2:] - found[:, :2]).prod(1) + (truth[:, 2:] - truth[:, :2]).prod(1) - common)
