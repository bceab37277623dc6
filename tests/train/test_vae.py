"""The autoencoder's builder and its figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vxedit.train.vae import LATENT_CHANNELS, Crops, build_vae, reconstruction_psnr, to_tensor


def test_eight_times_smaller_and_back() -> None:
    vae = build_vae()
    with torch.no_grad():
        latents = vae.encode(torch.zeros(2, 3, 64, 48)).latent
        assert latents.shape == (2, LATENT_CHANNELS, 8, 6)
        assert vae.decode(latents).sample.shape == (2, 3, 64, 48)
    assert 2e6 < sum(p.numel() for p in vae.parameters()) < 6e6


def test_pictures_become_minus_one_to_one() -> None:
    pictures = np.zeros((1, 4, 6, 3), np.uint8)
    pictures[0, 1, 2] = 255, 51, 0
    found = to_tensor(pictures)
    assert found.shape == (1, 3, 4, 6)
    assert found[0, :, 1, 2].tolist() == pytest.approx([1.0, -0.6, -1.0])


def test_crops_are_drawn_and_photographed() -> None:
    crops = Crops(0, clips=1, photos=2)
    batch = crops.batch(5, side=64)
    assert batch.shape == (5, 3, 64, 64) and batch.min() >= -1 and batch.max() <= 1
    assert not torch.equal(crops.batch(5), batch)


class Off(nn.Module):
    """An autoencoder that is off by a given number of grey levels and beyond the range where it can be."""

    def __init__(self, levels: float) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels))

    def encode(self, x: Tensor) -> Off:
        self.latent = x
        return self

    def decode(self, z: Tensor) -> Off:
        self.sample = z + self.levels / 127.5
        return self


def test_psnr_is_of_eight_bit_pictures() -> None:
    grey = np.full((3, 16, 16, 3), 100, np.uint8)
    assert reconstruction_psnr(Off(10.0), grey) == pytest.approx(20 * np.log10(25.5), abs=1e-3)
    assert reconstruction_psnr(Off(0.4), grey) == pytest.approx(100)  # rounded away; the best that is told
    white = np.full((3, 16, 16, 3), 255, np.uint8)
    assert reconstruction_psnr(Off(10.0), white) == pytest.approx(100)  # clipped
