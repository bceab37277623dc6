"""The edited branch's noise and energy against what they are made of, and what its passes come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.edit.scenes import clip
from vxedit.backbones.tokens import columns as columns_of
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import capture_words, words_maps
from vxedit.edit.branch import Branch
from vxedit.edit.guidance import GuidanceSettings
from vxedit.edit.locate import Located
from vxedit.edit.objective import NAMES, Aim, Weights, energy_of
from vxedit.edit.real import Parts, Recipe, edit
from vxedit.edit.task import Subject, Task
from vxedit.edit.word_control import TakeoverSettings, WordDenoiser
from vxedit.edit.words import word_edit
from vxedit.invert.inversion import Inversion, denoiser, invert
from vxedit.job import InvertSettings
from vxedit.render.scene import Rendered

STEPS = 4
PROMPT = "the burger on the red ball"
BY = np.array([0.25, 0.125, 0.25, 0.125])
NONE = Weights(**dict.fromkeys(NAMES, 0.0))
COMPARED = ("size", "shape", "appearance")


@pytest.fixture(scope="module")
def truth() -> Rendered:
    return clip("ball", "gravel", frames=3, size=64, start=(0.3, 0.35), end=(0.34, 0.4))


@pytest.fixture(scope="module")
def inversion(tiny: UNet3D, truth: Rendered) -> Inversion:
    return invert(tiny, tiny.encode(truth.frames), PROMPT, InvertSettings("uni", STEPS, 2.5))


@pytest.fixture
def task(tiny: UNet3D, inversion: Inversion, truth: Rendered) -> Task:
    """The burger is where the ball is, and the ball where the burger is asked to go."""
    here = Located(truth.masks[0], truth.boxes[0])
    there = Located(truth.masks[0], truth.boxes[0] + BY)
    subjects = [
        Subject(word, columns_of(tiny.tokens(PROMPT), PROMPT, word), found, found.boxes + by)
        for word, found, by in (("burger", here, BY), ("ball", there, -BY))
    ]
    return Task(tiny, inversion, truth.frames, tuple(subjects), torch.Generator().manual_seed(0))


def branch_of(task: Task, weights: Weights | None = None, **changed: Any) -> Branch:
    return Branch(replace(task, **changed), weights or Weights(), TakeoverSettings(), scale=None)


def to_source(task: Task) -> Task:
    """The same, with every object to stay where it is."""
    return replace(task, subjects=tuple(replace(one, targets=one.found.boxes) for one in task.subjects))


@pytest.fixture
def counted(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """The passes that are made: their timestep, and whether they took a gradient."""
    passes: list[tuple[int, bool]] = []
    predict = tiny.predict

    def note(latents: Tensor, timestep: int, embeds: Tensor) -> Tensor:
        passes.append((timestep, latents.requires_grad))
        return predict(latents, timestep, embeds)

    monkeypatch.setattr(tiny, "predict", note)
    return passes


def test_without_words_the_noise_is_the_inversion_s_own_and_its_passes_are_counted(task: Task) -> None:
    branch, own = branch_of(task), denoiser(task.backbone, task.inversion)
    x = task.inversion.pivot(1)
    never: Callable[[int], Tensor] = lambda i: pytest.fail("the source is not needed")  # noqa: E731
    assert torch.equal(branch.noise(x, 1, never), own(x, 1))
    assert branch.forwards == own.forwards == 2
    assert branch.blended(x, 1, x + 1) is x
    cheap = Branch(task, Weights(), TakeoverSettings(), scale=1.0)
    cheap.noise(x, 1, never)
    assert cheap.forwards == 1


@torch.no_grad()
def test_the_energy_is_of_all_the_objects_words_the_later_in_front(task: Task) -> None:
    branch, inversion = branch_of(task), task.inversion
    x = inversion.pivot(2)
    embeds = task.backbone.text(PROMPT).embeds
    words = [subject.columns for subject in task.subjects]
    assert [len(columns) for columns in words] == [2, 1]
    maps = words_maps(task.backbone, x, inversion.schedule.timesteps[2], embeds, words)
    boxes = [subject.targets for subject in task.subjects]
    expected = energy_of(maps, [Aim(boxes[0], 0), Aim(boxes[1], 1)], Weights())
    assert expected.shape == (3,)
    torch.testing.assert_close(branch.energy(2)(x), expected)
    backwards = energy_of(maps, [Aim(boxes[0], 1), Aim(boxes[1], 0)], Weights())
    assert (expected - backwards).abs().max() > 1e-4  # the boxes overlap, so their order counts
    assert branch.forwards == 0


@pytest.mark.parametrize("name", COMPARED)
def test_what_compares_with_the_source_sees_it_in_a_pass_that_is_counted(
    task: Task, counted: list[tuple[int, bool]], name: str
) -> None:
    """At the source's own latents, with nothing to be moved, there is nothing to lower; elsewhere there is."""
    branch = branch_of(to_source(task), replace(NONE, **{name: 1.0}))
    assert branch.forwards == 0
    energy = branch.energy(1)
    t = task.inversion.schedule.timesteps[1]
    assert counted == [(t, False)] and branch.forwards == 1
    # the front object hides a part of the other, whose expected shape and size have a hole there
    alone = branch_of(
        replace(to_source(task), subjects=to_source(task).subjects[:1]), replace(NONE, **{name: 1.0})
    ).energy(1)
    source = task.inversion.pivot(1)
    with torch.no_grad():
        assert float(alone(source).abs().max()) < 1e-5
        assert float(alone(source + torch.randn_like(source)).max()) > 1e-3
        assert energy(source).shape == (3,)
    point = (source + 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(alone(point).sum(), point)
    assert bool(torch.isfinite(gradient).all()) and float(gradient.abs().max()) > 0


def test_energies_of_place_alone_need_no_pass_of_the_source(task: Task, counted: list[tuple[int, bool]]) -> None:
    place = replace(Weights(**dict.fromkeys(NAMES, 1.0)), **dict.fromkeys(COMPARED, 0.0))
    branch = branch_of(task, place)
    branch.energy(1)
    assert counted == [] and branch.forwards == 0


def test_the_editor_counts_the_source_s_passes(task: Task) -> None:
    guidance = GuidanceSettings(iterations=1, rate=0.02, enough=0.0, until=0.5)
    how = Recipe(start=1.0, guidance=guidance, parts=Parts(transport=False))
    plain = edit(task, how)
    compared = edit(task, replace(how, weights=Weights(appearance=0.5)))
    assert plain.guided == compared.guided == 2 * 2  # a look and one iteration, in each of half of the steps
    assert compared.forwards == plain.forwards + 2
    assert not torch.equal(plain.latents, compared.latents)


def test_the_energies_weights_steer_the_edit(task: Task) -> None:
    guidance = GuidanceSettings(iterations=1, rate=0.05, enough=0.0, until=0.25)
    how = Recipe(guidance=guidance, parts=Parts(anchor=False))
    box, centroid = (edit(task, replace(how, weights=w)) for w in (Weights(), Weights(box=0, leak=0, centroid=1.0)))
    assert box.energy_before is not None and centroid.energy_before is not None
    assert not torch.allclose(box.energy_before, centroid.energy_before)
    assert not torch.equal(box.latents, centroid.latents)
    nothing = edit(task, replace(how, weights=NONE))
    assert nothing.energy_before is not None and not nothing.energy_before.any()


@torch.no_grad()
def test_with_words_noise_and_blend_are_the_word_edit_s(task: Task, tiny: UNet3D) -> None:
    words = word_edit(tiny.tokens, PROMPT, replace={"burger": "red"})
    inversion, x = task.inversion, task.inversion.pivot(2) + 0.1
    settings = TakeoverSettings()
    branch, own = branch_of(task, words=words), WordDenoiser(tiny, inversion, words, scale=None, settings=settings)
    assert torch.equal(branch.noise(x, 2, inversion.pivot), own(x, 2, inversion.pivot(2)))
    assert torch.equal(branch.blended(x, 2, inversion.pivot(3)), own.blended(x, 2, inversion.pivot(3)))
    assert branch.forwards == own.forwards > 2
    assert not torch.equal(branch.noise(x, 2, inversion.pivot), branch_of(task).noise(x, 2, inversion.pivot))


@torch.no_grad()
def test_with_words_the_energy_looks_for_what_the_words_became(task: Task, tiny: UNet3D) -> None:
    """The burger, columns 2 and 3, becomes a cat, which is three letters; the ball moves on by one."""
    words = word_edit(tiny.tokens, PROMPT, replace={"burger": "cat"})
    target = "the cat on the red ball"
    columns = [columns_of(tiny.tokens(target), target, word) for word in ("cat", "ball")]
    assert [len(found) for found in columns] == [3, 1]
    x, t = task.inversion.pivot(1), task.inversion.schedule.timesteps[1]
    with capture_words(tiny, columns, stop=True) as seen:
        tiny.predict(x, t, tiny.text(target).embeds)
    boxes = [subject.targets for subject in task.subjects]
    expected = energy_of(seen.maps, [Aim(box, order) for order, box in enumerate(boxes)], Weights())
    branch = branch_of(task, words=words)
    torch.testing.assert_close(branch.energy(1)(x), expected)
    assert not torch.allclose(branch_of(task).energy(1)(x), expected)


def test_with_words_the_source_is_still_seen_under_its_own_prompt(
    task: Task, tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = word_edit(tiny.tokens, PROMPT, replace={"burger": "cat"})
    seen: list[Tensor] = []
    branch = branch_of(task, Weights(size=1.0), words=words)
    predict = tiny.predict

    def note(latents: Tensor, timestep: int, embeds: Tensor) -> Tensor:
        seen.append(embeds)
        return predict(latents, timestep, embeds)

    monkeypatch.setattr(tiny, "predict", note)
    energy = branch.energy(1)
    energy(task.inversion.pivot(1))
    own, new = (tiny.text(prompt).embeds for prompt in (PROMPT, "the cat on the red ball"))
    assert len(seen) == 2 and torch.equal(seen[0], own) and torch.equal(seen[1], new)
