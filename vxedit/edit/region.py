"""Which part of the frame an edit may touch, in pixels and in latent cells."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.edit.locate import grown


@dataclass(frozen=True)
class Region:
    """An edit's places, in pixels, float32 (F, H, W) in [0, 1]: the object's `source` and `target` cover, what it
    `vacated`, and `alpha`, how much of the result is taken from the edit: 1 in the edit region, falling to 0 over a
    narrow seam."""

    source: np.ndarray
    target: np.ndarray
    vacated: np.ndarray
    alpha: np.ndarray


def region_of(source: np.ndarray, target: np.ndarray, *, margin: int, seam: int) -> Region:
    """The places of an edit from the object's cover before and after, (F, H, W) in [0, 1].

    The edit region is their union, grown by `margin` pixels; over `seam` pixels more it gives way to the source.
    """
    source, target = source.astype(np.float32), target.astype(np.float32)
    union = np.maximum(source, target) > 0.05
    core = np.stack([grown(frame, margin) for frame in union]).astype(np.uint8)
    distance = np.stack([cv2.distanceTransform(1 - frame, cv2.DIST_L2, 5) for frame in core])
    alpha = np.clip(1 - distance / max(seam, 1e-3), 0, 1).astype(np.float32)
    return Region(source, target, np.clip(source - target, 0, 1), alpha)


def to_cells(mask: np.ndarray, height: int, width: int) -> Tensor:
    """A pixel mask (F, H, W) as the share of each latent cell that it covers: (F, height, width)."""
    return F.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(mask, np.float32))[:, None], (height, width))[
        :, 0
    ]


def touched_cells(mask: np.ndarray, height: int, width: int, *, grow: int = 0) -> Tensor:
    """The latent cells that a pixel mask touches at all, grown by `grow` cells: (F, height, width), 0 or 1."""
    touched = (
        F.adaptive_max_pool2d(torch.from_numpy(np.ascontiguousarray(mask, np.float32))[:, None], (height, width)) > 0.01
    ).float()
    if grow:
        touched = F.max_pool2d(touched, 2 * grow + 1, 1, grow)
    return touched[:, 0]
