"""Null-text optimisation with a denoiser that is linear in the embeddings, so that the optimum is known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Schedule
from vxedit.invert.ddim import guided, step
from vxedit.invert.null_text import NullText, optimise, target_noise

SHAPE = (1, 2, 3, 4, 4)
SCALE = 2.5
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SCHEDULE = noise(BETAS | {"steps_offset": 1}).schedule(4)
PROMPT = torch.tensor([[[0.4, -0.3]]], dtype=torch.float64)  # (1, L, D), a value a channel


@dataclass
class Linear:
    """0.3 x + what the text says for each channel; how often it was called, and how often for a gradient."""

    forwards: int = 0
    with_graph: int = 0

    def __call__(self, x: Tensor, i: int, embeds: Tensor) -> Tensor:
        self.forwards += 1
        self.with_graph += embeds.requires_grad and torch.is_grad_enabled()
        said = embeds[:, :, 0].transpose(1, 2) if embeds.ndim == 4 else embeds[:, 0, :, None]  # (1, D, f or 1)
        return 0.3 * x + said[..., None, None]


def start(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trajectory(null: Tensor, scale: float = SCALE) -> list[Tensor]:
    """The pivots that guidance with the null embeddings (N, 1, L, D) or (N, 1, f, L, D) follows exactly."""
    predict, pivots = Linear(), [start()]
    for i in range(len(SCHEDULE)):
        eps = guided(predict(pivots[-1], i, null[i]), predict(pivots[-1], i, PROMPT), scale)
        pivots.append(step(pivots[-1], eps, SCHEDULE.abar[i], SCHEDULE.abar[i + 1]))
    return pivots


def shifted(*by: float) -> Tensor:
    """The prompt shifted by each of `by`, one a step: (N, 1, L, D)."""
    return torch.stack([PROMPT + value for value in by])


def follow(found: NullText, pivots: list[Tensor], scale: float, schedule: Schedule = SCHEDULE) -> list[float]:
    """The mean squared misses of a replay with the embeddings found."""
    predict, x, misses = Linear(), pivots[0], []
    for i in range(len(schedule)):
        eps = guided(predict(x, i, found.embeddings[i][None]), predict(x, i, PROMPT), scale)
        x = step(x, eps, schedule.abar[i], schedule.abar[i + 1])
        misses.append(float((x - pivots[i + 1]).square().mean()))
    return misses


@pytest.mark.parametrize("scale", [0.0, 2.5, 7.5])
def test_a_guided_step_with_the_target_noise_lands_on_the_pivot(scale: float) -> None:
    x, after, conditional = start(1), start(2), start(3)
    target = target_noise(x, after, conditional, scale, 0.3, 0.6)
    torch.testing.assert_close(step(x, guided(target, conditional, scale), 0.3, 0.6), after, rtol=0, atol=1e-9)


@pytest.mark.parametrize("teacher_forced", [False, True])
def test_the_optimum_is_found(teacher_forced: bool) -> None:
    optimum = shifted(0.04, -0.05, 0.03, -0.02)
    how = {"max_steps": 150, "tolerance": 1e-11, "teacher_forced": teacher_forced}
    found = optimise(Linear(), trajectory(optimum), SCHEDULE, PROMPT, SCALE, **how)
    assert found.embeddings.shape == (4, 1, 2)
    torch.testing.assert_close(found.embeddings, optimum[:, 0], rtol=0, atol=2e-3)
    assert max(found.errors) < 1e-6


def test_a_few_steps_help_and_stop_when_it_is_good_enough() -> None:
    pivots = trajectory(shifted(0.04, -0.05, 0.03, -0.02))
    untouched = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=0)
    few = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=3)
    good = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=100)
    assert untouched.backwards == 0 and torch.equal(untouched.embeddings, PROMPT.expand(4, 1, 2))
    assert few.backwards <= 12
    assert few.errors[-1] < 0.5 * untouched.errors[-1]
    assert good.errors[-1] < 2e-6 < few.errors[-1]  # the tolerance
    assert good.backwards < 100  # not all that it might have taken


def test_what_was_spent_is_what_was_called() -> None:
    predict = Linear()
    found = optimise(predict, trajectory(shifted(0.04, -0.05, 0.03, -0.02)), SCHEDULE, PROMPT, SCALE, max_steps=5)
    assert found.forwards == predict.forwards
    assert 0 < found.backwards <= predict.with_graph


def test_a_trajectory_that_needs_nothing_costs_one_pass_a_step() -> None:
    predict, told = Linear(), []
    pivots = trajectory(shifted(0, 0, 0, 0))
    found = optimise(predict, pivots, SCHEDULE, PROMPT, SCALE, progress=lambda i, n: told.append((i, n)))
    assert (found.forwards, found.backwards) == (4, 0)
    assert predict.forwards == 4
    assert torch.equal(found.embeddings, PROMPT.expand(4, 1, 2))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_at_scale_one_there_is_nothing_to_find() -> None:
    predict = Linear()
    pivots = trajectory(shifted(0.5, 0.5, 0.5, 0.5), scale=0.5)  # a trajectory that the prompt alone misses
    found = optimise(predict, pivots, SCHEDULE, PROMPT, 1.0)
    assert (found.forwards, found.backwards) == (4, 0)
    assert torch.equal(found.embeddings, PROMPT.expand(4, 1, 2))
    assert found.errors == pytest.approx(follow(found, pivots, 1.0), rel=1e-9)
    assert min(found.errors) > 1e-4


@pytest.mark.parametrize("per_frame", [False, True])
def test_the_errors_are_those_of_a_replay(per_frame: bool) -> None:
    pivots = trajectory(shifted(0.2, -0.2, 0.2, -0.2))  # too far for the steps allowed
    found = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=4, per_frame=per_frame)
    assert found.errors == pytest.approx(follow(found, pivots, SCALE), rel=1e-6)
    assert max(found.errors) > 1e-5


def test_one_embedding_a_frame_finds_what_one_for_all_can_not() -> None:
    by = torch.tensor([0.05, 0.0, -0.05], dtype=torch.float64).view(1, 3, 1, 1)
    pivots = trajectory(torch.stack([PROMPT[:, None] + by] * 4))
    for_all = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=60)
    each = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=60, per_frame=True)
    assert for_all.embeddings.shape == (4, 1, 2)
    assert each.embeddings.shape == (4, 3, 1, 2)
    assert max(each.errors) < 1e-5 < 1e-4 < max(for_all.errors)


def test_without_teacher_forcing_drift_is_corrected() -> None:
    """The first step is out of reach; what it leaves is made good by the later ones only where they start from it."""
    pivots = trajectory(shifted(0.3, 0, 0, 0))
    forced = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, teacher_forced=True, max_steps=10, patience=10)
    free = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=10, patience=10)
    assert forced.backwards == 10  # the other steps were right at their pivots
    assert free.backwards > 10
    assert follow(free, pivots, SCALE)[-1] < 0.6 * follow(forced, pivots, SCALE)[-1]


def test_a_search_that_would_not_arrive_is_given_up() -> None:
    pivots = trajectory(shifted(0.3, 0, 0, 0))
    found = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, teacher_forced=True, max_steps=10)
    assert found.backwards == 2  # the default patience, for the one step that is out of reach


def test_a_schedule_whose_last_step_goes_nowhere_asks_for_nothing_there() -> None:
    """Timesteps from 0 and set_alpha_to_one false: the last step stays at abar[0], and no noise matters to it."""
    still = noise({"set_alpha_to_one": False}).schedule(4)
    assert still.abar[-1] == still.abar[-2]
    x = start()
    pivots = [x, *(step(x, 0.3 * x, still.abar[0], b) for b in still.abar[1:])]
    found = optimise(Linear(), pivots, still, PROMPT, SCALE, teacher_forced=True, max_steps=2)
    assert found.backwards == 6  # two for each of the three steps that go somewhere
    assert bool(torch.isfinite(found.embeddings).all()) and max(found.errors[-1:]) < 1e-20


def test_the_search_leaves_the_prompt_and_gradients_as_they_were() -> None:
    prompt = PROMPT.clone()
    found = optimise(Linear(), trajectory(shifted(0.04, -0.05, 0.03, -0.02)), SCHEDULE, prompt, SCALE, max_steps=3)
    assert torch.equal(prompt, PROMPT) and not prompt.requires_grad
    assert not found.embeddings.requires_grad


def test_it_works_where_the_caller_has_turned_gradients_off() -> None:
    pivots = trajectory(shifted(0.04, -0.05, 0.03, -0.02))
    plain = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=3)
    with torch.no_grad():
        off = optimise(Linear(), pivots, SCHEDULE, PROMPT, SCALE, max_steps=3)
    assert torch.equal(off.embeddings, plain.embeddings)
