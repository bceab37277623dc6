"""Frames to scaled latents and back through an autoencoder that packs time as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.sizes import Length
from vxedit.backbones.tiles import Runs
from vxedit.errors import UsageError


@dataclass(frozen=True)
class VideoVae:
    """An autoencoder of clips (B, 3, F, H, W) in [-1, 1], as diffusers has them. `cell`: pixels a latent cell is wide;
    latents are (what it encodes - `mean`) * `scale`, numbers or tensors that broadcast to (1, C, f, h, w)."""

    vae: Any
    length: Length
    cell: int
    mean: Tensor | float
    scale: Tensor | float

    def modules(self) -> tuple[Any, ...]:
        """As Codec."""
        return (self.vae.module if isinstance(self.vae, Runs) else self.vae,)

    @torch.no_grad()
    def encode(self, frames: np.ndarray) -> Tensor:
        """uint8 (F, H, W, 3) to latents float32 (1, C, f, h, w): the posterior's mean, scaled. The last frame is
        repeated up to a length that the autoencoder takes. Raises UsageError where H or W isn't a multiple of `cell`.
        """
        pixels = self._pixels(frames)
        coded = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist.mode().float()
        mean, scale = (_beside(coded, one) for one in (self.mean, self.scale))
        return ((coded - mean) * scale).contiguous()

    @torch.no_grad()
    def decode(self, latents: Tensor, frames: int, **options: Any) -> np.ndarray:
        """Latents (1, C, f, h, w) to uint8 (frames, H, W, 3), rounded; `options` go to the autoencoder."""
        if latents.ndim != 5 or latents.shape[0] != 1 or latents.shape[2] != self.length.latents(frames):
            wanted = self.length.latents(frames)
            raise ValueError(f"latents for {frames} frames are (1, C, {wanted}, h, w), got {tuple(latents.shape)}")
        coded = latents.float() / _beside(latents, self.scale) + _beside(latents, self.mean)
        made = self.vae.decode(coded.to(self.vae.device, self.vae.dtype), **options).sample[0, :, :frames].float()
        return ((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()

    def _pixels(self, frames: np.ndarray) -> Tensor:
        return clip_tensor(frames, self.length.legal(len(frames)), self.cell)


def _beside(latents: Tensor, one: Tensor | float) -> Tensor | float:
    return one.to(latents.device) if isinstance(one, Tensor) else one


def clip_tensor(frames: np.ndarray, length: int, cell: int) -> Tensor:
    """uint8 (F, H, W, 3) as float32 (1, 3, length, H, W) in [-1, 1], the last frame repeated up to `length`. Raises
    UsageError where H or W isn't a multiple of `cell`."""
    count, height, width, _ = frames.shape
    if height % cell or width % cell:
        raise UsageError(
            f"frames are {width}x{height}, this model's autoencoder needs multiples of {cell}: resize them"
        )
    filled = np.concatenate([frames, np.repeat(frames[-1:], length - count, 0)])
    return torch.from_numpy(np.ascontiguousarray(filled.transpose(3, 0, 1, 2)))[None].float() / 127.5 - 1
