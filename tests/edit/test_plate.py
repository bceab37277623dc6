"""The clean plate against the renderer's own background."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.edit.scenes import clip, grown
from vxedit.edit.plate import clean_plate, register, steadied
from vxedit.render.scene import Rendered


def hidden(truth: Rendered, pixels: int = 3) -> np.ndarray:
    return grown(truth.masks[0], pixels)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(one.astype(float) - other).mean() / 255**2 + 1e-12))


@pytest.mark.parametrize(("name", "place"), [("ball", "gravel"), ("car", "a meadow"), ("star", "a wooden table")])
def test_under_a_panning_camera_what_other_frames_show_is_found_again(name: str, place: str) -> None:
    truth = clip(name, place, pan=(0.12, -0.06))
    mask = hidden(truth)
    plate = clean_plate(truth.frames, mask, register(truth.frames, mask))
    again = mask & plate.known
    assert again.sum() > 0.3 * mask.sum()
    assert psnr(plate.frames[again], truth.clean[again]) > 30
    assert psnr(truth.frames[again], truth.clean[again]) < 20  # the object was there
    still = clean_plate(truth.frames, mask, np.repeat(np.eye(3)[None], len(mask), 0))
    assert psnr(still.frames[again], truth.clean[again]) < 28  # the camera's motion is what makes it


def test_the_cameras_motion_is_measured() -> None:
    truth = clip("ball", "gravel", frames=4, pan=(0.125, -0.0625))  # 12 and -6 pixels of 96
    camera = register(truth.frames, hidden(truth))
    assert camera.shape == (4, 3, 3) and np.array_equal(camera[0], np.eye(3))
    # the scene moves against the camera
    assert camera[3][:2, 2] == pytest.approx([-12, 6], abs=0.5)
    assert camera[3][:2, :2] == pytest.approx(np.eye(2), abs=0.01)


def test_a_still_camera_gives_back_exactly_what_was_seen() -> None:
    truth = clip("star", "a city", start=(0.25, 0.4), end=(0.75, 0.6))
    mask = hidden(truth, 4)
    plate = clean_plate(truth.frames, mask, register(truth.frames, mask))
    seen = (~mask).any(0)
    assert np.array_equal(plate.known, np.broadcast_to(seen, mask.shape))
    again = mask & plate.known
    assert again.sum() > 0.5 * mask.sum()
    assert np.array_equal(plate.frames[again], truth.clean[again])


def test_what_no_frame_shows_is_made_up_and_says_so() -> None:
    truth = clip("ball", "snow", start=(0.5, 0.5), end=(0.5, 0.5))
    mask = hidden(truth)
    plate = clean_plate(truth.frames, mask, register(truth.frames, mask))
    inner = mask.all(0)
    assert inner.any() and not plate.known[:, inner].any()
    assert psnr(plate.frames[mask], truth.clean[mask]) > 20 > psnr(truth.frames[mask], truth.clean[mask])


def test_what_is_not_hidden_is_untouched() -> None:
    truth = clip("ball", "gravel", pan=(0.1, 0.0))
    mask = hidden(truth)
    mask[2] = False
    before = truth.frames.copy()
    plate = clean_plate(truth.frames, mask, register(truth.frames, mask))
    assert np.array_equal(plate.frames[~mask], truth.frames[~mask])
    assert np.array_equal(plate.frames[2], truth.frames[2]) and plate.known[2].all()
    assert plate.known[~mask].all()
    assert np.array_equal(truth.frames, before)


def test_a_change_of_light_between_frames_is_made_good() -> None:
    truth = clip("star", "a city", frames=3, start=(0.25, 0.4), end=(0.75, 0.6))
    darker = (truth.clean.astype(int) - np.array([0, 20, 40]).reshape(3, 1, 1, 1)).clip(0, 255).astype(np.uint8)
    lit = replace(truth, frames=np.where(truth.masks[0][..., None], truth.frames, darker), clean=darker)
    mask = hidden(lit, 4)
    plate = clean_plate(lit.frames, mask, np.repeat(np.eye(3)[None], 3, 0))
    again = mask & plate.known
    assert psnr(plate.frames[again], lit.clean[again]) > 30


@pytest.mark.parametrize("frames", [1, 3])
def test_a_clip_that_is_hidden_throughout_is_no_error(frames: int) -> None:
    pictures = clip("ball", "snow", frames=3).frames[:frames]
    mask = np.ones(pictures.shape[:3], bool)
    camera = register(pictures, mask)
    assert np.array_equal(camera, np.repeat(np.eye(3)[None], frames, 0))
    assert not clean_plate(pictures, mask, camera).known.any()


def drifting(frames: int, step: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A texture that drifts by `step` pixels a frame, (F, 64, 64, 3), and the camera that makes it."""
    texture = np.random.default_rng(4).integers(60, 190, (160, 160, 3)).astype(np.uint8)
    camera = np.repeat(np.eye(3)[None], frames, 0)
    camera[:, :2, 2] = np.arange(frames)[:, None] * step
    corners = 48 - camera[:, :2, 2].astype(int)  # a point of the scene moves by `step`, so the view by as much back
    return np.stack([texture[y : y + 64, x : x + 64] for x, y in corners]), camera


@pytest.mark.parametrize("step", [(0, 0), (2, -1)])
def test_what_is_made_up_becomes_the_same_from_frame_to_frame(step: tuple[int, int]) -> None:
    """Noise about a place that drifts with the camera: its mean over the frames within reach is left."""
    clean, camera = drifting(7, step)
    unknown = np.zeros(clean.shape[:3], bool)
    for i in range(7):
        unknown[i, 20 + step[1] * i : 40 + step[1] * i, 20 + step[0] * i : 40 + step[0] * i] = True
    noise = np.array([9, -3, 0, 6, -12, 3, 3])
    shown = (clean + noise[:, None, None, None]).astype(np.uint8)
    for reach in (1, 10):
        out = steadied(shown, unknown, camera, reach=reach)
        for i in range(7):
            left = noise[max(0, i - reach) : i + reach + 1].mean()
            assert np.abs(out[i].astype(float) - clean[i] - left)[unknown[i]].max() <= 0.51
        assert np.array_equal(out[~unknown], shown[~unknown])
    assert np.array_equal(steadied(shown, unknown, camera, reach=0), shown)


def test_only_frames_that_make_a_place_up_take_part_in_it() -> None:
    frames = np.stack([np.full((40, 40, 3), level, np.uint8) for level in (100, 110, 200)])
    unknown = np.zeros((3, 40, 40), bool)
    unknown[0, :, :20] = unknown[1, :, 10:30] = True
    out = steadied(frames, unknown, np.repeat(np.eye(3)[None], 3, 0))
    assert (out[0, :, :10] == 100).all() and (out[:2, :, 10:20] == 105).all() and (out[1, :, 20:] == 110).all()
    assert (out[0, :, 20:] == 100).all() and (out[2] == 200).all()
