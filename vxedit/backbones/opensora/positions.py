"""Where a token stands, and when: the fixed waves that STDiT3 adds to its tokens or turns them by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

PERIOD = 10000.0


def rates(count: int, device: torch.device) -> Tensor:
    """The `count` angular rates 10000^(-i / count), float32, fastest first (Vaswani et al. 2017, arXiv 1706.03762)."""
    return torch.exp(-math.log(PERIOD) / count * torch.arange(count, dtype=torch.float32, device=device))


def waves(values: Tensor, count: int) -> Tensor:
    """Cosines, then sines, of `values` (B,) at `count` rates each: float32 (B, 2 * count)."""
    angles = values.float()[:, None] * rates(count, values.device)
    return torch.cat((angles.cos(), angles.sin()), -1)


def grid_waves(height: int, width: int, dim: int, *, zoom: float, like: Tensor) -> Tensor:
    """What is added to the tokens of a frame of `height` x `width`: (height * width, dim) in `like`'s dtype and device.

    The first half is of the column, the second of the row, each sines, then cosines. `zoom` is the frame's size over
    the one at which a grid's cells count as 1. `dim` is a multiple of 4.
    """
    # The authors round the rates to the network's dtype, when they train as when they sample.
    pace = rates(dim // 4, like.device).to(like.dtype).float()
    base = round(math.sqrt(height * width))
    halves = []
    for along, cells in ((1, width), (0, height)):
        places = torch.arange(cells, device=like.device) / zoom * (base / cells)
        angles = places[:, None] * pace
        wave = torch.cat((angles.sin(), angles.cos()), -1)  # (cells, dim / 2)
        wave = wave[None] if along else wave[:, None]
        halves.append(wave.expand(height, width, -1))
    return torch.cat(halves, -1).flatten(0, 1).to(like.dtype)


def rotations(frames: int, pace: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (frames, d / 2), float32, that turn a head's pairs of features at rates `pace` (d / 2,)."""
    angles = torch.arange(frames, device=pace.device)[:, None] * pace.float()
    return angles.cos(), angles.sin()


def rotate(vectors: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn neighbouring pairs of the features of (..., frames, d) by `rotations` (Su et al. 2021, arXiv 2104.09864)."""
    cos, sin = rotation
    even, odd = vectors.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1)
    return turned.flatten(-2).to(vectors.dtype)
