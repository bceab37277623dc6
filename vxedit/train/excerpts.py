"""What a step of training sees: excerpts of encoded clips."""

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
    """What one step sees: `count` excerpts of `frames` frames (1: the temporal layers are skipped)."""

    frames: int
    count: int


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
    return Excerpts(pick, latents.transpose(1, 2), coverage)
