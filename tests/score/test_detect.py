"""The detector against the renderer's truth, on scenes of the test split."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from vxedit.errors import UsageError
from vxedit.evaluate.case import crossing
from vxedit.render.backgrounds import BACKGROUNDS
from vxedit.render.objects import DRAWINGS
from vxedit.render.scene import Rendered, Scene, moved, random_scene, render
from vxedit.score.boxes import centre_distance, mean_iou
from vxedit.score.detect import THRESHOLD, Detections, detect

NAMES = list(DRAWINGS)
FRAME = (128, 128)


def soft(frames: np.ndarray, seed: int) -> np.ndarray:
    """What an autoencoder does to texture, overdone: a blur of 1 px and noise of 5 levels, about 25 dB."""
    noise = np.random.default_rng(seed).normal(0, 5, frames.shape)
    return np.clip([cv2.GaussianBlur(f, (0, 0), 1) for f in frames] + noise, 0, 255).astype(np.uint8)


def one(name: str, seed: int, frames: int = 2, place: str | None = None) -> Scene:
    return random_scene(seed, split="test", frames=frames, actors=1, name=name, place=place)


def placed(name: str, centre: tuple[float, float], side: float, *, place: str = "a meadow", frames: int = 1) -> Scene:
    """An object of one size (geometric mean of its sides) at one place."""
    root = DRAWINGS[name].aspect ** 0.5
    sizes = np.tile((side * root, side / root), (frames, 1))
    return moved(one(name, 11, frames, place), 0, np.tile(centre, (frames, 1)), sizes)


@pytest.mark.parametrize(("change", "likeness"), [(lambda frames, seed: frames, 0.9), (soft, 0.75)])
def test_it_finds_every_object_where_it_is(change: Callable[..., np.ndarray], likeness: float) -> None:
    scores = []
    for i, name in enumerate(NAMES):
        clip = render(one(name, 9000 + i))
        found = detect(change(clip.frames, i), name)
        assert found.found.all(), name
        pair = found.boxes, clip.boxes[0]
        scores.append((mean_iou(*pair), centre_distance(*pair, frame=FRAME), found.likeness.mean()))
        assert scores[-1][0] > 0.75, name
    overlap, distance, alike = np.mean(scores, 0)
    assert overlap >= 0.9 and distance <= 0.005 and alike >= likeness


@pytest.mark.parametrize("change", [lambda frames, seed: frames, soft])
def test_it_does_not_find_what_is_not_there(change: Callable[..., np.ndarray]) -> None:
    alarms = []
    for i, place in enumerate(BACKGROUNDS):
        for k in range(3):
            seed = 9100 + 3 * i + k
            shown, asked = NAMES[seed % 14], NAMES[(seed + 1 + 4 * k) % 14]
            frames = render(one(shown, seed, 1, place)).frames
            alarms.append(detect(change(frames, seed), asked).found[0])
    assert np.mean(alarms) <= 0.03


def test_a_brown_burger_is_found_on_a_brown_table() -> None:
    """Beside a car that hides an edge of it; by hue alone the whole table is like it."""
    clip = render(random_scene(8008, split="test", actors=2, name="burger", place="a wooden table"))
    for frame in (2, 13):
        found = detect(clip.frames[frame : frame + 1], "burger")
        assert mean_iou(found.boxes, clip.boxes[0, frame : frame + 1]) > 0.8


def test_a_small_duck_is_found_on_a_brown_table() -> None:
    """Large templates explain more of the table than the small one that is right, at the search's start and in it."""
    truth = crossing(2).truth
    found = detect(truth.frames[3:5], "duck")
    assert mean_iou(found.boxes, truth.boxes[1, 3:5]) > 0.8


@pytest.fixture(scope="module")
def burger() -> Rendered:
    return render(placed("burger", (0.4, 0.55), 0.34))


def like(frames: np.ndarray, name: str = "burger") -> float:
    return float(detect(frames, name).likeness[0])


def test_half_an_object_is_less_like_it(burger: Rendered) -> None:
    whole = like(burger.frames)
    middle = int(128 * burger.boxes[0, 0, [0, 2]].mean())
    for side in (slice(0, middle), slice(middle, 128)):
        half = burger.frames.copy()
        half[:, :, side] = burger.clean[:, :, side]
        assert like(half) < min(THRESHOLD, whole - 0.3)


def test_a_fading_object_is_less_and_less_like_it(burger: Rendered) -> None:
    alphas = (1.0, 0.75, 0.5, 0.25)
    blends = [(a * burger.frames + (1 - a) * burger.clean.astype(float)).astype(np.uint8) for a in alphas]
    likeness = [like(b) for b in blends]
    assert likeness[0] > 0.9 and likeness[2] < likeness[0] - 0.2
    assert sorted(likeness, reverse=True) == likeness


@pytest.mark.parametrize("name", ["burger", "duck", "fish", "cup", "mushroom"])
def test_wrong_colours_are_not_it(name: str) -> None:
    clip = render(placed(name, (0.5, 0.5), 0.34))
    wrong = clip.frames.copy()
    wrong[clip.masks[0]] = wrong[clip.masks[0]][:, ::-1]  # red for blue: the shape and its brightness stay
    assert like(clip.frames, name) > 0.85 and like(wrong, name) < THRESHOLD


