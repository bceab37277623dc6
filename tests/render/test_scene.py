"""The renderer: its truth is true, and what is kept for testing is kept."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vxedit.render import backgrounds
from vxedit.render.backgrounds import BACKGROUNDS, HELD_OUT, TEST_BACKGROUNDS, TRAIN_PHOTOS
from vxedit.render.objects import DRAWINGS
from vxedit.render.scene import TEMPLATES, Rendered, Scene, moved, never_trained, random_scene, render, tight_box

SEEDS = range(301)


def drawn(seed: int, *, split: str = "train", **asked: object) -> tuple[Scene, Rendered]:
    scene = random_scene(seed, frames=3, size=64, split=split, **asked)  # type: ignore[arg-type]
    return scene, render(scene)


def same(one: Rendered, other: Rendered) -> bool:
    arrays = all(np.array_equal(getattr(one, n), getattr(other, n)) for n in ("frames", "clean", "masks", "boxes"))
    return arrays and one.caption == other.caption


def test_there_is_enough_to_draw() -> None:
    assert len(DRAWINGS) >= 12 and len(BACKGROUNDS) >= 8
    assert len(set(TEMPLATES)) == len(TEMPLATES)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_clip_depends_on_its_seed_alone(split: str) -> None:
    one, again, other = (drawn(seed, split=split)[1] for seed in (5, 5, 6))
    assert same(one, again)
    assert not np.array_equal(one.frames, other.frames)


def test_the_splits_differ() -> None:
    for seed in range(3):
        train, test = (drawn(seed, split=split)[1] for split in ("train", "test"))
        assert not np.array_equal(train.frames, test.frames)


@pytest.mark.parametrize(("seed", "actors"), [(0, 1), (1, 2), (2, 2)])
def test_shapes_and_boxes(seed: int, actors: int) -> None:
    scene, clip = drawn(seed, actors=actors)
    assert clip.frames.shape == clip.clean.shape == (3, 64, 64, 3) and clip.frames.dtype == clip.clean.dtype == np.uint8
    assert clip.masks.shape == (actors, 3, 64, 64) and clip.masks.dtype == bool
    assert clip.boxes.shape == (actors, 3, 4) and len(scene.actors) == actors and scene.frames == 3
    for track, boxes in zip(clip.masks, clip.boxes, strict=True):
        for mask, box in zip(track, boxes, strict=True):
            x0, y0, width, height = cv2.boundingRect(mask.astype(np.uint8))
            assert box * 64 == pytest.approx([x0, y0, x0 + width, y0 + height])


def test_the_masks_are_where_the_objects_are() -> None:
    for name in ("burger", "car", "flower"):
        _, clip = drawn(3, actors=1, name=name, split="test")
        near = np.stack([cv2.dilate(m.astype(np.uint8), np.ones((9, 9))) for m in clip.masks[0]]).astype(bool)
        far = np.stack([cv2.erode(m.astype(np.uint8), np.ones((3, 3))) for m in clip.masks[0]]).astype(bool)
        apart = np.abs(clip.frames.astype(int) - clip.clean).sum(-1)
        assert (apart[~near] == 0).all()
        assert np.mean(apart[far] > 20) > 0.9


def test_objects_may_hide_each_other_but_not_their_masks() -> None:
    scene = random_scene(0, frames=2, size=64, actors=2, split="test")
    middle = np.full((2, 2), 0.5)
    together = render(moved(moved(scene, 0, middle), 1, middle))
    first, second = scene.actors
    alone = [render(moved(replace(scene, actors=(actor,)), 0, middle)) for actor in (first, second)]
    for k in range(2):
        assert np.array_equal(together.masks[k], alone[k].masks[0])
    shared = np.stack([cv2.erode(m.astype(np.uint8), np.ones((5, 5))) for m in together.masks[1]]).astype(bool)
    assert np.array_equal(together.frames[shared], alone[1].frames[shared])  # the later one is painted over


@pytest.mark.parametrize("split", ["train", "test"])
def test_captions_name_what_is_there(split: str) -> None:
    for seed in SEEDS:
        scene = random_scene(seed, frames=2, split=split)  # type: ignore[arg-type]
        assert scene.place in scene.caption
        for actor in scene.actors:
            article = "an" if actor.name == "apple" or actor.name == "ice cream" else "a"
            assert f"{article} {actor.name}" in scene.caption
        assert "  " not in scene.caption and "{" not in scene.caption


def test_pairs_kept_for_testing_never_appear_in_training() -> None:
    kept = {(name, place) for name in DRAWINGS for place in BACKGROUNDS if never_trained(name, place)}
    share = len(kept) / (len(DRAWINGS) * len(BACKGROUNDS))
    assert 1 / 9 < share < 1 / 5
    assert {name for name, _ in kept} == set(DRAWINGS) and {place for _, place in kept} == set(BACKGROUNDS)
    trained = {(a.name, s.place) for s in (random_scene(seed, frames=2) for seed in SEEDS) for a in s.actors}
    tested = {
        (a.name, s.place) for s in (random_scene(seed, frames=2, split="test") for seed in SEEDS) for a in s.actors
    }
    assert not trained & kept
    assert len(tested & kept) > 20
    assert {name for name, _ in trained} == set(DRAWINGS) and {place for _, place in trained} == set(BACKGROUNDS)


def test_asked_for_objects_and_places_come() -> None:
    for seed in range(20):
        scene = random_scene(seed, frames=2, name="duck", actors=2, split="train")
        assert scene.actors[0].name == "duck" and scene.actors[1].name != "duck"
        assert not any(never_trained(actor.name, scene.place) for actor in scene.actors)
    place = next(place for place in BACKGROUNDS if not never_trained("duck", place))
    assert random_scene(0, frames=2, name="duck", place=place).place == place


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_is_unknown_is_refused(split: str) -> None:
    with pytest.raises(KeyError, match="burger"):
        random_scene(0, frames=2, split=split, name="cow")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="a meadow"):
        random_scene(0, frames=2, split=split, place="the moon")  # type: ignore[arg-type]


def test_a_pair_kept_for_testing_is_refused_in_training_and_drawn_in_testing() -> None:
    name, place = next((n, p) for n in DRAWINGS for p in BACKGROUNDS if never_trained(n, p))
    with pytest.raises(ValueError, match="test"):
        random_scene(0, frames=2, name=name, place=place)
    assert random_scene(0, frames=2, split="test", name=name, place=place).place == place


def test_photographs_kept_for_testing_are_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HELD_OUT and not set(HELD_OUT) & set(TRAIN_PHOTOS)
    seen: list[str] = []

    def photograph(name: str) -> np.ndarray:
        seen.append(name)
        return np.zeros((64, 64, 3), np.uint8)

    monkeypatch.setattr(backgrounds, "photograph", photograph)
    for seed in range(30):
        for draw in BACKGROUNDS.values():
            draw(np.random.default_rng(seed), 32)
    assert seen and not set(seen) & set(HELD_OUT)
    seen.clear()
    for draw in TEST_BACKGROUNDS.values():
        draw(np.random.default_rng(0), 32)
    assert set(seen) <= set(HELD_OUT) and seen
    assert random_scene(0, frames=2, split="test", place="a photo").held_out
    duck = next(n for n in DRAWINGS if not never_trained(n, "a photo"))
    assert not random_scene(0, frames=2, place="a photo", name=duck, actors=1).held_out


@pytest.mark.parametrize("place", BACKGROUNDS)
def test_every_background_is_a_picture_of_its_own(place: str) -> None:
    texture = BACKGROUNDS[place](np.random.default_rng(0), 60)
    assert texture.shape == (60, 60, 3)
    assert texture.min() >= 0 and texture.max() <= 255
    assert texture.std() > 3
    again, other = (BACKGROUNDS[place](np.random.default_rng(seed), 60) for seed in (0, 1))
    assert np.array_equal(texture, again) and not np.array_equal(texture, other)


def test_a_clip_moves() -> None:
    for seed in range(4):
        scene, clip = drawn(seed)
        first, last = clip.frames[0].astype(int), clip.frames[-1].astype(int)
        assert np.abs(first - last).mean() > 1
        assert not np.array_equal(clip.clean[0], clip.clean[-1])  # the camera or the light does too
        assert np.abs(scene.actors[0].centres[0] - scene.actors[0].centres[-1]).max() > 0.005


@pytest.mark.parametrize("name", DRAWINGS)
def test_moved_puts_the_object_where_it_was_asked(name: str) -> None:
    scene = random_scene(2, frames=2, size=64, split="test", actors=1, name=name)
    level = replace(scene, actors=(replace(scene.actors[0], angles=np.zeros(2)),))
    centres, sizes = np.array([[0.4, 0.45], [0.6, 0.55]]), np.array([[0.4, 0.5], [0.5, 0.4]])
    clip = render(moved(level, 0, centres, sizes))
    boxes = clip.boxes[0]
    assert (boxes[:, :2] + boxes[:, 2:]) / 2 == pytest.approx(centres, abs=1.5 / 64)
    assert boxes[:, 2:] - boxes[:, :2] == pytest.approx(sizes, abs=2.5 / 64)
    assert np.array_equal(clip.clean, render(scene).clean)
    assert np.array_equal(moved(level, 0, centres).actors[0].sizes, level.actors[0].sizes)


def test_an_object_beyond_the_frame_is_cut_or_gone() -> None:
    scene = random_scene(2, frames=2, size=64, split="test", actors=1, name="ball")
    for x, y in ((-2.0, 0.5), (3.0, 0.5), (0.5, -2.0), (0.5, 3.0)):
        gone = render(moved(scene, 0, np.full((2, 2), (x, y))))
        assert not gone.masks.any() and (gone.boxes == 0).all()
        assert np.array_equal(gone.frames, gone.clean)
    cut = render(moved(scene, 0, np.full((2, 2), (1.0, 0.5))))
    assert cut.boxes[0, :, 2].tolist() == [1.0, 1.0] and cut.masks.any()


def test_the_tight_box_of_nothing_is_zeros() -> None:
    assert np.array_equal(tight_box(np.zeros((4, 6), bool)), np.zeros(4))
    mask = np.zeros((4, 6), bool)
    mask[2, 5] = True
    assert tight_box(mask) == pytest.approx([5 / 6, 0.5, 1, 0.75])
