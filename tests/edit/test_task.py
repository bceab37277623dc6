"""What an editor is given, in the latents' own time, and the region of one that makes the whole frame anew."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from tests.edit.pixels import PixelBackbone, noised
from vxedit.backbones.protocol import Backbone
from vxedit.edit.locate import Located
from vxedit.edit.task import Subject, Task, everywhere

SIDE, FRAMES = 16, 5


class InTwos(PixelBackbone):
    """One latent frame for two of the clip's, the last for one."""

    def spans(self, frames: int) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(range(first, min(first + 2, frames))) for first in range(0, frames, 2))


def subject(left: int, top: int, by: float) -> Subject:
    """A block of 4 x 4 pixels that goes a pixel to the right in every frame, wanted `by` of the frame lower."""
    masks = np.zeros((FRAMES, SIDE, SIDE), bool)
    for i in range(FRAMES):
        masks[i, top : top + 4, left + i : left + i + 4] = True
    boxes = np.array([[left + i, top, left + i + 4, top + 4] for i in range(FRAMES)]) / SIDE
    return Subject("block", (1,), Located(masks, boxes), boxes + [0, by, 0, by])


@pytest.fixture
def task() -> Task:
    clean = torch.zeros(1, 3, FRAMES, 2, 2)
    frames = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
    return Task(
        cast(Backbone, PixelBackbone()),
        noised(clean, torch.ones_like(clean), 2),
        frames,
        (subject(0, 0, 0.5), subject(4, 2, 0.25)),
        torch.Generator(),
    )


def test_aims_and_origins_are_the_subjects_boxes_of_each_latent_frame(task: Task) -> None:
    for subjects, aim, origin in zip(task.subjects, task.aims(), task.origins(), strict=True):
        np.testing.assert_array_equal(aim, subjects.targets)
        np.testing.assert_array_equal(origin, subjects.found.boxes)


def test_where_a_latent_frame_covers_several_it_has_their_mean(task: Task) -> None:
    halved = replace(task, backbone=cast(Backbone, InTwos()))
    aims, origins = halved.aims(), halved.origins()
    lefts = np.array([0.5, 2.5, 4]) / SIDE  # of 0 and 1, of 2 and 3, and 4 alone
    assert len(aims) == len(origins) == 2
    np.testing.assert_allclose(aims[0], np.stack([lefts, [0.5] * 3, lefts + 0.25, [0.75] * 3], 1))
    np.testing.assert_allclose(origins[1], np.stack([lefts + 0.25, [0.125] * 3, lefts + 0.5, [0.375] * 3], 1))


def test_progress_reaches_whoever_asked_for_it(task: Task) -> None:
    told: list[tuple[int, int]] = []
    task.tell(1, 2)
    replace(task, progress=lambda done, total: told.append((done, total))).tell(1, 2)
    assert told == [(1, 2)]


def test_everywhere_is_the_whole_frame_and_knows_all_the_objects_places(task: Task) -> None:
    region = everywhere(task)
    assert region.alpha.shape == (FRAMES, SIDE, SIDE) and (region.alpha == 1).all()
    first, second = task.subjects
    np.testing.assert_array_equal(region.source, (first.found.masks | second.found.masks).astype(np.float32))
    wanted = np.zeros_like(region.target)
    for i in range(FRAMES):
        wanted[i, 8:12, i : i + 4] = wanted[i, 6:10, 4 + i : 8 + i] = 1  # whole pixels, so without part cover
    np.testing.assert_allclose(region.target, wanted, atol=1e-6)
    np.testing.assert_allclose(region.vacated, region.source * (1 - wanted), atol=1e-6)
    assert region.source.any() and region.vacated.any()
