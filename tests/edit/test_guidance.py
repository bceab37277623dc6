"""Backward guidance on energies whose lowest point is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vxedit.edit.guidance import Energy, GuidanceSettings, guide

SHAPE = (1, 4, 3, 6, 8)
EVERYWHERE = torch.ones(1, 1, 3, 6, 8)


def latents(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


GOAL = latents(1)


def distance(x: Tensor) -> Tensor:
    """The mean squared distance of every frame from the goal, (f,)."""
    return (x - GOAL).square().mean((0, 1, 3, 4))


def settings(iterations: int = 3, rate: float = 0.1, enough: float = 0.0) -> GuidanceSettings:
    return GuidanceSettings(iterations=iterations, rate=rate, enough=enough)


def test_it_lowers_the_energy_of_every_frame() -> None:
    x = latents()
    found = guide(distance, x, EVERYWHERE, settings())
    assert bool((found.after < 0.95 * found.before).all())
    torch.testing.assert_close(found.before, distance(x))
    torch.testing.assert_close(found.after, distance(found.latents))
    assert found.latents.shape == SHAPE and not found.latents.requires_grad


def test_more_iterations_and_a_higher_rate_go_further() -> None:
    after = [float(guide(distance, latents(), EVERYWHERE, settings(n)).after.mean()) for n in (0, 1, 2, 4)]
    assert after == sorted(after, reverse=True) and len(set(after)) == 4
    slow, fast = (guide(distance, latents(), EVERYWHERE, settings(rate=rate)).after for rate in (0.02, 0.1))
    assert bool((fast < slow).all())


def test_none_and_one_iteration_cost_one_and_two_passes() -> None:
    for iterations in (0, 1, 3):
        calls: list[Tensor] = []

        def counted(x: Tensor, calls: list[Tensor] = calls) -> Tensor:
            calls.append(x)
            return distance(x)

        found = guide(counted, latents(), EVERYWHERE, settings(iterations))
        assert found.passes == len(calls) == 1 + iterations
    assert torch.equal(guide(distance, latents(), EVERYWHERE, settings(0)).latents, latents())


def test_a_step_is_as_long_as_its_rate_says() -> None:
    """A share of each frame's own spread, whatever that is."""
    loud = latents() * torch.tensor([0.1, 1.0, 10.0]).view(1, 1, 3, 1, 1)
    toward = latents(7)
    found = guide(lambda x: 1e4 + (x * toward).sum((0, 1, 3, 4)), loud, EVERYWHERE, settings(1, rate=0.05))
    length = (found.latents - loud).square().mean((0, 1, 3, 4)).sqrt()
    assert (length / loud.std((0, 1, 3, 4))).tolist() == pytest.approx([0.05] * 3, rel=0.1)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_a_step_does_not_depend_on_the_energys_scale(scale: float) -> None:
    plain = guide(distance, latents(), EVERYWHERE, settings())
    scaled = guide(lambda x: scale * distance(x), latents(), EVERYWHERE, settings())
    torch.testing.assert_close(scaled.latents, plain.latents, rtol=0, atol=1e-5)
    assert (plain.latents - latents()).abs().max() > 0.05


def test_outside_the_region_nothing_changes_bit_for_bit() -> None:
    region = torch.zeros_like(EVERYWHERE)
    region[..., 2:5, 1:4] = 1
    x = latents()
    found = guide(distance, x, region, settings())
    outside = (region == 0).expand(SHAPE)
    assert torch.equal(found.latents[outside], x[outside])
    assert (found.latents - x)[~outside].abs().max() > 1e-3
    assert bool((found.after < found.before).all())


def test_without_a_region_there_is_nothing_to_do() -> None:
    assert torch.equal(guide(distance, latents(), 0 * EVERYWHERE, settings()).latents, latents())


def valley(x: Tensor) -> Tensor:
    """|mean - 0.01 of a direction|: a step that is too long comes out higher on the other side."""
    return ((x * GOAL).mean((0, 1, 3, 4)) - ((latents() * GOAL).mean((0, 1, 3, 4)) + 0.01)).abs()


def uphill(x: Tensor) -> Tensor:
    """An energy whose gradient points the wrong way, so that every step raises it."""
    honest = distance(x)
    return 2 * honest.detach() - honest


@pytest.mark.parametrize("energy", [distance, valley, uphill])
def test_no_frame_ever_ends_higher(energy: Energy) -> None:
    for iterations in range(1, 5):
        found = guide(energy, latents(), EVERYWHERE, settings(iterations, rate=0.5))
        assert bool((found.after <= found.before).all())
        assert bool((energy(found.latents) <= energy(latents())).all())


def test_a_step_that_was_too_long_is_taken_back_and_halved() -> None:
    assert torch.equal(guide(valley, latents(), EVERYWHERE, settings(1, rate=0.5)).latents, latents())
    assert bool((guide(valley, latents(), EVERYWHERE, settings(8, rate=0.5)).after < 0.01).all())
    assert torch.equal(guide(uphill, latents(), EVERYWHERE, settings(4)).latents, latents())


def test_a_frame_that_is_good_enough_is_left_alone_bit_for_bit() -> None:
    """Also where rounding alone would make it look a little better."""
    for seed in range(2, 10):
        x = latents(seed)
        x[:, :, 1] = GOAL[:, :, 1] + 0.05 * x[:, :, 1]
        found = guide(distance, x, EVERYWHERE, settings(enough=0.02))
        assert torch.equal(found.latents[:, :, 1], x[:, :, 1])
        assert (found.latents - x)[:, :, [0, 2]].abs().amax((0, 1, 3, 4)).min() > 1e-3
    assert guide(distance, GOAL, EVERYWHERE, settings(enough=0.02)).passes == 1


def test_every_frame_keeps_its_mean_and_spread() -> None:
    x = latents()
    found = guide(lambda y: 1e4 + (y * GOAL + 3 * y).sum((0, 1, 3, 4)), x, EVERYWHERE, settings(4)).latents
    assert (found - x).abs().max() > 0.05
    for statistic in (Tensor.mean, Tensor.std):
        torch.testing.assert_close(statistic(found, (0, 1, 3, 4)), statistic(x, (0, 1, 3, 4)), rtol=0, atol=1e-5)


def test_it_works_where_the_caller_has_turned_gradients_off() -> None:
    with torch.no_grad():
        assert bool((guide(distance, latents(), EVERYWHERE, settings()).after < distance(latents())).all())
