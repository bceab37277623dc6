"""Clips from noise: what is drawn, that a trajectory replays, and that guidance in one pass is guidance in two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast, get_args

import pytest
import torch
from torch import Tensor

from tests.invert.gaussian import Gaussian, smooth_schedule
from vxedit.backbones.protocol import Backbone, Parameterization, Schedule, Size, Text
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.generate import generate
from vxedit.invert.ddim import guided, step
from vxedit.invert.inversion import Inversion, replay_inversion

PROMPT, SIZE, STEPS = "a red ball", Size(3, 48, 64), 3


def made(
    tiny: UNet3D, *, scale: float | None = 4.0, seed: int = 0, prompt: str = PROMPT, size: Size = SIZE
) -> Inversion:
    chance = torch.Generator().manual_seed(seed)
    return generate(tiny, prompt, size, steps=STEPS, guidance_scale=scale, generator=chance)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_an_honest_replay_of_the_trajectory_gives_its_clean_latents(tiny: UNet3D, scale: float) -> None:
    clip = made(tiny, scale=scale)
    replayed = replay_inversion(tiny, clip, pinned=False)
    torch.testing.assert_close(replayed, clip.clean, rtol=0, atol=2e-5)
    assert torch.equal(replay_inversion(tiny, clip, pinned=True), clip.clean)
    assert scale != 1 or torch.equal(replayed, clip.clean)  # then even the passes are the same
    assert (clip.clean - clip.pivot(0)).abs().mean() > 0.05


def test_it_is_the_plain_rule_of_ddim_under_guidance_in_two_passes(tiny: UNet3D) -> None:
    clip, schedule = made(tiny), tiny.schedule(STEPS)
    asked, empty = tiny.text(PROMPT).embeds, tiny.text("").embeds
    x = clip.pivot(0)
    with torch.no_grad():
        for i, t in enumerate(schedule.timesteps):
            eps = guided(tiny.predict(x, t, empty), tiny.predict(x, t, asked), 4.0)
            x = step(x, eps, schedule.abar[i], schedule.abar[i + 1])
            torch.testing.assert_close(clip.pivot(i + 1), x, rtol=0, atol=2e-5)
    assert clip.schedule == schedule and clip.prompt == PROMPT
    assert clip.null is not None and torch.equal(clip.null, empty)
    assert (clip.settings.steps, clip.settings.guidance_scale) == (STEPS, 4.0)


@pytest.mark.parametrize(("scale", "batch"), [(1.0, 1), (4.0, 2)])
def test_every_step_is_one_pass_and_what_it_costs_is_told(
    tiny: UNet3D, monkeypatch: pytest.MonkeyPatch, scale: float, batch: int
) -> None:
    passes: list[int] = []
    told: list[tuple[int, int]] = []
    predict = tiny.predict

    def counted(latents: Tensor, timestep: int, embeds: Tensor) -> Tensor:
        passes.append(len(latents))
        return predict(latents, timestep, embeds)

    monkeypatch.setattr(tiny, "predict", counted)
    clip = generate(
        tiny,
        PROMPT,
        SIZE,
        steps=STEPS,
        guidance_scale=scale,
        generator=torch.Generator(),
        progress=lambda *done: told.append(done),
    )
    assert passes == [batch] * STEPS
    assert (clip.forwards, clip.backwards) == (batch * STEPS, 0)
    assert told == [(i + 1, STEPS) for i in range(STEPS)]


def test_the_latents_are_those_of_the_size_asked_for_and_decode_to_it(tiny: UNet3D) -> None:
    clip = made(tiny)
    assert clip.pivots.shape == (STEPS + 1, 4, 3, 6, 8) and not clip.pivots.requires_grad
    assert bool(torch.isfinite(clip.pivots).all())
    assert tiny.decode(clip.clean, 3).shape == (3, 48, 64, 3)


def test_the_seed_and_the_prompt_decide(tiny: UNet3D) -> None:
    first, same, other, asked = made(tiny), made(tiny), made(tiny, seed=1), made(tiny, prompt="the burger")
    assert torch.equal(first.pivots, same.pivots)
    assert not torch.equal(first.pivot(0), other.pivot(0))
    assert torch.equal(first.pivot(0), asked.pivot(0)) and (first.clean - asked.clean).abs().max() > 1e-4


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_frames_share_the_part_of_their_noise_that_the_model_says(
    tiny: UNet3D, monkeypatch: pytest.MonkeyPatch, part: float
) -> None:
    monkeypatch.setattr(tiny, "shared_noise", part)
    monkeypatch.setattr(tiny, "predict", lambda latents, *_: torch.zeros_like(latents))
    clip = generate(
        tiny, PROMPT, Size(2, 512, 512), steps=1, guidance_scale=1.0, generator=torch.Generator().manual_seed(0)
    )
    first, second = clip.pivot(0)[0].transpose(0, 1).flatten(1)  # 16384 numbers a frame
    assert float((first * second).mean()) == pytest.approx(part, abs=0.04)
    assert float(first.square().mean()) == pytest.approx(1, abs=0.04)
    assert torch.equal(first, second) == (part == 1)


def test_without_a_scale_it_is_the_model_s_own(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "guidance_scale", 3.0)
    own, asked, other = made(tiny, scale=None), made(tiny, scale=3.0), made(tiny, scale=4.0)
    assert torch.equal(own.pivots, asked.pivots) and not torch.equal(own.pivots, other.pivots)
    assert own.settings.guidance_scale == 3


def test_numbers_that_are_not_finite_end_it_with_the_remedy(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "predict", lambda latents, *_: torch.full_like(latents, float("inf")))
    with pytest.raises(ValueError, match=r"--dtype fp32.*--guidance-scale"):
        made(tiny)


@dataclass
class Knowing:
    """A backbone whose data is known: independent normal numbers, whose exact noise or velocity it predicts."""

    parameterization: Parameterization
    data: Gaussian = field(default_factory=Gaussian)
    shared_noise: float = 0.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def schedule(self, steps: int, shape: object = None, *, invertible: bool = False) -> Schedule:
        return smooth_schedule(steps)

    def latent_shape(self, size: Size) -> tuple[int, int, int, int, int]:
        return (1, 4, size.frames, size.height, size.width)

    def text(self, prompt: str) -> Text:
        return Text(prompt, torch.zeros(1, 1, 1), ())

    def unconditional(self, prompt: str) -> Tensor:
        return self.text("").embeds

    def predict(self, latents: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        schedule = self.schedule(40)
        abar = schedule.abar[schedule.timesteps.index(timestep)]
        return self.data.output(latents, abar, self.parameterization)


def test_from_a_model_that_knows_the_data_come_clips_like_the_data() -> None:
    """The exact ODE keeps a value as many spreads from the mean as it was at the noise's level, abar a. There the
    spread is S = sqrt(a spread^2 + 1 - a) and the mean sqrt(a) times the data's, of which noise of mean 0 falls
    short."""
    clips = [
        generate(
            cast(Backbone, Knowing(kind)),
            PROMPT,
            Size(4, 32, 32),
            steps=40,
            guidance_scale=4.0,
            generator=torch.Generator().manual_seed(0),
        ).clean
        for kind in get_args(Parameterization)
    ]
    for other in clips[1:]:
        torch.testing.assert_close(other, clips[0], rtol=0, atol=1e-4)
    data, a = Gaussian(), smooth_schedule(40).abar[0]
    share = data.spread / (a * data.spread**2 + 1 - a) ** 0.5
    assert float(clips[0].mean()) == pytest.approx(data.mean * (1 - share * a**0.5), abs=0.03)
    assert float(clips[0].std()) == pytest.approx(share, rel=0.06)
