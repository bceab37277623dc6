"""The laid scene against the renderer's own picture of the object on another track."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.edit.scenes import clip, grown, mask_iou
from vxedit.edit.locate import Located, mask_boxes
from vxedit.edit.plate import Plate
from vxedit.edit.refine import hidden_by
from vxedit.edit.scene import Cutout, Moved, Scene, cut_out, enlarge, lay, soften, unmixed, vouched, with_detail
from vxedit.io.fit import resize_frames
from vxedit.render.scene import Rendered

SHIFT = np.array([8, 24]) / 96
CAST = [("ball", "gravel"), ("car", "a meadow"), ("balloon", "sand")]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(one.astype(float) - other).mean() / 255**2 + 1e-12))


def eroded(masks: np.ndarray, pixels: int) -> np.ndarray:
    return ~grown(~masks, pixels)


def before_and_after(name: str, place: str, *, size: int = 96, frames: int = 5) -> tuple[Rendered, Rendered]:
    """A clip under a panning camera, and the same with its object further on by `SHIFT`: a perfect edit."""
    start, end = np.array([0.25, 0.3]), np.array([0.6, 0.35])
    pair = []
    for shift in (np.zeros(2), SHIFT):
        first, last = tuple(start + shift), tuple(end + shift)
        pair.append(clip(name, place, start=first, end=last, size=size, frames=frames, pan=(0.12, -0.06), seed=1))
    return pair[0], pair[1]


def known(truth: Rendered) -> Located:
    return Located(truth.masks[0], truth.boxes[0])


def shifted(truth: Rendered) -> np.ndarray:
    return truth.boxes[0] + np.tile(SHIFT, 2)


@pytest.mark.parametrize(("name", "place"), CAST)
def test_the_object_stands_at_its_target_and_its_old_place_is_clean(name: str, place: str) -> None:
    truth, moved = before_and_after(name, place)
    source = truth.frames.copy()
    scene = lay(truth.frames, [Moved(known(truth), shifted(truth))])
    assert scene.frames.dtype == np.uint8 and np.array_equal(truth.frames, source)
    there = moved.masks[0]
    left = grown(truth.masks[0], 4) & ~grown(there, 4)
    for i in range(len(there)):
        assert psnr(scene.frames[i][there[i]], moved.frames[i][there[i]]) > 30
        assert psnr(truth.frames[i][there[i]], moved.frames[i][there[i]]) < 15
        assert psnr(scene.frames[i][left[i]], truth.clean[i][left[i]]) > 28
        assert psnr(truth.frames[i][left[i]], truth.clean[i][left[i]]) < 15
    assert mask_iou(scene.target > 0.5, there).min() > 0.95
    assert scene.target.dtype == np.float32 and scene.target.min() >= 0 and scene.target.max() <= 1


def test_what_neither_hides_is_the_source_bit_for_bit() -> None:
    truth, _ = before_and_after("ball", "gravel")
    found = known(truth)
    scene = lay(truth.frames, [Moved(found, shifted(truth))])
    apart = ~hidden_by(found) & (scene.target == 0)
    assert apart.mean() > 0.5
    assert np.array_equal(scene.frames[apart], truth.frames[apart])
    assert not np.array_equal(scene.frames, truth.frames)


@pytest.mark.parametrize(("name", "place"), CAST)
def test_an_object_laid_where_it_was_gives_the_source_back(name: str, place: str) -> None:
    truth, _ = before_and_after(name, place)
    found = known(truth)
    scene = lay(truth.frames, [Moved(found, found.boxes)])
    inner = eroded(truth.masks[0], 3)
    assert np.abs(scene.frames[inner].astype(int) - truth.frames[inner]).max() <= 1
    assert psnr(scene.frames, truth.frames) > 34 > psnr(truth.clean, truth.frames) + 8
    # its edge is shared between it and what is behind, as a camera draws it
    within, without = truth.masks[0] & ~eroded(truth.masks[0], 1), grown(truth.masks[0], 1) & ~truth.masks[0]
    assert 0.55 < scene.target[within].mean() < 0.9 and 0.1 < scene.target[without].mean() < 0.45


def test_each_frame_has_its_own_box() -> None:
    truth, _ = before_and_after("ball", "gravel", frames=4)
    low, side = np.array([[4, 50], [20, 40], [50, 60], [60, 10]]) / 96, np.array([30, 24, 20, 27])[:, None] / 96
    targets = np.hstack([low, low + side])
    scene = lay(truth.frames, [Moved(known(truth), targets)])
    assert np.abs(mask_boxes(scene.target > 0.5) - targets).max() * 96 <= 1.5


RED, GREEN = np.array([220, 30, 30], np.uint8), np.array([20, 190, 60], np.uint8)


def two_squares(*, frames: int = 4, side: int = 96) -> tuple[np.ndarray, np.ndarray, Located, Located]:
    """A red and a green square of 24 pixels that wander over a still texture: the clip, the texture, and where they
    are. Each leaves what it hides free in other frames."""
    made = np.random.default_rng(5).uniform(70, 150, (side, side, 3)).astype(np.float32)
    behind = np.repeat(cv2.GaussianBlur(made, (0, 0), 3.0)[None].astype(np.uint8), frames, 0)
    shown, found = behind.copy(), []
    for colour, left, top, step in ((RED, 8, 10, (6, 9)), (GREEN, 56, 58, (3, -10))):
        masks = np.zeros((frames, side, side), bool)
        for i in range(frames):
            x, y = left + step[0] * i, top + step[1] * i
            masks[i, y : y + 24, x : x + 24] = True
        shown[masks] = colour
        found.append(Located(masks, mask_boxes(masks)))
    return shown, behind, found[0], found[1]


def inner(boxes: np.ndarray, *, side: int = 96, edge: int = 3) -> np.ndarray:
    """The pixels that lie well inside boxes of whole pixels, bool (F, side, side)."""
    masks = np.zeros((len(boxes), side, side), bool)
    for i, (x0, y0, x1, y1) in enumerate(np.rint(boxes * side).astype(int)):
        masks[i, y0 + edge : y1 - edge, x0 + edge : x1 - edge] = True
    return masks


def test_two_objects_both_reach_their_targets_and_the_later_covers_the_earlier() -> None:
    shown, behind, red, green = two_squares()
    first, second = (np.repeat(np.array([box]) / 96, 4, 0) for box in ([40, 8, 64, 32], [52, 20, 76, 44]))
    scene = lay(shown, [Moved(red, first), Moved(green, second)])
    front, hidden = inner(second), inner(first) & ~inner(second, edge=-3)
    assert np.abs(scene.frames[front].astype(int) - GREEN).max() <= 1
    assert np.abs(scene.frames[hidden].astype(int) - RED).max() <= 1
    assert scene.covers.shape == (2, 4, 96, 96)
    assert scene.covers[0][front].max() < 0.01 and scene.covers[0][hidden].min() > 0.99
    assert scene.covers[1][front].min() > 0.99 and scene.covers[1][hidden].max() < 0.01
    np.testing.assert_allclose(scene.target, scene.covers.sum(0).clip(0, 1), atol=1e-6)
    assert scene.covers.sum(0).max() <= 1 + 1e-5
    # where they were and are not, the texture is; no ghost of either is left
    gone = (red.masks | green.masks) & ~grown(scene.target > 0.01, 2)
    assert gone.mean() > 0.05 and psnr(scene.frames[gone], behind[gone]) > 35 > psnr(shown[gone], behind[gone]) + 15
    assert scene.source[red.masks | green.masks].min() == 1
    other_way = lay(shown, [Moved(green, second), Moved(red, first)])
    assert np.abs(other_way.frames[inner(first)].astype(int) - RED).max() <= 1


def test_objects_that_change_places_do_not_wipe_each_other_out() -> None:
    """Each goes where the other is, in every frame: what is cleared for one must not clear the other away."""
    shown, _, red, green = two_squares()
    scene = lay(shown, [Moved(red, green.boxes), Moved(green, red.boxes)])
    assert np.abs(scene.frames[inner(green.boxes)].astype(int) - RED).max() <= 1
    assert np.abs(scene.frames[inner(red.boxes)].astype(int) - GREEN).max() <= 1
    alone = lay(shown, [Moved(red, green.boxes)])
    left = inner(green.boxes)
    assert np.abs(alone.frames[left].astype(int) - RED).max() <= 1  # in front of one that isn't moved
    stays = inner(green.boxes, edge=-6) & ~inner(green.boxes, edge=-3)
    assert np.array_equal(alone.frames[stays], shown[stays])


def test_both_are_laid_the_same_at_a_larger_size() -> None:
    shown, _, red, green = two_squares()
    objects = [Moved(red, green.boxes), Moved(green, green.boxes)]
    large = enlarge(lay(shown, objects), resize_frames(shown, 192, 192), objects)
    assert large.covers.shape == (2, 4, 192, 192)
    assert np.abs(large.frames[inner(green.boxes, side=192, edge=8)].astype(int) - GREEN).max() <= 2


@pytest.mark.parametrize("side", [96, 192])
def test_another_object_is_laid_where_one_was_to_stand(side: int) -> None:
    """The green square's picture, cut out of the clip, in the red one's places; the green one itself stays."""
    shown, _, red, green = two_squares()
    objects = [Moved(red, red.boxes, cut_out(shown, green))]
    scene = enlarge(lay(shown, objects), resize_frames(shown, side, side), objects)
    unit = side // 96
    for boxes in (red.boxes, green.boxes):
        deep = inner(boxes, side=side, edge=4 * unit)
        assert deep.any() and np.abs(scene.frames[deep].astype(int) - GREEN).max() <= 2
    assert (scene.target > 0.5)[inner(red.boxes, side=side, edge=2 * unit)].all()
    assert (scene.frames[..., 0] < 190).all()  # nowhere is there any red


def test_an_object_cut_out_of_its_own_clip_is_laid_as_it_is_without() -> None:
    truth, _ = before_and_after("car", "a meadow", frames=3)
    found = known(truth)
    plain, cut = (
        lay(truth.frames, [Moved(found, shifted(truth), cutout)]) for cutout in (None, cut_out(truth.frames, found))
    )
    assert np.array_equal(plain.frames, cut.frames) and np.array_equal(plain.covers, cut.covers)


def test_frames_of_a_cutout_can_be_taken_in_any_order() -> None:
    truth, _ = before_and_after("car", "a meadow", frames=3)
    whole = cut_out(truth.frames, known(truth))
    some = whole.at([2, 0, 2, 1])
    assert isinstance(some, Cutout) and len(some.colours) == len(some.cover) == 4
    assert np.array_equal(some.boxes, whole.boxes[[2, 0, 2, 1]])
    assert np.array_equal(some.cover[2], whole.cover[2]) and np.array_equal(some.colours[3], whole.colours[1])


def test_what_may_be_the_object_is_not_taken_for_background() -> None:
    truth, moved = before_and_after("car", "a meadow")
    core, targets = eroded(truth.masks[0], 4), shifted(truth)
    narrow = lay(truth.frames, [Moved(Located(core, truth.boxes[0]), targets)])
    wide = lay(truth.frames, [Moved(Located(core, truth.boxes[0], truth.masks[0]), targets)])
    left = truth.masks[0] & ~grown(moved.masks[0], 3)
    assert psnr(wide.frames[left], truth.clean[left]) > 28
    assert psnr(narrow.frames[left], truth.clean[left]) < 22  # a ghost is left
    assert wide.source[truth.masks[0]].min() == 1 and (wide.source >= narrow.source).all()
    assert narrow.source[truth.masks[0]].min() < 0.1
    assert np.array_equal(wide.target, narrow.target)


def test_a_camera_that_is_known_is_taken_as_it_is() -> None:
    truth, _ = before_and_after("ball", "gravel", frames=3)
    still = np.repeat(np.eye(3)[None], 3, 0)
    told = lay(truth.frames, [Moved(replace(known(truth), camera=still), shifted(truth))])
    measured = lay(truth.frames, [Moved(known(truth), shifted(truth))])
    assert np.array_equal(told.camera, still)
    assert measured.camera[2][:2, 2] == pytest.approx([-0.12 * 96, 0.06 * 96], abs=0.5)
    hidden = hidden_by(known(truth)) & told.plate.known & measured.plate.known
    wrong, right = (psnr(scene.plate.frames[hidden], truth.clean[hidden]) for scene in (told, measured))
    assert wrong < right - 4


def small_and_large(name: str, place: str) -> tuple[Scene, Scene, Rendered, Rendered]:
    """The scene laid at 64 pixels, that at 128 from what was found at 64, and the truth at 128, before and after."""
    large, moved = before_and_after(name, place, size=128, frames=4)
    found = known(before_and_after(name, place, size=64, frames=4)[0])
    targets = found.boxes + np.tile(SHIFT, 2)
    scene = lay(resize_frames(large.frames, 64, 64), [Moved(found, targets)])
    return scene, enlarge(scene, large.frames, [Moved(found, targets)]), large, moved


@pytest.mark.parametrize(("name", "place"), [("balloon", "gravel"), ("car", "a meadow")])
def test_enlarged_it_is_the_same_scene_with_more_detail(name: str, place: str) -> None:
    small, large, truth, moved = small_and_large(name, place)
    assert large.frames.shape == (4, 128, 128, 3) and large.source.shape == large.target.shape == (4, 128, 128)
    assert psnr(resize_frames(large.frames, 64, 64), small.frames) > 35
    assert psnr(resize_frames(truth.frames, 64, 64), small.frames) < 25
    blown_up = resize_frames(small.frames, 128, 128)
    assert psnr(large.frames, moved.frames) > max(35, psnr(blown_up, moved.frames) + 3)
    assert mask_iou(large.target > 0.5, moved.masks[0]).min() > 0.92
    left = grown(truth.masks[0], 5) & ~grown(moved.masks[0], 5)
    assert psnr(large.frames[left], truth.clean[left]) > psnr(blown_up[left], truth.clean[left]) + 1.5


def test_enlarged_it_keeps_out_what_may_be_the_object() -> None:
    truth, moved = before_and_after("car", "a meadow", size=128, frames=4)
    at64, _ = before_and_after("car", "a meadow", size=64, frames=4)
    found = Located(eroded(at64.masks[0], 3), at64.boxes[0], at64.masks[0])
    scene = lay(resize_frames(truth.frames, 64, 64), [Moved(found, shifted(at64))])
    large = enlarge(scene, truth.frames, [Moved(found, shifted(at64))])
    left = truth.masks[0] & ~grown(moved.masks[0], 4)
    assert psnr(large.frames[left], truth.clean[left]) > 25


def test_enlarging_takes_the_camera_along() -> None:
    """A point of the scene is at the same share of the frame at either size, whose ratio need not be one number."""
    truth, _ = before_and_after("ball", "gravel", size=64, frames=3)
    camera = np.array([np.eye(3), [[1.02, 0.01, -4], [-0.01, 0.98, 2.5], [0, 0, 1]], [[1, 0, 5], [0, 1, 0], [0, 0, 1]]])
    found = replace(known(truth), camera=camera)
    scene = lay(truth.frames, [Moved(found, found.boxes)])
    large = enlarge(scene, resize_frames(truth.frames, 96, 128), [Moved(found, found.boxes)])
    ratio = np.array([128 / 64, 96 / 64])
    for x, y in ((0, 0), (13, 40), (63, 20)):
        at = (np.array([x, y]) + 0.5) * ratio - 0.5
        for i in range(3):
            goes = (camera[i] @ (x, y, 1))[:2]
            assert (large.camera[i] @ (*at, 1))[:2] == pytest.approx((goes + 0.5) * ratio - 0.5)


def test_at_its_own_size_it_is_the_scene_itself() -> None:
    truth, _ = before_and_after("ball", "gravel", size=64, frames=3)
    scene = lay(truth.frames, [Moved(known(truth), shifted(truth))])
    assert enlarge(scene, truth.frames, [Moved(known(truth), shifted(truth))]) is scene


@pytest.mark.parametrize("sigma", [0.0, 0.7, 1.5])
def test_a_soft_edge_is_half_way_up_at_the_outline(sigma: float) -> None:
    masks = np.zeros((2, 20, 30), bool)
    masks[0, :, 15:] = True
    soft = soften(masks, sigma)
    assert soft.dtype == np.float32 and soft.shape == masks.shape
    assert not soft[1].any()  # frames are softened alone
    row = soft[0, 10]
    assert row[14] + row[15] == pytest.approx(1, abs=1e-5) and (np.diff(row) >= -1e-6).all()
    width = max(sigma, 0.3)
    reach = math.ceil(4 * width)
    assert row[: 15 - reach].max() < 0.01 and row[15 + reach :].min() > 0.99
    # the variance of the edge's slope is the blur's: a step that is sampled on pixels keeps it
    slope, at = np.diff(row), np.arange(29) - 14.0
    assert (slope * at**2).sum() == pytest.approx(width**2, rel=0.15, abs=0.1)


def detailed(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A scene (2, 64, 64, 3) and the same without its fine detail."""
    scene = np.random.default_rng(seed).integers(60, 190, (2, 64, 64, 3)).astype(np.uint8)
    return scene, np.stack([cv2.GaussianBlur(frame, (0, 0), 2.0) for frame in scene])


