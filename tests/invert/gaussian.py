"""A denoiser whose answer is known: data that are normal, x0 ~ N(mean, spread^2), independent in every value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vxedit.backbones.protocol import Parameterization, Schedule, Text


def smooth_schedule(steps: int) -> Schedule:
    """`steps` equal steps in the angle of abar = cos^2, from little signal to all of it: nothing bends but the ODE."""
    angles = [1.4 * (1 - i / steps) for i in range(steps + 1)]
    return Schedule(tuple(range(steps, 0, -1)), tuple(math.cos(angle) ** 2 for angle in angles))


@dataclass(frozen=True)
class Gaussian:
    mean: float = 0.7
    spread: float = 0.5

    def noise(self, x: Tensor, abar: float) -> Tensor:
        """E[eps | x] = sqrt(1 - a) (x - sqrt(a) mean) / (a spread^2 + 1 - a)."""
        return (1 - abar) ** 0.5 * (x - abar**0.5 * self.mean) / (abar * self.spread**2 + 1 - abar)

    def velocity(self, x: Tensor, abar: float) -> Tensor:
        """The same denoiser's v = sqrt(a) eps - sqrt(1 - a) x0, its x0 being E[x0 | x], made without eps."""
        gain = abar**0.5 * self.spread**2 / (abar * self.spread**2 + 1 - abar)
        clean = self.mean + gain * (x - abar**0.5 * self.mean)
        eps = (x - abar**0.5 * clean) / (1 - abar) ** 0.5
        return abar**0.5 * eps - (1 - abar) ** 0.5 * clean

    def flow(self, x: Tensor, abar: float) -> Tensor:
        """The same denoiser's n - x0, made of neither of the others."""
        variance = abar * self.spread**2 + 1 - abar
        apart = x - abar**0.5 * self.mean
        return (1 - abar) ** 0.5 * apart / variance - self.mean - abar**0.5 * self.spread**2 * apart / variance

    def output(self, x: Tensor, abar: float, kind: Parameterization) -> Tensor:
        """What a network of that kind gives."""
        return {"epsilon": self.noise, "v_prediction": self.velocity, "flow": self.flow}[kind](x, abar)

    def sample(self, *shape: int, seed: int = 0) -> Tensor:
        made = torch.Generator().manual_seed(seed)
        return self.mean + self.spread * torch.randn(*shape, generator=made, dtype=torch.float64)


@dataclass
class GaussianBackbone:
    """As much of a Backbone as an inversion asks for. A prompt shifts the noise by its length times `push`."""

    parameterization: Parameterization
    push: float = 0.0
    model: Gaussian = field(default_factory=Gaussian)

    def schedule(self, steps: int, shape: object = None, *, invertible: bool = False) -> Schedule:
        return smooth_schedule(steps)

    def text(self, prompt: str) -> Text:
        return Text(prompt, torch.full((1, 1, 1), float(len(prompt)), dtype=torch.float64), ())

    def unconditional(self, prompt: str) -> Tensor:
        return self.text("").embeds

    def predict(self, latents: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        # smooth_schedule(n) has timesteps n..1, and no network is told n: a timestep alone gives the level for 8 steps
        abar = smooth_schedule(8).abar[8 - int(timestep)]
        return self.model.output(latents, abar, self.parameterization) + self.push * embeds.mean()
