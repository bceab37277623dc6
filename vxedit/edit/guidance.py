"""Backward guidance: latents moved down the gradient of an energy on the attention that they cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Energy = Callable[[Tensor], Tensor]
"""Latents (1, C, f, h, w) to one energy a frame (f,), with its graph."""


@dataclass(frozen=True)
class GuidanceSettings:
    """`iterations` at most in one denoising step; `rate`: how far one goes, as a share of the latents' own spread;
    `enough`: a frame whose energy is below it is left alone; `until`: the share of the steps that is guided."""

    iterations: int = 2
    rate: float = 0.02
    enough: float = 0.02
    until: float = 0.35


@dataclass(frozen=True)
class Guided:
    """`latents` after guidance; `energies` (f,) before the first and after the last iteration; gradient passes made."""

    latents: Tensor
    before: Tensor
    after: Tensor
    passes: int


def guide(energy: Energy, latents: Tensor, region: Tensor, settings: GuidanceSettings) -> Guided:
    """Lower the energy of every frame that needs it, by steps whose length does not depend on the energy's scale.

    `region` (1, 1, f, h, w) in [0, 1] is where latents may change. A step is rate * g / rms(g), frame by frame; where
    it did not lower a frame's energy it is taken back and that frame's rate halved. Each frame keeps its mean and
    spread.
    """
    x, passes = latents, 0
    rate = torch.full((latents.shape[2],), settings.rate, device=latents.device) * latents.std((0, 1, 3, 4))
    value, gradient = _value_and_gradient(energy, x)
    before, passes = value, passes + 1
    for _ in range(settings.iterations):
        active = value > settings.enough
        if not bool(active.any()):
            break
        masked = gradient * region
        rms = masked.square().mean((0, 1, 3, 4), keepdim=True).sqrt()
        move = torch.where(rms > 0, masked / rms.clamp_min(1e-30), 0) * (rate * active).view(1, 1, -1, 1, 1)
        trial = _keep_statistics(x - move, x, region)
        trial_value, trial_gradient = _value_and_gradient(energy, trial)
        passes += 1
        better = (active & (trial_value < value)).view(1, 1, -1, 1, 1)  # rounding alone may lower a frame left alone
        x = torch.where(better, trial, x)
        gradient = torch.where(better, trial_gradient, gradient)
        rate = torch.where(better.flatten(), rate, rate / 2)
        value = torch.where(better.flatten(), trial_value, value)
    return Guided(x, before, value, passes)


def _value_and_gradient(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        values = energy(point)
        (gradient,) = torch.autograd.grad(values.sum(), point)
    return values.detach(), gradient.detach()


def _keep_statistics(x: Tensor, old: Tensor, region: Tensor) -> Tensor:
    """x with the old latents' mean and standard deviation in every frame, inside the region; outside it, the old
    latents."""
    axes = (1, 3, 4)
    mean, std = x.mean(axes, keepdim=True), x.std(axes, keepdim=True)
    scaled = (x - mean) / std.clamp_min(1e-6) * old.std(axes, keepdim=True) + old.mean(axes, keepdim=True)
    return region * scaled + (1 - region) * old