def held(scene: np.ndarray, share: float) -> np.ndarray:
    return np.full(scene.shape[:3], share, np.float32)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_where_the_model_kept_the_scene_its_detail_comes_back_exactly(share: float) -> None:
    scene, blurred = detailed()
    assert psnr(blurred, scene) < 25
    assert np.array_equal(with_detail(blurred, blurred, scene, held(scene, share)), scene)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_the_model_made_anew_stays_as_it_made_it(share: float) -> None:
    scene, blurred = detailed()
    anew = np.where(blurred > 127, blurred - 90, blurred + 90).astype(np.uint8)
    assert np.array_equal(with_detail(anew, blurred, scene, held(scene, share)), anew)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_each_place_is_judged_by_itself(share: float) -> None:
    scene, blurred = detailed()
    half = blurred.copy()
    half[0, :, 32:] += 60
    out = with_detail(half, blurred, scene, held(scene, share))
    assert np.array_equal(out[0, :, :26], scene[0, :, :26])
    assert np.array_equal(out[0, :, 38:], half[0, :, 38:])
    assert np.array_equal(out[1], scene[1])  # and each frame


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("apart", "tolerance"), [(14, 14.0), (7, 14.0), (14, 28.0), (20, 10.0)])
def test_between_the_scene_fades_as_it_says(apart: int, tolerance: float, share: float) -> None:
    scene, blurred = detailed()
    decoded = blurred + np.uint8(apart)
    lacking = scene.astype(float) - blurred - share * apart
    expected = decoded + math.exp(-((apart / tolerance) ** 2)) * lacking
    out = with_detail(decoded, blurred, scene, held(scene, share), tolerance=tolerance)
    assert np.abs(out - expected).max() <= 0.51


