"""Frames to latents and back through Open-Sora 1.2's autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.opensora.chunks import Chunks
from vxedit.backbones.opensora.vae import OpenSoraVAE
from vxedit.backbones.video_vae import clip_tensor


@dataclass(frozen=True)
class OpenSoraCodec:
    """A Codec (vxedit/backbones/transformer.py) over the autoencoder's two stages."""

    vae: OpenSoraVAE

    def modules(self) -> tuple[OpenSoraVAE, ...]:
        """As Codec."""
        return (self.vae,)

    @property
    def length(self) -> Chunks:
        chunk = self.vae.chunk
        return Chunks(first=chunk, step=chunk, factor=self.vae.temporal_vae.config.factor)

    @property
    def cell(self) -> int:
        return self.vae.cell

    def encode(self, frames: np.ndarray) -> Tensor:
        """uint8 (F, H, W, 3) to latents float32 (1, C, f, h, w), the last frame repeated up to whole chunks. Raises
        UsageError where H or W isn't a multiple of `cell`."""
        video = clip_tensor(frames, self.length.legal(len(frames)), self.cell)
        return self.vae.encode(video.to(self.vae.device)).contiguous()

    def decode(self, latents: Tensor, frames: int) -> np.ndarray:
        """Latents (1, C, f, h, w) to uint8 (frames, H, W, 3), rounded."""
        if latents.ndim != 5 or latents.shape[0] != 1 or latents.shape[2] != self.length.latents(frames):
            wanted = self.length.latents(frames)
            raise ValueError(f"latents for {frames} frames are (1, C, {wanted}, h, w), got {tuple(latents.shape)}")
        video = self.vae.decode(latents.float().to(self.vae.device), self.length.legal(frames))[0, :, :frames]
        return ((video + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()
