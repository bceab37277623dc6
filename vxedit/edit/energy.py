"""Energies of where a word's attention lies: zero when the object is where its boxes say.

Maps A are probabilities (B, f, h, w) >= 0, M a region (f, h, w) in [0, 1]; every energy is one number a frame, (B, f),
and every sum, mean and maximum is over a frame's cells. A map that is flat or zero prefers no place: its energies and
their gradients are finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SHARPNESS = 20.0
"""s of `normalised`, the value of Motamed et al. 2024 (arXiv 2404.05519)."""


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


def union(boxes: Sequence[np.ndarray], height: int, width: int) -> Tensor:
    """How much of each grid cell is covered by any of the boxes, (F, 4) each and at least one: (F, height, width).

    Exact also inside a cell, by inclusion and exclusion: |a or R| = |a| + |R| - |a and R|, and boxes meet in boxes.
    """
    first, *rest = boxes
    cover = rasterise(first, height, width)
    if not rest:
        return cover
    meets = [np.hstack([np.maximum(first[:, :2], b[:, :2]), np.minimum(first[:, 2:], b[:, 2:])]) for b in rest]
    meets = [meet for meet in meets if (meet[:, 2:] > meet[:, :2]).all(1).any()]
    common = union(meets, height, width) if meets else torch.zeros_like(cover)
    return (cover + union(rest, height, width) - common).clamp(0, 1)


def inside_share(maps: Tensor, region: Tensor) -> Tensor:
    """The share of a map's mass that lies in the region: maps (B, f, h, w), region (f, h, w) in [0, 1] to (B, f)."""
    return (maps * region).sum((-2, -1)) / maps.sum((-2, -1)).clamp_min(1e-12)


def box_energy(maps: Tensor, region: Tensor) -> Tensor:
    """E = (1 - sum(A M) / sum(A))^2 for every frame, (B, f) (layout guidance, Chen et al. 2024, eq. 4)."""
    return (1 - inside_share(maps, region)).square()


def leak_energy(maps: Tensor, elsewhere: Tensor) -> Tensor:
    """E = (sum(A M') / sum(A))^2, (B, f): the attention that a word leaks to the places M' of others.

    `elsewhere` M' (f, h, w) in [0, 1]: what of the other objects' boxes does not belong to this one. The leakage is
    that of Bounded Attention (Dahary et al. 2024, arXiv 2403.16990); the form is the box energy's (Chen et al. 2024,
    arXiv 2304.03373) for a place to keep out of.
    """
    return inside_share(maps, elsewhere).square()


