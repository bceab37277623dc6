"""Levels of flow models and of diffusion models without signal at their end, against diffusers' own schedulers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from tests.tiny import SCHEDULER
from vxedit.backbones.flow import Flow, fixed_shift, level_of, scale_of, shifted, signal_share
from vxedit.backbones.noise import FLOOR, INVERTIBLE, noise
from vxedit.backbones.protocol import Schedule
from vxedit.errors import UsageError
from vxedit.invert.ddim import noise_of, step

FLOW = Flow(partial(fixed_shift, shift=3.0))

TOLERANCE = 10 * FLOOR**0.5
"""A level without signal is told as one with FLOOR of it, which is wrong by its root times latents of a few units."""


def network(x: Tensor, timestep: float) -> Tensor:
    """Any smooth answer."""
    return torch.tanh(x * (0.3 + timestep / 1000)) - 0.2 * x


def sampled(schedule: Schedule, x: Tensor, kind: str) -> Tensor:
    """Our steps; for a flow the network is given the latents on its own scale."""
    for i, t in enumerate(schedule.timesteps):
        a, b = schedule.abar[i], schedule.abar[i + 1]
        scale = scale_of(t / 1000) if kind == "flow" else 1.0
        x = step(x, noise_of(network(scale * x, t), x, a, kind), a, b)  # type: ignore[arg-type]
    return x


@pytest.mark.parametrize("steps", [1, 5, 20, 50])
def test_a_flow_is_sampled_as_by_diffusers_euler(steps: int) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    reference = FlowMatchEulerDiscreteScheduler(shift=3.0)
    reference.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    start = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x = start
    for t in reference.timesteps:
        x = reference.step(network(x, float(t)), t, x, return_dict=False)[0]
    made = FLOW.schedule(steps)
    assert made.timesteps == pytest.approx(reference.timesteps.tolist(), rel=1e-5)
    torch.testing.assert_close(sampled(made, start, "flow"), x, rtol=0, atol=TOLERANCE)


def test_levels_and_shares_of_signal_are_each_other_s_inverse() -> None:
    for s in (0.0, 0.1, 0.5, 0.93):
        assert level_of(signal_share(s)) == pytest.approx(s, abs=1e-9)
    assert signal_share(0.5) == 0.5
    assert signal_share(1.0) == FLOOR


def test_a_flow_that_is_inverted_begins_with_signal() -> None:
    made = FLOW.schedule(10, invertible=True)
    assert made.abar[0] == pytest.approx(INVERTIBLE, rel=1e-6)
    assert made.abar[0] >= INVERTIBLE
    last = level_of(INVERTIBLE)
    first = last / (3 - 2 * last)  # the evenly spaced level that a shift of 3 takes there
    assert made.timesteps[0] == pytest.approx(1000 * last, abs=0.01)
    assert made.timesteps[5] == pytest.approx(1000 * shifted(first / 2, 3.0), abs=0.01)
    with pytest.raises(UsageError, match="between 1 and 1000"):
        FLOW.schedule(0)


def test_levels_are_stretched_to_a_terminal_one() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    reference = FlowMatchEulerDiscreteScheduler(shift=1.0, shift_terminal=0.1)
    reference.set_timesteps(sigmas=[1 - i / 8 for i in range(8)])
    made = Flow(partial(fixed_shift, shift=1.0), terminal=0.1).schedule(8)
    assert made.timesteps == pytest.approx(reference.timesteps.tolist(), rel=1e-5)
    assert made.timesteps[-1] == pytest.approx(100.0)


@pytest.mark.parametrize("steps", [1, 4, 50, 1000])
def test_stretched_levels_that_are_inverted_begin_with_signal_too(steps: int) -> None:
    flow = Flow(partial(fixed_shift, shift=2.0), terminal=0.1)
    made = flow.schedule(steps, invertible=True)
    assert made.abar[0] >= INVERTIBLE
    assert made.timesteps[0] == pytest.approx(1000 * level_of(INVERTIBLE), rel=0.02)
    assert all(a > b for a, b in zip(made.timesteps, made.timesteps[1:], strict=False))


ZERO = SCHEDULER | {
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "prediction_type": "v_prediction",
    "set_alpha_to_one": True,
    "steps_offset": 0,
}


@pytest.mark.parametrize("steps", [4, 20])
def test_a_model_without_signal_at_its_end_is_sampled_as_by_diffusers_ddim(steps: int) -> None:
    from diffusers import DDIMScheduler

    reference = DDIMScheduler.from_config(ZERO)
    reference.set_timesteps(steps)
    start = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x = start
    for t in reference.timesteps:
        x = reference.step(network(x, float(t)), t, x).prev_sample
    made = noise(ZERO).schedule(steps)
    assert list(made.timesteps) == reference.timesteps.tolist()
    assert made.abar[0] == FLOOR
    torch.testing.assert_close(sampled(made, start, "v_prediction"), x, rtol=0, atol=TOLERANCE)


def test_a_signal_that_is_shifted_is_divided_in_its_ratio() -> None:
    plain, moved = noise(SCHEDULER).abar, noise(SCHEDULER | {"snr_shift_scale": 3.0}).abar
    for a, b in zip(plain[::100], moved[::100], strict=True):
        assert b / (1 - b) == pytest.approx(a / (1 - a) / 3)


def test_inversion_keeps_off_levels_without_signal() -> None:
    made = noise(ZERO).schedule(20, invertible=True)
    assert INVERTIBLE <= made.abar[0] < 1.1 * INVERTIBLE
    assert noise(SCHEDULER).schedule(20, invertible=True) == noise(SCHEDULER).schedule(20)
