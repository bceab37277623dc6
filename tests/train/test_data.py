"""Training data: crops, photographs, and the labels that ground a clip's words."""

from __future__ import annotations

import numpy as np
import pytest

from vxedit.render.scene import Rendered, random_scene, render
from vxedit.train.data import labels, photographs, random_crops, rendered_clips


def covered(*boxes: tuple[int, int, int, int]) -> Rendered:
    """A clip of one frame, 32 pixels a side, whose objects fill the given pixels."""
    masks = np.zeros((len(boxes), 1, 32, 32), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[0, y0:y1, x0:x1] = True
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    return Rendered(frames, frames, masks, np.zeros((len(boxes), 1, 4)), "a ball and a cup over sand")


def test_labels_are_the_share_of_each_cell() -> None:
    found = labels(covered((4, 8, 16, 16)), ["ball"], 4)
    wanted = np.zeros((4, 4))
    wanted[1, :2] = 0.5, 1
    assert found.coverage.shape == (1, 1, 4, 4)
    assert found.coverage[0, 0].astype(float) == pytest.approx(wanted, abs=1e-3)
    assert found.names == ("ball",) and found.caption == "a ball and a cup over sand"


def test_what_is_hidden_is_not_labelled() -> None:
    found = labels(covered((0, 0, 16, 16), (8, 0, 24, 16)), ["ball", "cup"], 4).coverage[:, 0]
    assert found[0, :2].astype(float) == pytest.approx(np.array([[1, 0, 0, 0]] * 2))
    assert found[1, :2].astype(float) == pytest.approx(np.array([[0, 1, 1, 0]] * 2))


def test_clips_are_those_of_their_seeds() -> None:
    told: list[int] = []
    (clip,) = rendered_clips([7], progress=told.append)
    assert clip.frames.shape == (16, 128, 128, 3)
    assert np.array_equal(clip.frames, render(random_scene(7)).frames)
    assert told == [1]


def test_crops_come_from_the_pictures() -> None:
    pictures = np.arange(3 * 20 * 30 * 3).reshape(3, 20, 30, 3)
    crops = random_crops(np.random.default_rng(0), pictures, 40, 8)
    assert crops.shape == (40, 8, 8, 3)
    mirrored = 0
    for crop in crops:
        flipped = crop[0, 0, 0] > crop[0, -1, 0]
        mirrored += flipped
        upright = crop[:, ::-1] if flipped else crop
        k, y, x, _ = np.unravel_index(upright[0, 0, 0], pictures.shape)
        assert np.array_equal(upright, pictures[k, y : y + 8, x : x + 8])
    assert 8 < mirrored < 32
    assert random_crops(np.random.default_rng(0), pictures[:, :8, :8], 2, 8).shape == (2, 8, 8, 3)


def test_photographs_are_pictures() -> None:
    crops = photographs(np.random.default_rng(0), 2, size=24)
    assert crops.shape == (2, 24, 24, 3) and crops.dtype == np.uint8 and crops.std() > 5
    held = photographs(np.random.default_rng(0), 2, held_out=True, size=24)
    assert held.shape == crops.shape and not np.array_equal(held, crops)
