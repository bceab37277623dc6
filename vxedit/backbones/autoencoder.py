"""Frames to scaled latents and back, a few frames at a time, for autoencoders that leave time alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.sizes import pixels_a_cell
from vxedit.errors import UsageError

PIXELS_AT_ONCE = 2**20
"""Bounds the memory of one pass: 16 frames of 256x256, or 5 of 320x576."""


@torch.no_grad()
def encode(vae: Any, frames: np.ndarray, at_once: int | None = None) -> Tensor:
    """uint8 (F, H, W, 3) to latents float32 (1, C, F, h, w): the posterior's mean where there is one, scaled.

    `at_once`: pixels of one pass, a frame at least; None: PIXELS_AT_ONCE.

    Raises UsageError where H or W isn't a multiple of the autoencoder's factor.
    """
    count, height, width, _ = frames.shape
    cell = pixels_a_cell(vae.config)
    if height % cell or width % cell:
        raise UsageError(
            f"frames are {width}x{height}, this model's autoencoder needs multiples of {cell}: resize them"
        )
    parts = []
    few = _at_once(height, width, at_once)
    for start in range(0, count, few):
        pixels = torch.from_numpy(np.ascontiguousarray(frames[start : start + few]))
        pixels = pixels.to(vae.device, vae.dtype).permute(0, 3, 1, 2) / 127.5 - 1  # (n, 3, H, W) in [-1, 1]
        coded = vae.encode(pixels)
        parts.append(coded.latent_dist.mean if hasattr(coded, "latent_dist") else coded.latent)
    latents = torch.cat(parts) * vae.config.scaling_factor  # (F, C, h, w)
    return latents.float().transpose(0, 1)[None].contiguous()


@torch.no_grad()
def decode(vae: Any, latents: Tensor, at_once: int | None = None) -> np.ndarray:
    """Latents (1, C, F, h, w) to uint8 (F, H, W, 3), rounded; `at_once` as for `encode`."""
    if latents.ndim != 5 or latents.shape[0] != 1:
        raise ValueError(f"latents must be (1, C, F, h, w), got {tuple(latents.shape)}")
    cells = latents[0].transpose(0, 1).to(vae.device, vae.dtype) / vae.config.scaling_factor  # (F, C, h, w)
    cell = pixels_a_cell(vae.config)
    parts = []
    for few in cells.split(_at_once(cells.shape[2] * cell, cells.shape[3] * cell, at_once)):
        pixels = (vae.decode(few).sample.float() + 1) * 127.5
        parts.append(pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu())
    return torch.cat(parts).numpy()


def _at_once(height: int, width: int, most: int | None) -> int:
    return max(1, (PIXELS_AT_ONCE if most is None else most) // (height * width))
