"""The noise levels a diffusion model was trained on, from its scheduler's configuration (Ho et al. 2020; Song et al.
2021)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from vxedit.backbones.protocol import Parameterization, Schedule
from vxedit.errors import ModelError, UsageError

SPACINGS = ("leading", "trailing", "linspace")
PREDICTIONS = ("epsilon", "v_prediction")

FLOOR = 1e-7
"""The share of signal, abar, at a level without any: small enough to make no difference, and the noise that a model's
output means still holds the clean latents there, in float32."""

INVERTIBLE = 0.05**2
"""The share of signal up to whose level a clip is inverted: with less, a level's latents hold next to nothing of it,
and inversion loses what it can't hold (in "Dynamic View Synthesis as an Inverse Problem", 2025, DDIM inversion to a
level without signal rebuilds a clip at 9 dB). ModelScope's own most noisy level has more."""


@dataclass(frozen=True)
class Noise:
    """`abar[t]`: share of signal left at training timestep t. `final`: the level that clean latents are taken at."""

    abar: tuple[float, ...]
    final: float
    spacing: str
    offset: int
    parameterization: Parameterization

    def schedule(self, steps: int, shape: Sequence[int] | None = None, *, invertible: bool = False) -> Schedule:
        """`steps` noise levels, most noise first, spaced as diffusers' DDIMScheduler spaces them.

        "leading": every (T // N)-th timestep from `offset` on. "trailing": backwards from the last one in steps of
        T / N. "linspace": from the last to the first, both taken (all in Lin et al. 2024, table 2). `invertible`: T
        is the number of timesteps that leave signal enough. Raises UsageError where `steps` isn't in 1..T.
        """
        total = len(self.abar)
        if invertible:
            total = max(1, sum(abar >= INVERTIBLE for abar in self.abar))
        most = total - (self.offset if self.spacing == "leading" else 0)
        if not 1 <= steps <= total:
            raise UsageError(f"the number of steps must be between 1 and {total}, got {steps}: pass --steps 20")
        if self.spacing == "leading":
            timesteps = [i * (total // steps) + self.offset for i in reversed(range(steps))]
        elif self.spacing == "trailing":
            timesteps = [round(total - i * total / steps) - 1 for i in range(steps)]
        else:
            timesteps = [round(i * (total - 1) / max(steps - 1, 1)) for i in reversed(range(steps))]
        if timesteps[0] >= total:
            raise UsageError(f"this model's steps start at timestep {self.offset}: at most {most} steps, got {steps}")
        return Schedule(tuple(timesteps), (*(max(self.abar[t], FLOOR) for t in timesteps), self.final))


def noise(config: Mapping[str, Any]) -> Noise:
    """The levels that scheduler_config.json describes; settings left out have DDIMScheduler's defaults.

    `snr_shift_scale` s divides the signal-to-noise ratio by s (Hoogeboom et al. 2023, CogVideoX);
    `rescale_betas_zero_snr` leaves none at the last timestep (Lin et al. 2024, algorithm 1). Raises ModelError where
    the betas, the spacing or what the model predicts is of a kind that isn't known.
    """
    spacing = config.get("timestep_spacing", "leading")
    prediction = config.get("prediction_type", "epsilon")
    _check("timestep_spacing", spacing, SPACINGS)
    _check("prediction_type", prediction, PREDICTIONS)
    abar = list(itertools.accumulate((1.0 - beta for beta in _betas(config)), lambda a, b: a * b))
    scale = float(config.get("snr_shift_scale") or 1.0)
    abar = [a / (scale + (1 - scale) * a) for a in abar]
    if config.get("rescale_betas_zero_snr"):
        abar = _without_last_signal(abar)
    return Noise(
        abar=tuple(abar),
        final=1.0 if config.get("set_alpha_to_one", True) else abar[0],
        spacing=spacing,
        offset=int(config.get("steps_offset", 0)),
        parameterization=cast(Parameterization, prediction),
    )


def _without_last_signal(abar: Sequence[float]) -> list[float]:
    """sqrt(abar) shifted so that its last is 0 and scaled so that its first stays as it is."""
    first, last = abar[0] ** 0.5, abar[-1] ** 0.5
    return [((a**0.5 - last) * first / (first - last)) ** 2 for a in abar]


def _betas(config: Mapping[str, Any]) -> list[float]:
    trained = config.get("trained_betas")
    if trained:
        return [float(beta) for beta in trained]
    kind = config.get("beta_schedule", "linear")
    _check("beta_schedule", kind, ("linear", "scaled_linear"))
    power = 0.5 if kind == "scaled_linear" else 1.0
    start = float(config.get("beta_start", 1e-4)) ** power
    end = float(config.get("beta_end", 0.02)) ** power
    total = int(config.get("num_train_timesteps", 1000))
    return [(start + (end - start) * i / max(total - 1, 1)) ** (1 / power) for i in range(total)]


def _check(setting: str, got: object, allowed: tuple[str, ...]) -> None:
    if got not in allowed:
        raise ModelError(
            f"scheduler_config.json: {setting} is {got!r}, vxedit knows {' and '.join(allowed)}: take another model"
        )