def test_noise_that_is_new_in_every_frame_does_not_flicker_where_the_scene_is_held() -> None:
    """The right half is held, the left is not; the scene is a still picture."""
    picture, blurred = (np.repeat(part[:1], 4, 0) for part in detailed())
    rng = np.random.default_rng(2)
    noise = rng.integers(-2, 3, (4, 64, 64, 1))
    right = np.zeros((4, 64, 64), np.float32)
    right[:, :, 32:] = 1
    out = with_detail((blurred + noise).astype(np.uint8), blurred, picture, right)
    steps, given = np.abs(np.diff(out.astype(int), axis=0)), np.abs(np.diff(noise, axis=0))
    assert psnr(out[:, :, 32:], picture[:, :, 32:]) > 48 > psnr(picture + noise, picture)
    assert steps[:, :, 32:].mean() < 0.25 * given.mean() and steps[:, :, :32].mean() > 0.8 * given.mean()


def test_detail_does_not_wrap_round_the_ends_of_the_scale() -> None:
    decoded, expected = np.full((1, 8, 8, 3), 250, np.uint8), np.full((1, 8, 8, 3), 248, np.uint8)
    scene, unheld = np.full((1, 8, 8, 3), 255, np.uint8), np.zeros((1, 8, 8), np.float32)
    assert (with_detail(decoded, expected, scene, unheld) == 255).all()
    assert (with_detail(255 - decoded, 255 - expected, 255 - scene, unheld) == 0).all()


