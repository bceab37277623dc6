"""Large clips through an autoencoder piece by piece, so that what one pass takes is bounded.

Pieces overlap, and one fades into the next. Normalization's statistics are then a piece's, so results differ a little
from one pass's: pieces want the size that a model's authors took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Axis:
    """Pieces along an axis of (B, C, F, H, W): of `length` cells at most, sharing `overlap`; what is run makes each
    cell `grows` cells, or as many into one."""

    dim: int
    length: int
    overlap: int
    grows: float


def faded(run: Run, axis: Axis) -> Run:
    """`run` on overlapping pieces along an axis; over the overlap each fades linearly into the next.

    The last piece ends where the whole does and is as long as the others, however much it then shares.
    """
    dim, fade = axis.dim, int(axis.overlap * axis.grows)
    weights = [1] * (4 - dim)

    def pieces(x: Tensor) -> Tensor:
        whole = run(x.narrow(dim, 0, min(axis.length, x.shape[dim])))
        last = x.shape[dim] - axis.length
        step = axis.length - axis.overlap
        for start in [*range(step, last, step), *([last] if last > 0 else [])]:
            part = run(x.narrow(dim, start, axis.length))
            at = int(start * axis.grows)
            weight = (torch.arange(fade, device=part.device, dtype=part.dtype) / fade).view(-1, *weights)
            old, new = whole.narrow(dim, at, fade), part.narrow(dim, 0, fade)
            rest = part.narrow(dim, fade, part.shape[dim] - fade)
            whole = torch.cat([whole.narrow(dim, 0, at), old + (new - old) * weight, rest], dim=dim)
        return whole

    return pieces


def sharing_a_frame(run: Run, frames: int) -> Run:
    """`run`, of a causal autoencoder, on pieces of at most `frames` frames that share one, which the later piece drops:
    it saw it as its first."""

    def pieces(x: Tensor) -> Tensor:
        starts = range(0, max(1, x.shape[2] - 1), frames - 1)
        parts = [run(x[:, :, start : start + frames]) for start in starts]
        return torch.cat([parts[0], *(part[:, :, 1:] for part in parts[1:])], dim=2)

    return pieces


@dataclass(frozen=True)
class Runs:
    """An autoencoder's module by two functions of its own, as VideoVae calls those of diffusers. `to_mean`: pixels
    (B, 3, F, H, W) to the posterior's mean (B, C, f, h, w), `to_pixels` back."""

    module: Any
    to_mean: Run
    to_pixels: Run

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.module.parameters()).dtype

    def encode(self, pixels: Tensor) -> Any:
        """`.latent_dist.mode()` is the mean."""
        mean = self.to_mean(pixels)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: mean))

    def decode(self, latents: Tensor) -> Any:
        """`.sample` are the pixels."""
        return SimpleNamespace(sample=self.to_pixels(latents))
