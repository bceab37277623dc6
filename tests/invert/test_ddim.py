"""Steps between noise levels, against an analytic denoiser."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.invert.gaussian import Gaussian, smooth_schedule
from vxedit.backbones.flow import scale_of
from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Schedule
from vxedit.invert.ddim import (
    clean_of,
    coefficients,
    guided,
    invert_ddim,
    mixed_noise,
    noise_of,
    renewing_step,
    replay,
    same_levels,
    step,
)

MODEL = Gaussian()
SHAPE = (1, 2, 3, 4, 4)


def invert(clean: Tensor, schedule: Schedule, *, second_order: bool, refine: int = 0) -> list[Tensor]:
    def predict(x: Tensor, timestep: int, abar: float) -> Tensor:
        return MODEL.noise(x, abar)

    return invert_ddim(predict, clean, schedule, second_order=second_order, refine=refine, enough=1e-9)


def again(start: Tensor, schedule: Schedule, pivots: list[Tensor] | None = None) -> Tensor:
    return replay(lambda x, i: MODEL.noise(x, schedule.abar[i]), start, schedule, pivots=pivots)


def miss(steps: int, *, second_order: bool = True, refine: int = 0) -> float:
    """How far the replay of an inversion ends from where the inversion began."""
    clean, schedule = MODEL.sample(*SHAPE), smooth_schedule(steps)
    pivots = invert(clean, schedule, second_order=second_order, refine=refine)
    return float((again(pivots[0], schedule) - clean).abs().mean())


@pytest.mark.parametrize(("a", "b"), [(0.02, 0.06), (0.5, 0.9), (0.99, 1.0), (0.9, 0.0047)])
def test_a_step_is_its_own_inverse(a: float, b: float) -> None:
    x, eps = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    there = step(x, eps, a, b)
    assert (there - x).abs().max() > 1e-3
    torch.testing.assert_close(step(there, eps, b, a), x, rtol=0, atol=1e-6)


def test_a_step_keeps_the_clean_latents_and_the_noise_that_it_was_given() -> None:
    clean, eps = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = 0.3**0.5 * clean + 0.7**0.5 * eps
    torch.testing.assert_close(step(x, eps, 0.3, 0.8), 0.8**0.5 * clean + 0.2**0.5 * eps, rtol=0, atol=1e-12)
    torch.testing.assert_close(clean_of(x, eps, 0.3), clean, rtol=0, atol=1e-12)
    torch.testing.assert_close(step(x, eps, 0.3, 1.0), clean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_a_renewing_step_is_that_of_diffusers(eta: float) -> None:
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(num_train_timesteps=1000, set_alpha_to_one=False, clip_sample=False)
    theirs.set_timesteps(10)
    x, eps, fresh = (MODEL.sample(*SHAPE, seed=seed) for seed in range(3))
    for t in (901, 501):
        a, b = (float(theirs.alphas_cumprod[at]) for at in (t, t - 100))
        wanted = theirs.step(eps, t, x, eta=eta, variance_noise=fresh).prev_sample
        torch.testing.assert_close(renewing_step(x, eps, fresh, a, b, eta), wanted, rtol=0, atol=1e-5)
    if eta == 0:
        torch.testing.assert_close(renewing_step(x, eps, fresh, a, b, eta), step(x, eps, a, b), rtol=0, atol=1e-9)


def test_a_replay_makes_its_steps_as_it_is_told() -> None:
    start, schedule, seen = MODEL.sample(*SHAPE), smooth_schedule(3), []

    def move(x: Tensor, eps: Tensor, i: int) -> Tensor:
        seen.append(i)
        return x + eps

    torch.testing.assert_close(replay(lambda x, i: x * 0 + i, start, schedule, move=move), start + 3)
    assert seen == [0, 1, 2]


def test_no_step_changes_nothing() -> None:
    assert coefficients(0.4, 0.4) == (1.0, 0.0)


def test_the_exact_ode_carries_the_data_to_its_noise() -> None:
    """Under the exact score a value k spreads from the mean stays k spreads away at every level; many steps show it."""
    schedule, clean = smooth_schedule(400), MODEL.sample(*SHAPE)
    pivots = invert(clean, schedule, second_order=True)
    for i in (0, 200):
        abar = schedule.abar[i]
        spread = (abar * MODEL.spread**2 + 1 - abar) ** 0.5
        exact = abar**0.5 * MODEL.mean + spread / MODEL.spread * (clean - MODEL.mean)
        torch.testing.assert_close(pivots[i], exact, rtol=0, atol=0.02)


def test_the_plain_rule_is_of_first_order_and_uni_inv_of_second() -> None:
    plain = [miss(steps, second_order=False) for steps in (20, 40, 80)]
    second = [miss(steps, second_order=True) for steps in (20, 40, 80)]
    for coarse, fine in pairwise(plain):
        assert coarse / fine == pytest.approx(2, rel=0.2)
    for coarse, fine in pairwise(second):
        assert coarse / fine == pytest.approx(4, rel=0.2)
    for one, other in zip(second, plain, strict=True):
        assert one < 0.5 * other


@pytest.mark.parametrize(("second_order", "passes"), [(False, 10), (True, 11)])
def test_what_an_inversion_costs_and_gives(second_order: bool, passes: int) -> None:
    schedule, calls, told = smooth_schedule(10), [], []

    def predict(x: Tensor, timestep: int, abar: float) -> Tensor:
        calls.append((timestep, abar))
        return MODEL.noise(x, abar)

    clean = MODEL.sample(*SHAPE)
    pivots = invert_ddim(predict, clean, schedule, second_order=second_order, progress=lambda i, n: told.append((i, n)))
    assert len(calls) == passes
    assert len(pivots) == 11 and torch.equal(pivots[-1], clean)
    assert told == [(i, 10) for i in range(1, 11)]
    assert set(calls) == set(zip(schedule.timesteps, schedule.abar[:-1], strict=True))  # never at a level it can't know


def test_refining_comes_ever_nearer_to_the_step_that_is_undone_exactly() -> None:
    misses = [miss(10, refine=passes) for passes in (0, 1, 2, 4)]
    for coarse, fine in pairwise(misses):
        assert fine < 0.5 * coarse
    assert miss(10, refine=60) < 1e-9


def test_refining_ends_where_the_noise_no_longer_changes() -> None:
    """One more look at each step tells that a noise that is the same everywhere has been found."""
    schedule, clean, calls = smooth_schedule(10), MODEL.sample(*SHAPE), []

    def constant(x: Tensor, timestep: int, abar: float) -> Tensor:
        calls.append(abar)
        return torch.ones_like(x)

    invert_ddim(constant, clean, schedule, refine=5)
    assert len(calls) == 11 + 10


@pytest.mark.parametrize("second_order", [False, True])
def test_a_pinned_replay_gives_the_clean_latents_back(second_order: bool) -> None:
    schedule, clean = smooth_schedule(5), MODEL.sample(*SHAPE).float()
    pivots = invert(clean, schedule, second_order=second_order)
    assert (again(pivots[0], schedule) - clean).abs().max() > 1e-3  # there is something to pin
    torch.testing.assert_close(again(pivots[0], schedule, pivots), clean, rtol=0, atol=1e-6)


def test_a_pinned_replay_calls_the_model_at_every_pivot() -> None:
    schedule = smooth_schedule(5)
    pivots, seen = invert(MODEL.sample(*SHAPE), schedule, second_order=True), []

    def predict(x: Tensor, i: int) -> Tensor:
        seen.append(x)
        return MODEL.noise(x, schedule.abar[i])

    replay(predict, torch.zeros_like(pivots[0]), schedule, pivots=pivots)
    assert all(x is pivot for x, pivot in zip(seen, pivots[:-1], strict=True))


def test_v_prediction_means_the_same_noise() -> None:
    x = MODEL.sample(*SHAPE)
    for abar in (0.01, 0.4, 0.98):
        found = noise_of(MODEL.velocity(x, abar), x, abar, "v_prediction")
        torch.testing.assert_close(found, MODEL.noise(x, abar), rtol=0, atol=1e-9)
        assert torch.equal(noise_of(x, 2 * x, abar, "epsilon"), x)


def test_a_flow_s_velocity_means_the_same_noise() -> None:
    x = MODEL.sample(*SHAPE)
    for abar in (0.01, 0.4, 0.98):
        found = noise_of(MODEL.flow(x, abar), x, abar, "flow")
        torch.testing.assert_close(found, MODEL.noise(x, abar), rtol=0, atol=1e-9)


def test_a_step_of_ddim_is_a_flow_s_euler_step() -> None:
    """x_s = (1 - s) x0 + s n; Euler: x_s' = x_s + (s' - s) v."""
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    velocity = 0.3 * noise - 0.8 * clean  # any velocity, not the true one
    for s, t in ((0.999, 0.8), (0.7, 0.65), (0.3, 0.9)):
        a, b = ((1 - u) ** 2 / ((1 - u) ** 2 + u**2) for u in (s, t))
        x = (1 - s) * clean + s * noise
        eps = noise_of(velocity, x / scale_of(s), a, "flow")
        torch.testing.assert_close(scale_of(t) * step(x / scale_of(s), eps, a, b), x + (t - s) * velocity)


def test_guidance_goes_from_the_unconditional_through_the_conditional() -> None:
    low, high = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.0])
    assert torch.equal(guided(low, high, 0), low)
    assert torch.equal(guided(low, high, 1), high)
    assert torch.equal(guided(low, high, 2.5), torch.tensor([6.0, 3.0]))


@pytest.mark.parametrize("part", [0.0, 0.3, 0.8, 1.0])
def test_frames_of_mixed_noise_have_their_part_of_the_variance_in_common(part: float) -> None:
    """E[x x] = (1 - part) + part = 1 in a frame, E[x y] = part between two frames."""
    made = torch.Generator().manual_seed(2)
    own, shared = torch.randn(1, 4, 3, 200, 200, generator=made), torch.randn(1, 4, 1, 200, 200, generator=made)
    frames = mixed_noise(own, shared, part).transpose(1, 2).flatten(2)[0]  # (3, 160000)
    expected = part + (1 - part) * torch.eye(3)
    torch.testing.assert_close(frames @ frames.T / frames.shape[1], expected, rtol=0, atol=0.015)
    assert part > 0 or torch.equal(mixed_noise(own, shared, part), own)
    assert part < 1 or torch.equal(mixed_noise(own, shared, part), shared.expand_as(own))


def test_each_clip_of_a_batch_has_its_own_part_in_common() -> None:
    own, shared = torch.randn(2, 3, 2, 4, 4), torch.randn(2, 3, 1, 4, 4)
    mixed = mixed_noise(own, shared, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1))
    assert torch.equal(mixed[0], own[0]) and torch.equal(mixed[1], shared[1].expand_as(own[1]))


Spoil = Callable[[list[Tensor]], list[Tensor]]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p[:-1],
        lambda p: [],
        lambda p: [*p[:-1], p[-1] / 0],
        lambda p: [p[0] * float("nan"), *p[1:]],
        lambda p: [p[0][..., :2], *p[1:]],
    ],
)
def test_a_trajectory_has_a_finite_pivot_for_every_level(spoil: Spoil) -> None:
    schedule = noise({"steps_offset": 1}).schedule(4)
    pivots = [torch.ones(SHAPE)] * 5
    assert same_levels(schedule, pivots)
    assert not same_levels(schedule, spoil(pivots))
