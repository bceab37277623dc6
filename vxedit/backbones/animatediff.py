"""AnimateDiff: an image model's U-Net with motion modules between its layers (Guo et al. 2024, arXiv 2307.04725)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vxedit.backbones.layout import Layout, first_line
from vxedit.backbones.parts import load_part, unreported
from vxedit.backbones.unet3d import UNet3D
from vxedit.errors import ModelError


class AnimateDiff(UNet3D):
    """A Backbone over UNetMotionModel, which differs from UNet3DConditionModel in that it is given a text for every
    frame."""

    @classmethod
    def load_network(cls, layout: Layout, *, device: torch.device, dtype: torch.dtype) -> Any:
        """As UNet3D's. Raises ModelError also where the motion modules don't fit the network."""
        if "motion_adapter" not in layout.configs:
            return super().load_network(layout, device=device, dtype=dtype)
        from diffusers import UNetMotionModel

        unet, adapter = (
            load_part(layout, part, device=torch.device("cpu"), dtype=dtype) for part in ("unet", "motion_adapter")
        )
        try:
            with unreported("diffusers"):  # it would warn of weights that have to stay wide: here there are none
                network = UNetMotionModel.from_unet2d(unet, adapter)
        except (ValueError, RuntimeError, IndexError) as err:
            raise ModelError(
                f"{layout.tree}: the motion adapter doesn't fit the network ({first_line(err)}): take one that was "
                "made for the Stable Diffusion that the network is, such as animatediff-motion-adapter-v1-5-3 for 1.5"
            ) from err
        return network.eval().requires_grad_(False).to(device)

    def forward(self, x: Tensor, timestep: float, text: Tensor) -> Tensor:
        return super().forward(x, timestep, text.repeat_interleave(x.shape[2], 0))
