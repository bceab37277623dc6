"""Cases of one object and of two that cross: what is asked can be done, and the truth does it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vxedit.edit.path import parse_path
from vxedit.evaluate.case import FPS, Case, case, crossing
from vxedit.render.scene import render

SEED = 3


@pytest.fixture(scope="module")
def pair() -> Case:
    return crossing(SEED)


def centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def sides(boxes: np.ndarray) -> np.ndarray:
    return boxes[..., 2:] - boxes[..., :2]


def sampled(path: str, start: np.ndarray) -> np.ndarray:
    found = parse_path(path).sample(np.arange(len(start)) / float(FPS), start_boxes=start)
    assert found.warnings == ()
    return found.boxes


@pytest.mark.parametrize("scale", [0.7, 1.5])
def test_a_size_that_is_asked_for_is_the_source_s_scaled_and_the_truth_has_it(scale: float) -> None:
    one, plain = case(SEED, scale=scale), case(SEED)
    source = one.clip.boxes[0]
    assert np.array_equal(one.clip.frames, plain.clip.frames)
    assert np.array_equal(plain.truth.masks, case(SEED, scale=1.0).truth.masks)
    for i in (0, -1):
        np.testing.assert_allclose(sides(one.targets)[i], scale * sides(source)[i], atol=1e-9)
        assert sides(plain.targets)[i] == pytest.approx(sides(source)[i])
    assert np.abs(sampled(one.path, source) - one.targets).max() < 1e-3  # the path as it is written
    assert one.targets.min() >= 0 and one.targets.max() <= 1
    pixels = one.clip.frames.shape[1]
    assert np.abs(one.truth.boxes[0] - one.targets).max() * pixels < 2
    grown = one.truth.masks[0].sum() / one.clip.masks[0].sum()
    assert grown == pytest.approx(scale**2, rel=0.1)


def test_two_that_cross_stand_apart_at_first_and_each_ends_where_the_other_was(pair: Case) -> None:
    assert len(pair.scene.actors) == 2 and len(pair.paths) == 2
    assert pair.paths[0] == (pair.path, pair.targets) and pair.paths[1] == pair.more[0]
    assert not (pair.clip.masks[0] & pair.clip.masks[1]).any()
    before, after = centres(pair.clip.boxes), centres(np.stack([targets for _, targets in pair.paths]))
    for k, other in ((0, 1), (1, 0)):
        assert np.abs(after[k, 0] - before[k, 0]).max() < 0.09  # where it was, a little above or below
        assert np.abs(after[k, -1] - before[other, -1]).max() < 0.14  # cut to where its own size fits
    gap = (after[0] - after[1])[:, 0]
    assert gap[0] * gap[-1] < 0 and np.abs(gap).min() < 0.1


def test_their_paths_as_written_give_their_targets_and_the_truth_has_both_there(pair: Case) -> None:
    pixels = pair.clip.frames.shape[1]
    for k, (path, targets) in enumerate(pair.paths):
        assert np.abs(sampled(path, pair.clip.boxes[k]) - targets).max() < 1e-3
        assert targets.min() >= 0 and targets.max() <= 1
        assert np.abs(pair.truth.boxes[k] - targets).max() * pixels < 1.5
    assert np.array_equal(pair.truth.clean, pair.clip.clean)


def test_the_second_passes_in_front(pair: Case) -> None:
    """Where both are, the truth shows what it would without the first; between a drawing's shapes a little of what is
    behind it shines through."""
    both = pair.truth.masks[0] & pair.truth.masks[1] & ~_rim(pair.truth.masks[1])
    assert both.any()
    apart = []
    for k in (0, 1):
        actor = pair.scene.actors[k]
        track = actor.centres + centres(pair.paths[k][1]) - centres(pair.clip.boxes[k])
        alone = render(replace(pair.scene, actors=(replace(actor, centres=track),))).frames
        apart.append(np.abs(pair.truth.frames[both].astype(int) - alone[both]).mean())
    assert apart[1] < 0.1 * apart[0]


def _rim(masks: np.ndarray) -> np.ndarray:
    """Pixels near the outline, which the lens mixes."""
    side = np.ones((7, 7), np.uint8)
    return np.stack([cv2.erode(mask.astype(np.uint8), side) == 0 for mask in masks])


def test_a_crossing_is_its_seed_s(pair: Case) -> None:
    again, other = crossing(SEED), crossing(SEED + 1)
    assert np.array_equal(again.clip.frames, pair.clip.frames) and again.paths[1][0] == pair.paths[1][0]
    assert np.array_equal(again.truth.frames, pair.truth.frames)
    assert other.path != pair.path and not np.array_equal(other.clip.frames, pair.clip.frames)
