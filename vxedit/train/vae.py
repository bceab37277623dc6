"""The embedded model's autoencoder: a small DC-AE (Chen et al. 2024), 8x in space, trained on drawn and photographed
crops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vxedit.render.scene import random_scene, render
from vxedit.train.data import photographs, random_crops
from vxedit.train.loop import StageSettings, run_stage
from vxedit.train.precision import autocast

LATENT_CHANNELS = 32
WIDTHS = (32, 64, 128, 128)
PHOTO_SHARE = 0.4
NOISE = 0.02


def build_vae() -> Any:
    """An untrained AutoencoderDC: residual blocks alone, with space-to-channel shortcuts that carry the linear part."""
    from diffusers import AutoencoderDC

    stages: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        stages |= {
            f"{side}_block_types": "ResBlock",
            f"{side}_block_out_channels": WIDTHS,
            f"{side}_layers_per_block": (2,) * len(WIDTHS),
            f"{side}_qkv_multiscales": ((),) * len(WIDTHS),
        }
    return AutoencoderDC(
        in_channels=3,
        latent_channels=LATENT_CHANNELS,
        attention_head_dim=32,
        upsample_block_type="pixel_shuffle",
        downsample_block_type="pixel_unshuffle",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
        scaling_factor=1.0,
        **stages,
    )


def to_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


class Crops:
    """An endless supply of 64-pixel crops: rendered clips, one of them replaced every few draws, and photographs."""

    def __init__(self, seed: int, *, clips: int = 256, photos: int = 2048) -> None:
        self.rng = np.random.default_rng([seed, 7])
        self.next_seed = 0
        self.clips = np.stack([self._draw() for _ in range(clips)])
        self.photos = photographs(self.rng, photos)

    def _draw(self) -> np.ndarray:
        self.next_seed += 1
        return render(random_scene(1_000_000 + self.next_seed)).frames

    def batch(self, count: int, *, side: int = 64) -> Tensor:
        for _ in range(max(1, count // 32)):
            self.clips[self.rng.integers(len(self.clips))] = self._draw()
        photos = round(count * PHOTO_SHARE)
        frames = self.clips.reshape(-1, *self.clips.shape[2:])
        return to_tensor(
            np.concatenate(
                [
                    random_crops(self.rng, frames, count - photos, side),
                    random_crops(self.rng, self.photos, photos, side),
                ]
            )
        )


def train_vae(
    settings: StageSettings, folder: Path, log: Callable[[str], None], *, device: torch.device, batch: int = 16
) -> Any:
    """Train on L1 + 8 L2 with a little noise on the latents; their overall spread is held near one."""
    torch.manual_seed(0)
    vae = build_vae().to(device, memory_format=torch.channels_last)
    crops = Crops(0)

    def loss(step: int) -> dict[str, Tensor]:
        x = crops.batch(batch).to(device)
        with autocast(device):
            z = vae.encode(x).latent
            spread = z.float().std()
            y = vae.decode(z + NOISE * spread.detach() * torch.randn_like(z)).sample
        error = y.float() - x
        l1, l2 = error.abs().mean(), error.square().mean()
        return {
            "loss": l1 + 8 * l2 + 0.01 * (spread.log()).square(),
            "l1": l1,
            "psnr": -10 * (l2 / 4).log10(),
            "spread": spread,
        }

    average = run_stage(settings, {"vae": vae}, loss, folder, log)
    return average.shadow["vae"]


@torch.no_grad()
def reconstruction_psnr(vae: Any, pictures: np.ndarray) -> float:
    """Mean PSNR in dB over pictures uint8 (N, H, W, 3), after rounding to 8 bits."""
    device = next(vae.parameters()).device
    values = []
    for part in np.array_split(pictures, max(1, len(pictures) // 16)):
        x = to_tensor(part).to(device)
        y = vae.decode(vae.encode(x).latent).sample.clamp(-1, 1)
        error = (((y + 1) * 127.5).round() - (x + 1) * 127.5) / 255
        values.append(-10 * error.square().mean((1, 2, 3)).clamp_min(1e-10).log10())
    return float(torch.cat(values).mean())
