"""Energies over attention maps: zero when the object is where its boxes say."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def rasterise(boxes: np.ndarray, height: int, width: int) -> Tensor:
    """How much of each grid cell a box covers: boxes (F, 4) xyxy in [0, 1] to (F, height, width) in [0, 1].

    By area, never by whole cells: a box a fifth of the frame wide is 1.6 cells of an 8-cell grid.
    """
    columns = _covered(boxes[:, 0], boxes[:, 2], width)
    rows = _covered(boxes[:, 1], boxes[:, 3], height)
    return torch.from_numpy(rows[:, :, None] * columns[:, None, :]).float()


def _covered(low: np.ndarray, high: np.ndarray, cells: int) -> np.ndarray:
    """The share of each of `cells` equal intervals of [0, 1] that [low, high] covers: (F, cells)."""
    edges = np.arange(cells) / cells
    overlap = np.minimum(high[:, None], edges + 1 / cells) - np.maximum(low[:, None], edges)
    return np.clip(overlap * cells, 0, 1)


def inside_share(maps: Tensor, region: Tensor) -> Tensor:
    """The share of a map's mass that lies in the region: maps (B, f, h, w), region (f, h, w) in [0, 1] to (B, f)."""
    return (maps * region).sum((-2, -1)) / maps.sum((-2, -1)).clamp_min(1e-12)


def box_energy(maps: Tensor, region: Tensor) -> Tensor:
    """E = (1 - sum(A M) / sum(A))^2 for every frame, (B, f) (layout guidance, Chen et al. 2024, eq. 4)."""
    return (1 - inside_share(maps, region)).square()
