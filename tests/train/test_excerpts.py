"""Excerpts of encoded clips."""

from __future__ import annotations

import numpy as np
import torch

from vxedit.train.data import Labels
from vxedit.train.excerpts import Batch, LatentClips, draw

CLIPS, FRAMES, CELLS = 3, 8, 16


def clips() -> LatentClips:
    """Clips whose latents say where and when they are: clip, frame, row, column as four channels. An object of three
    cells a side moves along the diagonal."""
    place = torch.meshgrid(*(torch.arange(n).float() for n in (CLIPS, FRAMES, CELLS, CELLS)), indexing="ij")
    coverage = np.zeros((1, FRAMES, CELLS, CELLS), np.float16)
    for i in range(FRAMES):
        coverage[0, i, i : i + 3, i : i + 3] = 1
    label = Labels("a ball over sand", ("ball",), coverage)
    return LatentClips(torch.stack(place, 2).half(), (label,) * CLIPS)


def test_whole_excerpts_are_the_clips_own_frames_in_order() -> None:
    found = draw(clips(), Batch(4, 6), np.random.default_rng(0))
    assert found.latents.shape == (6, 4, 4, CELLS, CELLS) and found.coverage.shape == (6, 4, 2, CELLS, CELLS)
    assert torch.equal(found.latents[:, 0, 0, 0, 0], torch.from_numpy(found.clips).float())
    times = found.latents[:, 1, :, 0, 0]
    steps = times.diff(dim=1)
    assert set(steps.unique().tolist()) <= {1.0, 2.0} and len(steps.unique()) == 1
    for one, when in zip(found.coverage, times, strict=True):
        assert [int(frame[0].nonzero()[0, 0]) for frame in one] == when.int().tolist()
        assert float(one[:, 1].sum()) == 0  # there is no second object


def test_the_same_chance_gives_the_same_excerpts() -> None:
    one, other = (draw(clips(), Batch(2, 5), np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one.latents, other.latents) and torch.equal(one.coverage, other.coverage)
