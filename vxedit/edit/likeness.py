"""Energies that keep the object what it was: there at all, of its size, its shape and its looks.

Maps A are probabilities (B, f, h, w) >= 0, A~ = normalised(A); every energy is one number a frame, (B, f). A flat map
has A~ = 0 and pulls nowhere.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.edit.energy import SHARPNESS, normalised


def presence_energy(maps: Tensor) -> Tensor:
    """E = 1 - max G(A), (B, f): some cell, with its neighbours, looks at the word (Attend-and-Excite, Chefer et al.
    2023, arXiv 2301.13826).

    G is a 3 x 3 Gaussian of standard deviation 0.5; beyond the border the map goes on as it is there.
    """
    side = math.exp(-2)  # exp(-1 / (2 0.5^2))
    line = maps.new_tensor([side, 1, side]) / (1 + 2 * side)
    frames = F.pad(maps, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]  # (B f, 1, h + 2, w + 2)
    smooth = F.conv2d(frames, torch.outer(line, line)[None, None])
    return 1 - smooth.amax((-3, -2, -1)).view(maps.shape[:2])


def size(maps: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """mean A~, the share of the frame that the object fills, (B, f) (self-guidance, Epstein et al. 2023,
    arXiv 2306.00986)."""
    return normalised(maps, sharpness).mean((-2, -1))


def size_energy(maps: Tensor, sizes: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """E = (size(A) - s)^2, (B, f), for sizes s (f,) as shares of the frame (self-guidance, Epstein et al. 2023,
    arXiv 2306.00986; squared, which is smooth where it is reached)."""
    return (size(maps, sharpness) - sizes).square()


def shape_energy(maps: Tensor, shape: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """E = mean |A~ - S|, (B, f), for the shape S (f, h, w) in [0, 1] (self-guidance, Epstein et al. 2023,
    arXiv 2306.00986). Absolute values: where too much and too little balance, it is not 0."""
    return (normalised(maps, sharpness) - shape).abs().mean((-2, -1))


def appearance(maps: Tensor, features: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """sum(A~ Psi) / sum A~, what the object looks like to the network: features Psi (B, f, h, w, C) to (B, f, C)
    (self-guidance, Epstein et al. 2023, arXiv 2306.00986).

    A~ is taken as given: the gradient changes what is there, not where the word looks. 0 for a flat map.
    """
    weight = normalised(maps.detach(), sharpness)[..., None]
    return (weight * features).sum((-3, -2)) / weight.sum((-3, -2)).clamp_min(1e-12)


def appearance_energy(maps: Tensor, features: Tensor, source: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """E = mean over channels |appearance(A, Psi) - a|, (B, f), for the source's a (f, C) (self-guidance, Epstein et al.
    2023, arXiv 2306.00986)."""
    return (appearance(maps, features, sharpness) - source).abs().mean(-1)


def carried(maps: Tensor, sources: np.ndarray, targets: np.ndarray) -> Tensor:
    """Maps (f, h, w) as they would be with what is in boxes `sources` in boxes `targets`, (f, 4) xyxy in [0, 1] each:
    the target's point p shows the source's q = s + (p - t) (size of s / size of t), bilinearly; 0 from beyond the
    frame."""
    scale = (sources[:, 2:] - sources[:, :2]) / np.maximum(targets[:, 2:] - targets[:, :2], 1e-6)
    # grid_sample's coordinates are u = 2 p - 1
    offset = 2 * (sources[:, :2] - scale * targets[:, :2]) + scale - 1
    theta = np.zeros((len(sources), 2, 3))
    theta[:, [0, 1], [0, 1]], theta[:, :, 2] = scale, offset
    frames = maps[:, None]  # (f, 1, h, w)
    grid = F.affine_grid(torch.from_numpy(theta).to(maps), list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]
