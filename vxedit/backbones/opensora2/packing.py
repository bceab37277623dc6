"""Latents as Open-Sora 2.0's network reads them: one token for a patch of 2x2 cells, and each token's place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PATCH = 2
"""Cells of the latents that a token is wide and high."""


def pack(latents: Tensor) -> Tensor:
    """(B, C, f, h, w) to tokens (B, f h/2 w/2, 4 C): channels vary slowest, then a patch's rows, then its columns.

    Raises ValueError where a side is odd.
    """
    if latents.shape[3] % PATCH or latents.shape[4] % PATCH:
        raise ValueError(f"latents' sides must be even, got {tuple(latents.shape)}")
    patches = latents.unflatten(4, (-1, PATCH)).unflatten(3, (-1, PATCH))  # (B, C, f, h/2, 2, w/2, 2)
    return patches.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)


def unpack(tokens: Tensor, shape: Sequence[int]) -> Tensor:
    """Tokens (B, f h/2 w/2, 4 C) to latents of `shape` (B, C, f, h, w): undoes `pack`."""
    batch, channels, frames, height, width = shape
    patches = tokens.view(batch, frames, height // PATCH, width // PATCH, channels, PATCH, PATCH)
    return patches.permute(0, 4, 1, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)


def places(shape: Sequence[int], device: torch.device) -> Tensor:
    """For every token of latents of `shape` (B, C, f, h, w) its frame, row and column: (f h/2 w/2, 3) float32."""
    frames, height, width = shape[2], shape[3] // PATCH, shape[4] // PATCH
    axes = (torch.arange(count, device=device, dtype=torch.float32) for count in (frames, height, width))
    return torch.cartesian_prod(*axes)