def normalised(maps: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """A~ = n(sigmoid(s (n(A) - 0.5))), n the min-max scaling of one frame to 0..1 (self-guidance, Epstein et al. 2023,
    arXiv 2306.00986): (B, f, h, w) in [0, 1].

    `sharpness` s > 0: how nearly A~ is 0 and 1 only. A map that is flat to six digits is 0 everywhere, without a
    gradient.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    spread = high - low
    told_apart = spread > 1e-6 * high + 1e-12
    scaled = torch.where(told_apart, (maps - low) / torch.where(told_apart, spread, 1), 0)
    # n(A) has 0 and 1 in every frame, so that the outer n scales between the sigmoid's values at -s/2 and s/2
    least = 1 / (1 + math.exp(sharpness / 2))
    return ((sharpness * (scaled - 0.5)).sigmoid() - least) / math.tanh(sharpness / 4) * told_apart


def drawn_energy(maps: Tensor, target: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """E = mean (T - A~)^2, (B, f), for the map T (f, h, w) in [0, 1] that was drawn (Motamed et al. 2024,
    arXiv 2404.05519)."""
    return (target - normalised(maps, sharpness)).square().mean((-2, -1))


def centroid(maps: Tensor) -> Tensor:
    """sum(p A) / sum(A) over the cells' centres p, as shares of the frame: maps (..., h, w) to x, y (..., 2)
    (self-guidance, Epstein et al. 2023, arXiv 2306.00986). The frame's middle for a map without mass."""
    height, width = maps.shape[-2:]
    ys, xs = ((torch.arange(n, device=maps.device, dtype=maps.dtype) + 0.5) / n for n in (height, width))
    mass = maps.sum((-2, -1))[..., None]
    moments = torch.stack([(maps.sum(-2) * xs).sum(-1), (maps.sum(-1) * ys).sum(-1)], -1)
    there = mass > 1e-12
    return torch.where(there, moments / torch.where(there, mass, 1), 0.5)


def centroid_energy(maps: Tensor, centres: Tensor) -> Tensor:
    """E = |centroid(A) - c|^2, (B, f), for centres c (f, 2) as x, y shares of the frame (self-guidance, Epstein et al.
    2023, arXiv 2306.00986; squared, which is smooth where it is reached)."""
    return (centroid(maps) - centres).square().sum(-1)


def smoothness_energy(maps: Tensor, centres: Tensor) -> Tensor:
    """E_t = |d_(t-1) - 2 d_t + d_(t+1)|^2 with d = centroid(A) - c, (B, f): jitter about the path, not the path's own
    bends (the penalty of Hodrick and Prescott 1997). Centres c (f, 2); 0 in the first and last frame."""
    offset = centroid(maps) - centres
    if offset.shape[-2] < 3:
        return 0 * offset.sum(-1)
    bend = offset[..., :-2, :] - 2 * offset[..., 1:-1, :] + offset[..., 2:, :]
    return F.pad(bend.square().sum(-1), (1, 1))


def topk_energy(maps: Tensor, region: Tensor, share: float = 0.2) -> Tensor:
    """E = (1 - topk(A M)) + topk(A (1 - M)), (B, f): the inner-box and outer-box constraints of BoxDiff (Xie et al.
    2023, arXiv 2307.10816).

    topk is the mean of the k largest; k is `share` (0 to 1) of the region's own cells and of those outside it, at
    least 1; the part of a cell counts as that part, so that k follows a moving box without jumps.
    """
    inner, outer = region.flatten(-2), 1 - region.flatten(-2)
    values = maps.flatten(-2)
    return 1 - _top_mean(values * inner, share * inner.sum(-1)) + _top_mean(values * outer, share * outer.sum(-1))


def _top_mean(values: Tensor, count: Tensor) -> Tensor:
    """The mean of the `count` (f,) largest of values (B, f, N): (B, f)."""
    count = count[:, None].clamp(1, values.shape[-1])
    weight = (count - torch.arange(values.shape[-1], device=values.device)).clamp(0, 1)  # the last one in part
    return (values.sort(-1, descending=True).values * weight).sum(-1) / count[:, 0]


def corner_energy(maps: Tensor, region: Tensor, reach: int = 1) -> Tensor:
    """E = mean |max_y A - max_y M| + mean |max_x A - max_x M|, (B, f), over the columns and rows near the box's edges
    (the corner constraint of BoxDiff, Xie et al. 2023, arXiv 2307.10816).

    Near: the `reach` cells on either side of an edge. The frame's border is no edge; 0 where there is none.
    """
    gaps = []
    for axis in (-2, -1):
        wanted = region.amax(axis)
        near = _beside_edges((wanted > 0).to(maps.dtype), reach)
        gap = ((maps.amax(axis) - wanted).abs() * near).sum(-1) / near.sum(-1).clamp_min(1)
        gaps.append(gap)
    return gaps[0] + gaps[1]


def _beside_edges(inside: Tensor, reach: int) -> Tensor:
    """1 for the cells at most `reach` from where `inside` (f, n), of 0 and 1, changes: what it is grown by, and what
    the outside would be."""
    grown, shrunk = (sign * F.max_pool1d(sign * inside, 2 * reach + 1, 1, reach) for sign in (1, -1))
    return grown - shrunk
