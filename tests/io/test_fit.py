"""Sizes, and the way back into the original pixels."""

from __future__ import annotations

import numpy as np
import pytest

from vxedit.io.fit import composite, resize_frames


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_same_size_is_the_same() -> None:
    frames = noise(2, 30, 40, 3)
    assert np.array_equal(resize_frames(frames, 30, 40), frames)


def test_shrinking_averages_areas() -> None:
    frames = noise(2, 24, 32, 3)
    means = frames.reshape(2, 6, 4, 8, 4, 3).mean((2, 4))
    assert np.abs(resize_frames(frames, 6, 8) - means).max() <= 0.5 + 1e-6


def test_enlarging_is_smooth() -> None:
    ramp = np.tile(np.linspace(20, 220, 16).astype(np.uint8)[None, None, :, None], (1, 8, 1, 3))
    wide = resize_frames(ramp, 32, 64)[0, 16, :, 0].astype(int)
    assert (np.diff(wide)[8:-8] > 0).all()  # nearest would stand still, then jump
    assert (
        np.abs(wide[8:-8] - np.interp((np.arange(64) + 0.5) / 4 - 0.5, np.arange(16), ramp[0, 0, :, 0])[8:-8]).max() < 2
    )


def test_one_side_up_the_other_down() -> None:
    stripes = np.zeros((1, 64, 8, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize_frames(stripes, 16, 24).astype(int) - 127.5).max() <= 1  # no moire from the stripes


def test_refused() -> None:
    with pytest.raises(ValueError, match="0x5"):
        resize_frames(noise(1, 8, 8, 3), 5, 0)
    with pytest.raises(ValueError, match="uint8"):
        resize_frames(noise(1, 8, 8, 3).astype(float), 5, 5)


def test_composite_keeps_the_bytes_outside() -> None:
    original, edited = noise(3, 20, 20, 3), noise(3, 20, 20, 3, seed=1)
    alpha = np.zeros((3, 20, 20), np.float32)
    alpha[:, 5:10, 5:10] = 1
    alpha[:, 12, 12] = 0.25
    out = composite(original, edited, alpha)
    assert np.array_equal(out[alpha == 0], original[alpha == 0]) and np.array_equal(out[alpha == 1], edited[alpha == 1])
    between = original[:, 12, 12] * 0.75 + edited[:, 12, 12] * 0.25
    assert np.abs(out[:, 12, 12] - between).max() <= 0.5
    assert not np.array_equal(out, original)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_composite_refuses_what_is_no_share(value: float) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        composite(noise(1, 4, 4, 3), noise(1, 4, 4, 3), np.full((1, 4, 4), value))
    with pytest.raises(ValueError, match="agree"):
        composite(noise(1, 4, 4, 3), noise(1, 4, 4, 3), np.zeros((1, 4, 5)))
