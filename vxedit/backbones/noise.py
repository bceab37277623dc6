"""The noise levels a model was trained on, from its scheduler's configuration (Ho et al. 2020; Song et al. 2021)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from vxedit.backbones.protocol import Parameterization, Schedule
from vxedit.errors import ModelError, UsageError

SPACINGS = ("leading", "trailing")
PREDICTIONS = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class Noise:
    """`abar[t]`: share of signal left at training timestep t. `final`: the level that clean latents are taken at."""

    abar: tuple[float, ...]
    final: float
    spacing: str
    offset: int
    parameterization: Parameterization

    def schedule(self, steps: int) -> Schedule:
        """`steps` noise levels, most noise first, spaced as diffusers' DDIMScheduler spaces them.

        "leading": every (T // N)-th timestep from `offset` on. "trailing": backwards from the last one in steps of
        T / N (Lin et al. 2024, table 2). Raises UsageError where `steps` isn't in 1..T.
        """
        total = len(self.abar)
        most = total - (self.offset if self.spacing == "leading" else 0)
        if not 1 <= steps <= total:
            raise UsageError(f"the number of steps must be between 1 and {total}, got {steps}: pass --steps 20")
        if self.spacing == "leading":
            timesteps = [i * (total // steps) + self.offset for i in reversed(range(steps))]
        else:
            timesteps = [round(total - i * total / steps) - 1 for i in range(steps)]
        if timesteps[0] >= total:
            raise UsageError(f"this model's steps start at timestep {self.offset}: at most {most} steps, got {steps}")
        return Schedule(tuple(timesteps), (*(self.abar[t] for t in timesteps), self.final))


def noise(config: Mapping[str, Any]) -> Noise:
    """The levels that scheduler_config.json describes; settings left out have DDIMScheduler's defaults.

    Raises ModelError where the betas, the spacing or what the model predicts is of a kind that isn't known.
    """
    if config.get("rescale_betas_zero_snr"):
        raise ModelError(
            "scheduler_config.json: rescale_betas_zero_snr leaves no signal to invert; use a model trained without it"
        )
    spacing = config.get("timestep_spacing", "leading")
    prediction = config.get("prediction_type", "epsilon")
    _check("timestep_spacing", spacing, SPACINGS)
    _check("prediction_type", prediction, PREDICTIONS)
    abar = tuple(itertools.accumulate((1.0 - beta for beta in _betas(config)), lambda a, b: a * b))
    return Noise(
        abar=abar,
        final=1.0 if config.get("set_alpha_to_one", True) else abar[0],
        spacing=spacing,
        offset=int(config.get("steps_offset", 0)),
        parameterization=cast(Parameterization, prediction),
    )


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
