"""The ghost is the alpha of what was left behind."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vxedit.render.scene import Rendered, moved, random_scene, render
from vxedit.score.ghost import ghost


@pytest.fixture(scope="module")
def clips() -> tuple[Rendered, Rendered]:
    """A burger on the left, and the same clip with it on the right: nothing is left behind there."""
    scene = random_scene(3, split="test", frames=4, actors=1, name="burger", place="a meadow")
    left, right = np.full((4, 2), 0.3), np.full((4, 2), 0.7)
    return render(moved(scene, 0, left)), render(moved(scene, 0, right))


def measured(edited: np.ndarray, source: Rendered, target: Rendered) -> float:
    return ghost(edited, source.frames, source.clean, source_mask=source.masks[0], target_mask=target.masks[0])


def test_the_source_is_all_ghost_and_the_clean_clip_none(clips: tuple[Rendered, Rendered]) -> None:
    source, target = clips
    assert measured(source.frames, source, target) == pytest.approx(1)
    assert measured(source.clean, source, target) == 0
    assert measured(target.frames, source, target) == 0


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.8])
def test_a_blend_gives_its_alpha(clips: tuple[Rendered, Rendered], alpha: float) -> None:
    source, target = clips
    blend = np.round(alpha * source.frames + (1 - alpha) * source.clean.astype(float)).astype(np.uint8)
    assert measured(blend, source, target) == pytest.approx(alpha, abs=0.01)


def test_half_of_the_frames_gives_a_half(clips: tuple[Rendered, Rendered]) -> None:
    source, target = clips
    edited = source.clean.copy()
    edited[:2] = source.frames[:2]
    assert measured(edited, source, target) == pytest.approx(0.5)


def test_other_colours_are_no_ghost(clips: tuple[Rendered, Rendered]) -> None:
    source, target = clips
    opposite = np.clip(2 * source.clean.astype(int) - source.frames, 0, 255).astype(np.uint8)
    assert measured(opposite, source, target) == 0


def test_what_the_target_covers_does_not_count(clips: tuple[Rendered, Rendered]) -> None:
    source, _ = clips
    masks = source.masks[0].copy()
    masks[:, :, : masks.shape[2] // 4] = False  # the object goes on filling most of its old place
    vacated = source.masks[0] & ~masks
    assert vacated.sum((1, 2)).min() >= 30
    edited = source.frames.copy()
    edited[vacated] = source.clean[vacated]
    assert ghost(edited, source.frames, source.clean, source_mask=source.masks[0], target_mask=masks) == 0


def test_no_answer_where_nothing_was_vacated(clips: tuple[Rendered, Rendered]) -> None:
    source, _ = clips
    assert math.isnan(measured(source.frames, source, source))
    few = source.masks[0].copy()
    for mask in few:
        mask.flat[np.flatnonzero(mask)[:29]] = False
    assert math.isnan(ghost(source.frames, source.frames, source.clean, source_mask=source.masks[0], target_mask=few))


def test_shapes_are_checked(clips: tuple[Rendered, Rendered]) -> None:
    source, target = clips
    with pytest.raises(ValueError, match="one size"):
        measured(source.frames[:2], source, target)