def test_what_no_frame_shows_is_not_vouched_for_and_objects_are_unless_they_become_others() -> None:
    """An object that stands still under a still camera hides its place in every frame."""
    shown, _, red, _ = two_squares()
    still = Located(red.masks[:1].repeat(4, 0), red.boxes[:1].repeat(4, 0))
    shown = shown[:1].repeat(4, 0)
    targets = still.boxes + 40 / 96
    scene = lay(shown, [Moved(still, targets)])
    both, background = vouched(scene, objects=True), vouched(scene, objects=False)
    assert both.dtype == background.dtype == bool and both.shape == shown.shape[:3]
    assert not (both | background)[still.masks].any()
    target = inner(targets)
    assert both[target].all() and not background[target].any()
    elsewhere = ~hidden_by(still) & (scene.target == 0)
    assert elsewhere.mean() > 0.5 and (both & background)[elsewhere].all()
    # an object is vouched for where it covers what no frame shows, too
    back = lay(shown, [Moved(still, still.boxes)])
    assert vouched(back, objects=True)[inner(still.boxes)].all()
    assert not vouched(back, objects=False)[still.masks].any()


def test_what_shows_through_an_edge_is_taken_out() -> None:
    made = np.random.default_rng(0)
    own, behind = made.uniform(0, 255, (2, 1, 8, 8, 3))
    behind = behind.round().astype(np.uint8)
    cover = np.linspace(0, 1, 64).reshape(1, 8, 8).astype(np.float32)
    frames = (cover[..., None] * own + (1 - cover[..., None]) * behind).round().astype(np.uint8)
    known = np.ones((1, 8, 8), bool)
    known[:, 6:] = False
    found = unmixed(frames, cover, Plate(behind, known))
    assert found.dtype == np.float32
    assert np.abs(found - cover[..., None] * own)[known].max() <= 0.5 + 1e-3
    assert np.array_equal(found[~known], (frames * cover[..., None])[~known])  # nothing is known to take out
    assert (found <= 255 * cover[..., None] + 1e-3).all() and found.min() >= 0


def test_no_rim_of_the_old_background_travels_along() -> None:
    """A dark disc over white moves to black: mixed with white, its rim would shine there."""
    y, x = np.mgrid[:48, :112]
    frames, masks = np.zeros((3, 48, 112, 3), np.uint8), np.zeros((3, 48, 112), bool)
    frames[:, :, :80] = 255
    for i in range(3):
        masks[i] = (x - 12 - 24 * i) ** 2 + (y - 24) ** 2 < 64
    soft = soften(masks, 0.7)[..., None]
    frames = (frames * (1 - soft) + 40 * soft).round().astype(np.uint8)
    found = Located(masks, mask_boxes(masks), camera=np.repeat(np.eye(3)[None], 3, 0))
    to_black = found.boxes + np.array([1, 0, 1, 0]) * (96 - 12 - 24 * np.arange(3))[:, None] / 112
    scene = lay(frames, [Moved(found, to_black)])
    assert scene.frames[:, :, 84:].max() < 60
