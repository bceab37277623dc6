"""What a step of training sees: excerpts of clips in time, and windows round their objects in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vxedit.train.data import Labels


@dataclass(frozen=True)
class LatentClips:
    """Encoded clips: latents (N, F, C, h, w) float16 and what grounds each clip's words."""

    latents: Tensor
    labels: tuple[Labels, ...]


@dataclass(frozen=True)
class Batch:
    """What one step sees: `count` excerpts of `frames` frames (1: the temporal layers are skipped), whole or each in a
    square `window` of so many cells round an object, at timesteps of `noise`, from the first up to the last.

    Of much noise a window can't tell where in the picture it is, and would teach that there is an object wherever one
    looks; what is where is settled there, by the whole.
    """

    frames: int
    count: int
    window: int | None = None
    noise: tuple[int, int] = (0, 1000)


@dataclass(frozen=True)
class Excerpts:
    """A step's clips: which they are (B,), their latents (B, C, f, h, w) float32 and how much of each cell their first
    two objects cover (B, f, 2, h, w), 0 to 1."""

    clips: np.ndarray
    latents: Tensor
    coverage: Tensor


def draw(data: LatentClips, batch: Batch, rng: np.random.Generator) -> Excerpts:
    """Draw excerpts: clips at random, frames one after the other or every second one, from a random frame on."""
    total, cells = data.latents.shape[1], data.latents.shape[-1]
    pick = rng.integers(len(data.labels), size=batch.count)
    stride = int(rng.integers(1, 3)) if batch.frames * 2 <= total else 1
    first = rng.integers(total - (batch.frames - 1) * stride, size=batch.count)
    when = first[:, None] + np.arange(batch.frames) * stride
    latents = data.latents[torch.from_numpy(pick)[:, None], torch.from_numpy(when)].float()
    coverage = torch.zeros(batch.count, batch.frames, 2, cells, cells)
    for row, (i, w) in enumerate(zip(pick, when, strict=True)):
        known = data.labels[i].coverage[:, w]
        coverage[row, :, : len(known)] = torch.from_numpy(known.astype(np.float32)).transpose(0, 1)
    if batch.window is not None:
        corners = [_corner(one.numpy(), batch.window, rng) for one in coverage]
        latents, coverage = (_windows(x, corners, batch.window) for x in (latents, coverage))
    return Excerpts(pick, latents.transpose(1, 2), coverage)


def _corner(coverage: np.ndarray, window: int, rng: np.random.Generator) -> tuple[int, int]:
    """The top left cell of a window that holds the centre of some object, coverage (f, 2, h, w), in some frame; the
    window's place round it is random."""
    height, width = coverage.shape[2:]
    frame = coverage[rng.integers(len(coverage))]
    seen = np.flatnonzero(frame.sum((1, 2)) > 0)
    spot = frame[rng.choice(seen)] if len(seen) else np.ones((height, width), np.float32)
    rows, columns = spot.sum(1), spot.sum(0)
    centre = (rows @ np.arange(height) / rows.sum(), columns @ np.arange(width) / columns.sum())
    lead = rng.integers(window // 4, window - window // 4, size=2)
    y, x = (
        int(np.clip(round(c) - n, 0, side - window)) for c, n, side in zip(centre, lead, (height, width), strict=True)
    )
    return y, x


def _windows(x: Tensor, corners: list[tuple[int, int]], side: int) -> Tensor:
    return torch.stack([one[..., i : i + side, j : j + side] for one, (i, j) in zip(x, corners, strict=True)])
