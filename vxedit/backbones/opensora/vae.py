"""Open-Sora 1.2's autoencoder: frames one by one through an image autoencoder, then four to one along time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vxedit.backbones.opensora.temporal_vae import TemporalConfig, TemporalVAE
from vxedit.errors import ModelError

SPATIAL_SCALE = 0.18215
"""What the image stage's latents are multiplied by: that of Stable Diffusion's first autoencoders, not of SDXL's, whose
architecture it has."""

SPATIAL: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 512,
}
"""The image stage as published. The file's own config.json only names the model that it was taken from."""

CHUNK = 17
PIXELS_AT_ONCE = 2**20
"""Bounds the memory of one pass of the image stage: 8 frames of 288x432."""


class SpatialVAE(nn.Module):
    """The image stage: frames (n, 3, H, W) in [-1, 1] to scaled means (n, 4, H / 8, W / 8), and back."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        from diffusers import AutoencoderKL

        known = inspect.signature(AutoencoderKL.__init__).parameters
        self.module = AutoencoderKL(**{**SPATIAL, **{name: config[name] for name in config if name in known}})
        self.cell = 2 ** (len(self.module.config.block_out_channels) - 1)

    def encode(self, frames: Tensor) -> Tensor:
        few = _at_once(frames.shape[2] * frames.shape[3])
        return torch.cat([self.module.encode(part).latent_dist.mean for part in frames.split(few)]) * SPATIAL_SCALE

    def decode(self, latents: Tensor) -> Tensor:
        few = _at_once(latents.shape[2] * latents.shape[3] * self.cell**2)
        return torch.cat([self.module.decode(part).sample for part in (latents / SPATIAL_SCALE).split(few)])


class OpenSoraVAE(nn.Module):
    """Both stages. Loads the state dict of hpcai-tech/OpenSora-VAE-v1.2 strictly.

    Time goes in chunks of `chunk` frames, 17 as published, of 5 latents; the first latent of a chunk is of one frame
    alone, and no chunk sees another.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.spatial_vae = SpatialVAE(config.get("vae_2d") or {})
        self.temporal_vae = TemporalVAE(TemporalConfig.from_dict(config.get("vae_temporal") or {}))
        self.chunk = int(config.get("micro_frame_size") or CHUNK)
        channels = self.temporal_vae.config.embed_dim
        for name, default in (("scale", 1.0), ("shift", 0.0)):
            values = torch.tensor(config.get(name, default), dtype=torch.float32)
            if values.numel() not in (1, channels):
                raise ModelError(
                    f"{name} in config.json has {values.numel()} numbers for {channels} channels: get the model's "
                    "files again"
                )
            self.register_buffer(name, values.view(1, -1, 1, 1, 1) if values.ndim else values)

    @property
    def cell(self) -> int:
        """Pixels, each way, that one latent stands for."""
        return self.spatial_vae.cell

    @property
    def device(self) -> torch.device:
        return self.scale.device

    def latent_frames(self, frames: int) -> int:
        """How many latents along time `frames` frames have."""
        counts = (min(self.chunk, frames - start) for start in range(0, frames, self.chunk))
        return sum(-(-count // self.temporal_vae.config.factor) for count in counts)

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, F, H, W) in [-1, 1], sides multiples of `cell`, to normalised means (B, C, f, h, w)."""
        frames = _by_frame(self.spatial_vae.encode, video)
        latents = torch.cat([self.temporal_vae.encode(part) for part in frames.split(self.chunk, 2)], 2)
        return (latents - self.shift) / self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """Latents (B, C, f, h, w) to (B, 3, frames, H, W), about [-1, 1].

        Raises ValueError where `frames` frames have another number of latents.
        """
        if self.latent_frames(frames) != latents.shape[2]:
            raise ValueError(f"{frames} frames have {self.latent_frames(frames)} latents, got {latents.shape[2]}")
        parts = (latents * self.scale + self.shift).split(self.latent_frames(self.chunk), 2)
        counts = [min(self.chunk, frames - start) for start in range(0, frames, self.chunk)]
        decoded = [self.temporal_vae.decode(part, count) for part, count in zip(parts, counts, strict=True)]
        return _by_frame(self.spatial_vae.decode, torch.cat(decoded, 2))


def _by_frame(run: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
    """What `run` makes of the single frames (n, C, h, w) of `video` (B, C, F, h, w), as a video again."""
    return run(video.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(video), -1)).transpose(1, 2)


def _at_once(pixels: int) -> int:
    return max(1, PIXELS_AT_ONCE // pixels)
