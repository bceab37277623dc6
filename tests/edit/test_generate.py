"""Clips from noise: what is drawn, that a trajectory replays, and that guidance in one pass is guidance in two."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast, get_args

import pytest
import torch
from torch import Tensor

from tests.invert.gaussian import Gaussian, smooth_schedule
from vxedit.backbones.protocol import Backbone, Parameterization, Schedule, Size, Text
from vxedit.backbones.tokens import columns
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit import generate as making
from vxedit.edit.generate import generate
from vxedit.edit.guidance import Guided
from vxedit.edit.one_track import keep_on_track
from vxedit.invert.ddim import guided, renewing_step, step
from vxedit.invert.inversion import Inversion, replay_inversion

PROMPT, SIZE, STEPS = "a red ball", Size(3, 48, 64), 3


def made(
    tiny: UNet3D, *, scale: float | None = 4.0, seed: int = 0, prompt: str = PROMPT, size: Size = SIZE, eta: float = 0.0
) -> Inversion:
    chance = torch.Generator().manual_seed(seed)
    return generate(tiny, prompt, size, steps=STEPS, guidance_scale=scale, generator=chance, eta=eta)


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


def test_without_steps_or_eta_they_are_the_model_s_own(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "steps", 2)
    monkeypatch.setattr(tiny, "eta", 1.0)
    chance = torch.Generator().manual_seed(0)
    clip = generate(tiny, PROMPT, SIZE, steps=None, guidance_scale=4.0, eta=None, generator=chance)
    assert clip.settings.steps == len(clip.schedule) == 2 and clip.eta == 1 and clip.fresh is not None


def test_with_eta_steps_add_fresh_noise_which_the_trajectory_keeps(tiny: UNet3D) -> None:
    plain, fresh = made(tiny), made(tiny, eta=1.0)
    assert torch.equal(plain.pivot(0), fresh.pivot(0))  # the seed's noise stays the seed's
    assert plain.fresh is None and fresh.fresh is not None
    assert fresh.fresh.shape == (STEPS - 1, *fresh.pivots.shape[1:])
    assert (plain.clean - fresh.clean).abs().mean() > 0.05
    assert torch.equal(fresh.pivots, made(tiny, eta=1.0).pivots)
    replayed = replay_inversion(tiny, fresh, pinned=False)
    torch.testing.assert_close(replayed, fresh.clean, rtol=0, atol=2e-5)
    abar, x = fresh.schedule.abar, fresh.pivot(0)
    both = torch.cat([tiny.text("").embeds, tiny.text(PROMPT).embeds])
    with torch.no_grad():
        eps = guided(*tiny.predict(x.repeat(2, 1, 1, 1, 1), fresh.schedule.timesteps[0], both).chunk(2), 4.0)
    stepped = renewing_step(x, eps, fresh.fresh[:1], abar[0], abar[1], 1.0)
    torch.testing.assert_close(fresh.pivot(1), stepped, rtol=0, atol=2e-5)


def test_frames_share_as_much_of_the_fresh_noise(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "shared_noise", 0.5)
    monkeypatch.setattr(tiny, "predict", lambda latents, *_: torch.zeros_like(latents))
    chance = torch.Generator().manual_seed(0)
    clip = generate(tiny, PROMPT, Size(2, 512, 512), steps=3, guidance_scale=1.0, eta=1.0, generator=chance)
    assert clip.fresh is not None
    first, second = clip.fresh.unbind(0)
    one, other = first.transpose(0, 1).flatten(1)
    assert float((one * other).mean()) == pytest.approx(0.5, abs=0.04)
    assert float((first * second).mean()) == pytest.approx(0, abs=0.04)  # and steps none
    assert float(first.square().mean()) == pytest.approx(1, abs=0.04)


def test_a_steady_word_is_kept_on_its_way_in_the_first_steps_alone(
    tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = columns(tiny.tokens(PROMPT), PROMPT, "ball")
    guided_at: list[float] = []

    def note(backbone: Backbone, latents: Tensor, timestep: float, *given: Any) -> Guided:
        guided_at.append(timestep)
        result = keep_on_track(backbone, latents, timestep, *given)
        assert float(result.before.max()) > given[-1].guidance.enough  # random weights look everywhere
        return result

    monkeypatch.setattr(making, "keep_on_track", note)

    def clip(steady: list[tuple[int, ...]]) -> Inversion:
        chance = torch.Generator().manual_seed(0)
        return generate(tiny, PROMPT, SIZE, steps=10, guidance_scale=4.0, generator=chance, steady=steady)

    plain, steady = clip([]), clip([word])
    assert guided_at == list(steady.schedule.timesteps[:3])  # of 10 steps 0.3
    assert plain.backwards == 0 and steady.backwards >= 3
    assert not torch.equal(plain.pivot(0), steady.pivot(0)) and not torch.equal(plain.clean, steady.clean)
    # from where guidance ended, the trajectory replays
    late = replace(
        steady,
        pivots=steady.pivots[3:],
        schedule=Schedule(steady.schedule.timesteps[3:], steady.schedule.abar[3:]),
    )
    torch.testing.assert_close(replay_inversion(tiny, late, pinned=False), steady.clean, rtol=0, atol=5e-5)


def test_guidance_ends_with_the_first_step_that_needs_none(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def content(backbone: Backbone, latents: Tensor, timestep: float, *given: Any) -> Guided:
        asked.append(timestep)
        energy = torch.full((3,), 0.9 if len(asked) == 1 else 0.0)
        return Guided(latents, energy, energy, 1)

    monkeypatch.setattr(making, "keep_on_track", content)
    chance = torch.Generator().manual_seed(0)
    generate(tiny, PROMPT, SIZE, steps=20, guidance_scale=4.0, generator=chance, steady=[(1,)])
    assert len(asked) == 2


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


def test_fresh_noise_forgets_what_the_first_noise_fell_short_of() -> None:
    """The same data from steps that renew their noise: the start, of mean 0 instead of the data's, counts no more, so
    the clip's mean is the data's where the exact ODE's is not."""
    data = Gaussian()
    clip = generate(
        cast(Backbone, Knowing("epsilon")),
        PROMPT,
        Size(4, 32, 32),
        steps=40,
        guidance_scale=4.0,
        eta=1.0,
        generator=torch.Generator().manual_seed(0),
    ).clean
    assert float(clip.mean()) == pytest.approx(data.mean, abs=0.02)
    assert float(clip.std()) == pytest.approx(data.spread, rel=0.1)
