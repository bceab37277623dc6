"""AnimateDiff: an image model's U-Net with motion modules between its layers (Guo et al. 2024, arXiv 2307.04725)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vxedit.backbones import tokens
from vxedit.backbones.family import Facts
from vxedit.backbones.identity import identity
from vxedit.backbones.layout import Layout, first_line
from vxedit.backbones.parts import load_clip_text, load_part
from vxedit.backbones.unet3d import Modules, UNet3D
from vxedit.errors import ModelError


class AnimateDiff(UNet3D):
    """A Backbone over UNetMotionModel, which differs from UNet3DConditionModel in that it is given a text for every
    frame."""

    @classmethod
    def load(
        cls,
        layout: Layout,
        facts: Facts,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        checkpoint_activations: bool | None = None,
    ) -> AnimateDiff:
        """Load every part of `layout` onto `device`, the network in `dtype`. Raises ModelError where one can't be, or
        the motion modules don't fit the network."""
        modules = Modules(
            unet=_load_network(layout, device=device, dtype=dtype),
            vae=load_part(layout, "vae", device=device, dtype=torch.float32),  # its errors would be every result's
            text_encoder=load_clip_text(layout, device=device),
            tokenizer=tokens.load_tokenizer(layout),
        )
        return cls(modules, facts, name=name, identity=identity(layout), checkpoint_activations=checkpoint_activations)

    def forward(self, x: Tensor, timestep: float, text: Tensor) -> Tensor:
        return super().forward(x, timestep, text.repeat_interleave(x.shape[2], 0))


def _load_network(layout: Layout, *, device: torch.device, dtype: torch.dtype) -> Any:
    if "motion_adapter" not in layout.configs:
        return load_part(layout, "unet", device=device, dtype=dtype)
    from diffusers import UNetMotionModel

    unet, adapter = (
        load_part(layout, part, device=torch.device("cpu"), dtype=dtype) for part in ("unet", "motion_adapter")
    )
    try:
        with _without_warnings():
            network = UNetMotionModel.from_unet2d(unet, adapter)
    except (ValueError, RuntimeError, IndexError) as err:
        raise ModelError(
            f"{layout.tree}: the motion adapter doesn't fit the network ({first_line(err)}): take one that was made "
            "for the Stable Diffusion that the network is, such as animatediff-motion-adapter-v1-5-3 for 1.5"
        ) from err
    return network.eval().requires_grad_(False).to(device)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """While this is open, diffusers doesn't warn of casting weights that have to stay wide: here there are none."""
    logger = logging.getLogger("diffusers.models.modeling_utils")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
