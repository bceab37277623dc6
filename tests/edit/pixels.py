"""A backbone whose latents can be read: each cell is the mean colour of 8 x 8 pixels, and its network sees no noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.backbones.protocol import Parameterization, Schedule, Text
from vxedit.invert.inversion import Inversion
from vxedit.job import InvertSettings

PROMPT = "a ball"


@dataclass
class PixelBackbone:
    """As much of a Backbone as an edit without guidance asks for. Every step then only scales what is there."""

    parameterization: Parameterization = "epsilon"

    def encode(self, frames: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        return F.avg_pool2d(pixels, 8).transpose(0, 1)[None]

    def text(self, prompt: str) -> Text:
        return Text(prompt, torch.zeros(1, 1, 1), ())

    def unconditional(self, prompt: str) -> Tensor:
        return self.text("").embeds

    def predict(self, latents: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        return torch.zeros_like(latents)

    def spans(self, frames: int) -> tuple[tuple[int, ...], ...]:
        return tuple((i,) for i in range(frames))


def noised(clean: Tensor, noise: Tensor, steps: int) -> Inversion:
    """A trajectory from `clean` straight to `noise`, both (1, C, f, h, w)."""
    levels = tuple(math.cos(1.4 * (1 - i / steps)) ** 2 for i in range(steps + 1))
    schedule = Schedule(tuple(range(steps, 0, -1)), levels)
    pivots = torch.cat([a**0.5 * clean + (1 - a) ** 0.5 * noise for a in schedule.abar])
    return Inversion(pivots, None, schedule, PROMPT, InvertSettings("uni", steps, 1.0))
