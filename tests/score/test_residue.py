"""The residue falls from 1, the object still there, to 0, something else there, without knowing the background."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vxedit.render.scene import Rendered, moved, random_scene, render
from vxedit.score.residue import residue

HERE, THERE = np.array([0.2, 0.2, 0.5, 0.5]), np.array([0.6, 0.6, 0.9, 0.9])
COUNT, SIDE = 3, 80


def track(box: np.ndarray) -> np.ndarray:
    return np.tile(box, (COUNT, 1))


def slope() -> np.ndarray:
    """A background that grows evenly: uint8 (COUNT, SIDE, SIDE, 3)."""
    across = np.linspace(40, 120, SIDE)
    return np.tile(np.round(across)[None, None, :, None], (COUNT, SIDE, 1, 3)).astype(np.uint8)


def pasted(box: np.ndarray) -> np.ndarray:
    """The slope with a chequered object in the box."""
    frames = slope()
    x0, y0, x1, y1 = np.round(box * SIDE).astype(int)
    tiles = np.indices((y1 - y0, x1 - x0)).sum(0) // 4 % 2
    frames[:, y0:y1, x0:x1] = np.where(tiles[..., None] == 0, (230, 30, 30), (240, 220, 60))
    return frames


def left(edited: np.ndarray, source: np.ndarray | None = None, target: np.ndarray = THERE) -> float:
    """What is left of an object that was HERE, in the slope unless a source is given."""
    return residue(
        edited, pasted(HERE) if source is None else source, source_boxes=track(HERE), target_boxes=track(target)
    )


def test_an_object_left_is_all_residue_and_one_removed_none() -> None:
    assert left(pasted(HERE)) == 1
    assert left(pasted(THERE)) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
def test_a_blend_gives_its_alpha(alpha: float) -> None:
    blend = np.round(alpha * pasted(HERE) + (1 - alpha) * pasted(THERE).astype(float)).astype(np.uint8)
    assert left(blend) == pytest.approx(alpha, abs=0.03)


def test_what_is_unlike_the_source_is_no_residue() -> None:
    assert left(255 - pasted(HERE)) == 0
    assert left(np.zeros_like(slope())) == 0


def test_one_frame_of_three_gives_a_third() -> None:
    edited = np.concatenate([pasted(HERE)[:1], pasted(THERE)[1:]])
    assert left(edited) == pytest.approx(1 / 3, abs=0.02)


def test_only_what_was_vacated_counts() -> None:
    nearby = HERE + (0.15, 0, 0.15, 0)
    edited = pasted(HERE)
    edited[:, :, : round(0.35 * SIDE)] = slope()[:, :, : round(0.35 * SIDE)]  # the half that the target does not cover
    assert left(edited, target=nearby) == pytest.approx(0, abs=0.05)
    assert left(pasted(HERE), target=nearby) == 1


def test_no_answer_where_nothing_can_be_seen() -> None:
    here, there = track(HERE), track(THERE)
    assert math.isnan(left(pasted(HERE), target=HERE))
    assert math.isnan(left(slope(), slope()))  # an object like its background
    assert math.isnan(residue(pasted(HERE), pasted(HERE), source_boxes=here, target_boxes=there, others=[here]))
    assert math.isnan(residue(slope(), pasted(HERE), source_boxes=here * np.nan, target_boxes=there))


def test_a_perfect_edit_over_textures_measures_near_none() -> None:
    shares = []
    for seed in (900, 903, 905, 907):
        scene = random_scene(seed, split="test", frames=2, actors=1)
        source: Rendered = render(scene)
        boxes = source.boxes[0]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        away = centres + np.where(centres > 0.5, -0.35, 0.35)
        edit = render(moved(scene, 0, away))
        shares.append(residue(edit.frames, source.frames, source_boxes=boxes, target_boxes=edit.boxes[0]))
    assert np.mean(shares) < 0.1


def test_large_frames_are_measured_alike() -> None:
    large = np.repeat(np.repeat(pasted(THERE), 4, 1), 4, 2)
    source = np.repeat(np.repeat(pasted(HERE), 4, 1), 4, 2)
    assert left(large, source) == pytest.approx(0, abs=0.02)
    assert left(source, source) == 1


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="one shape"):
        residue(slope()[:2], slope(), source_boxes=track(HERE), target_boxes=track(THERE))
