"""Flicker: none in a still clip, none from motion, more with noise."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from vxedit.render.scene import random_scene, render
from vxedit.score.flicker import flicker, warp_error


def shaky(frames: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return render(random_scene(1, split="test", frames=5, place="a meadow")).frames


def test_a_still_clip_has_none(clip: np.ndarray) -> None:
    still = np.repeat(clip[:1], 4, 0)
    assert warp_error(still) == 0 and flicker(still, still) == 1
    assert flicker(clip, still) == math.inf


def test_motion_is_taken_out(clip: np.ndarray) -> None:
    wide = np.pad(clip[0], ((0, 0), (0, 16), (0, 0)), mode="reflect")
    panned = np.stack([wide[:, 3 * i : 3 * i + 128] for i in range(5)])  # three pixels a frame
    unwarped = float(np.abs(np.diff(panned.astype(float), axis=0)).mean())
    assert warp_error(panned) < 0.3 * unwarped


def test_it_grows_with_noise(clip: np.ndarray) -> None:
    ratios = [flicker(shaky(clip, sigma), clip) for sigma in (0, 4, 8, 16)]
    assert ratios[0] == 1 and all(b > 1.2 * a for a, b in pairwise(ratios))


def test_noise_on_a_still_clip_is_measured_in_grey_levels(clip: np.ndarray) -> None:
    flat = np.full_like(clip, 128)  # nothing to follow: the flow stays at rest
    sigma = 5.0
    expected = sigma * 2 / math.sqrt(math.pi)  # mean |a - b| of two normal deviates
    assert warp_error(shaky(flat, sigma)) == pytest.approx(expected, rel=0.35)


def test_one_frame_has_no_answer_and_tiny_ones_are_refused(clip: np.ndarray) -> None:
    assert math.isnan(warp_error(clip[:1]))
    with pytest.raises(ValueError, match="32x32"):
        warp_error(clip[:, :16])
