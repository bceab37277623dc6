"""Parts of a model that wait off the device: whole ones, moved there when they are used, or stage by stage."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from vxedit.errors import ModelError


class Shelf:
    """Parts that wait in the machine's memory and are moved to `device` when they are used.

    The part used last stays there until another is: a network is moved once a run, not once a step. No gradient may be
    waiting to be taken when a part is moved, since its graph refers to the weights.
    """

    def __init__(self, parts: Mapping[str, nn.Module], device: torch.device) -> None:
        self._parts, self._device = dict(parts), device
        self._there: str | None = None
        for part in self._parts.values():
            part.to("cpu")

    def use(self, name: str) -> None:
        """Have the part on the device, and no other. What isn't kept here is where it always is."""
        if name in self._parts and self._there != name:
            self.clear()
            self._parts[name].to(self._device)
            self._there = name

    def clear(self) -> None:
        """Put back what is on the device."""
        if self._there is not None:
            self._parts[self._there].to("cpu")
            self._there = None


def stage_by_stage(part: nn.Module, device: torch.device) -> None:
    """Have each of a part's modules come to the device for its own forward pass alone. Raises ModelError where
    accelerate, which does it, is not installed."""
    try:
        from accelerate import cpu_offload
    except ImportError as err:
        raise ModelError("--offload sequential needs accelerate: run `pip install vxedit[dit]`") from err
    cpu_offload(part, execution_device=device)
