"""Likeness of clips: known errors give known decibels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vxedit.render.scene import moved, random_scene, render
from vxedit.score.fidelity import background_psnr, crop, identity, psnr, ssim


def noise(seed: int = 0, low: int = 40, high: int = 216) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (3, 32, 40, 3), np.uint8)


def test_a_known_error_gives_known_decibels() -> None:
    clip = noise()
    assert psnr(clip, clip) == 100
    assert psnr(clip, clip + np.uint8(10)) == pytest.approx(10 * math.log10(255**2 / 100))
    assert psnr(np.zeros_like(clip), np.full_like(clip, 255)) == pytest.approx(0)


def test_the_error_is_averaged_before_the_logarithm() -> None:
    clip = noise()
    other = clip.copy()
    other[0] += 30  # one frame of three; the mean of the frames' own decibels would be over 70
    assert psnr(clip, other) == pytest.approx(10 * math.log10(255**2 / 300))


def test_only_the_mask_counts() -> None:
    clip, mask = noise(), np.zeros((3, 32, 40), bool)
    mask[:, :16] = True
    other = clip.copy()
    other[:, :16] += 5
    other[:, 16:] += 35
    assert psnr(clip, other, mask=mask) == pytest.approx(10 * math.log10(255**2 / 25))
    assert psnr(clip, other, mask=mask[0]) == psnr(clip, other, mask=mask)
    assert background_psnr(other, clip, ~mask) == pytest.approx(10 * math.log10(255**2 / 35**2))


def test_what_cannot_be_compared_says_so() -> None:
    with pytest.raises(ValueError, match="no pixel"):
        psnr(noise(), noise(), mask=np.zeros((3, 32, 40), bool))
    with pytest.raises(ValueError, match="one shape"):
        psnr(noise(), noise()[:2])
    with pytest.raises(ValueError, match="7x7"):
        ssim(noise()[:, :6], noise()[:, :6])


def test_ssim_is_the_mean_of_the_frames() -> None:
    clip = noise()
    other = clip.copy()
    other[1] = noise(1)[1]
    one = ssim(clip[1:2], other[1:2])
    assert ssim(clip, clip) == pytest.approx(1) and one < 0.2
    assert ssim(clip, other) == pytest.approx((2 + one) / 3)


def test_a_crop_of_whole_pixels_is_those_pixels() -> None:
    frame = noise()[0]
    assert np.array_equal(crop(frame, np.array([8 / 40, 4 / 32, 24 / 40, 20 / 32]), side=16), frame[4:20, 8:24])


def test_a_crop_takes_size_out() -> None:
    ramp = np.tile(np.linspace(0, 250, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    large, box = np.repeat(np.repeat(ramp, 2, 0), 2, 1), np.array([0.2, 0.3, 0.7, 0.8])
    assert np.abs(crop(ramp, box, side=32).astype(int) - crop(large, box, side=32)).max() <= 3


def test_a_moved_object_keeps_its_identity_and_another_does_not() -> None:
    scene = random_scene(5, split="test", frames=4, actors=1, name="burger", place="a curtain")
    star = render(random_scene(5, split="test", frames=4, actors=1, name="star", place="a curtain"))
    source, away = render(scene), render(moved(scene, 0, 1 - scene.actors[0].centres))
    there, here = {"edited_boxes": away.boxes[0]}, {"source_boxes": source.boxes[0], "source_masks": source.masks[0]}
    same = identity(away.frames, source.frames, **there, **here)
    gone = identity(away.clean, source.frames, **there, **here)
    wrong = identity(star.frames, source.frames, edited_boxes=star.boxes[0], **here)
    assert same.frames == 4 and same.correlation > 0.85 and same.psnr > 20
    for less in (gone, wrong):
        assert less.psnr < same.psnr - 5 and less.ssim < same.ssim - 0.2 and less.correlation < same.correlation - 0.4
    still = identity(source.frames, source.frames, edited_boxes=source.boxes[0], **here)
    assert still.psnr == 100 and still.ssim == pytest.approx(1) and still.correlation == pytest.approx(1)


def test_with_a_mask_the_background_in_the_crop_does_not_count() -> None:
    source = render(random_scene(5, split="test", frames=3, actors=1, name="ball"))
    frames = source.frames.copy()
    frames[~source.masks[0]] = 0
    boxes = {"edited_boxes": source.boxes[0], "source_boxes": source.boxes[0]}
    assert identity(frames, source.frames, **boxes).psnr < 20
    inner = np.stack([_eroded(m) for m in source.masks[0]])
    assert identity(frames, source.frames, **boxes, source_masks=inner).psnr == 100


def _eroded(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask whose eight neighbours are in it too; sampling between pixels stays inside then."""
    wide = np.pad(mask, 1)
    height, width = mask.shape
    return np.all([wide[y : y + height, x : x + width] for y in range(3) for x in range(3)], 0)


def test_identity_leaves_frames_without_a_box_out() -> None:
    source = render(random_scene(5, split="test", frames=4, actors=1))
    half = source.boxes[0].copy()
    half[::2] = np.nan
    frames = source.frames.copy()
    frames[::2] = 0
    found = identity(frames, source.frames, edited_boxes=half, source_boxes=source.boxes[0])
    assert found.frames == 2 and found.psnr == 100
    none = identity(frames, source.frames, edited_boxes=np.full((4, 4), np.nan), source_boxes=source.boxes[0])
    assert none.frames == 0 and math.isnan(none.psnr)
    with pytest.raises(ValueError, match="as many frames"):
        identity(frames[:2], source.frames, edited_boxes=half, source_boxes=source.boxes[0])