def test_light_does_not_matter(burger: Rendered) -> None:
    slope = np.linspace(0.72, 1.05, 128)[:, None] * np.array([1.05, 1.0, 0.95])
    lit = np.clip(burger.frames * slope, 0, 255).astype(np.uint8)
    assert like(lit) > 0.85


@pytest.mark.parametrize("side", [0.15, 0.5])
def test_small_and_large(side: float) -> None:
    for name in ("burger", "car", "ball"):
        clip = render(placed(name, (0.45, 0.5), side))
        assert mean_iou(detect(clip.frames, name).boxes, clip.boxes[0]) > 0.8, name


def test_reshaped_objects_are_found_with_their_shape() -> None:
    scene = placed("burger", (0.5, 0.5), 0.3)
    wide = moved(scene, 0, scene.actors[0].centres, scene.actors[0].sizes * (1.25, 0.85))
    clip = render(wide)
    assert mean_iou(detect(clip.frames, "burger").boxes, clip.boxes[0]) > 0.9


def test_sizes_out_of_the_range_are_not_looked_for(burger: Rendered) -> None:
    assert not detect(burger.frames, "burger", scale_range=(0.12, 0.2)).found.any()
    assert detect(burger.frames, "burger", scale_range=(0.3, 0.4)).found.all()


def test_boxes_end_at_the_frame() -> None:
    clip = render(placed("duck", (0.08, 0.5), 0.34))
    found = detect(clip.frames, "duck")
    assert found.boxes[0, 0] == 0 and mean_iou(found.boxes, clip.boxes[0]) > 0.85


@pytest.mark.parametrize("shape", [(96, 128), (256, 256)])
def test_other_frames_give_shares_of_those_frames(shape: tuple[int, int]) -> None:
    clip = render(placed("car", (0.5, 0.45), 0.3))
    if shape[0] > 128:
        frames, truth = clip.frames.repeat(2, 1).repeat(2, 2), clip.boxes[0]
    else:
        frames, truth = clip.frames[:, :96], clip.boxes[0] * (1, 128 / 96, 1, 128 / 96)
    assert mean_iou(detect(frames, "car").boxes, truth) > 0.9


def left_behind() -> tuple[np.ndarray, Rendered]:
    """A burger that leaves half of itself, as a ghost at rest, where it was; and the truth of the one that moves."""
    centres = np.stack([np.linspace(0.3, 0.7, 8), np.full(8, 0.5)], 1)
    scene = placed("burger", (0.3, 0.5), 0.3, frames=8)
    rest, away = render(scene), render(moved(scene, 0, centres))
    ghost = rest.masks[0] & ~away.masks[0]
    frames = away.frames.copy()
    frames[ghost] = 0.85 * rest.frames[ghost] + 0.15 * away.frames[ghost]
    return frames, away


def test_the_better_of_two_is_found() -> None:
    frames, truth = left_behind()
    assert mean_iou(detect(frames, "burger").boxes[-3:], truth.boxes[0, -3:]) > 0.9


def test_tracking_gives_the_same_for_less() -> None:
    clip = render(one("fish", 9400, 8))
    started = time.process_time()
    full = detect(clip.frames, "fish")
    between = time.process_time()
    tracked = detect(clip.frames, "fish", track=True)
    seconds = between - started, time.process_time() - between
    assert mean_iou(tracked.boxes, full.boxes) > 0.95 and np.abs(tracked.likeness - full.likeness).max() < 0.05
    assert seconds[1] < seconds[0]


def test_tracking_looks_everywhere_after_a_jump() -> None:
    scene = placed("burger", (0.3, 0.3), 0.3, frames=4)
    jump = render(moved(scene, 0, np.array([(0.3, 0.3), (0.3, 0.3), (0.7, 0.7), (0.7, 0.7)])))
    assert mean_iou(detect(jump.frames, "burger", track=True).boxes, jump.boxes[0]) > 0.9


def test_frames_without_the_object_have_no_box(burger: Rendered) -> None:
    found = detect(np.concatenate([burger.frames, burger.clean]), "burger")
    assert isinstance(found, Detections) and found.likeness[1] < THRESHOLD <= found.likeness[0]
    assert np.isnan(found.boxes[1]).all() and not np.isnan(found.boxes[0]).any()
    assert found.found.tolist() == [True, False]


def test_empty_and_flat_frames_are_no_trouble() -> None:
    assert detect(np.zeros((0, 64, 64, 3), np.uint8), "burger").boxes.shape == (0, 4)
    for level in (0, 128, 255):
        assert not detect(np.full((1, 64, 64, 3), level, np.uint8), "star").found.any()


def test_what_it_cannot_do_it_says() -> None:
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    with pytest.raises(UsageError, match=r"'pizza'.*burger"):
        detect(frames, "pizza")
    with pytest.raises(UsageError, match="float32"):
        detect(frames.astype(np.float32), "burger")
    with pytest.raises(UsageError, match="0 < least < most"):
        detect(frames, "burger", scale_range=(0.6, 0.12))
