"""Clips as vxedit-gen makes them, without its files."""

from __future__ import annotations

import torch

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.tokens import columns
from vxedit.edit.generate import generate
from vxedit.invert.inversion import Inversion
from vxedit.job import GenerateSettings


def sample(
    backbone: Backbone, prompt: str, name: str, chance: torch.Generator, how: GenerateSettings | None = None
) -> Inversion:
    """What vxedit-gen makes of a prompt when its object, `name`, is to be moved."""
    how = how or GenerateSettings()
    words = how.steady if how.steady is not None else (name,) if backbone.steady else ()
    return generate(
        backbone,
        prompt,
        backbone.native,
        steps=how.steps,
        guidance_scale=how.guidance_scale,
        generator=chance,
        eta=how.eta,
        steady=[columns(backbone.tokens(prompt), prompt, word) for word in words],
    )
