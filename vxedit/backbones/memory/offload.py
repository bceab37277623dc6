"""Whole parts of a model, on the device one at a time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


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

    def use(self, name: str) -> nn.Module:
        """The part, on the device, where no other part is now. Raises KeyError where there is no such part."""
        part = self._parts[name]
        if self._there != name:
            self.clear()
            part.to(self._device)
            self._there = name
        return part

    def clear(self) -> None:
        """Put back what is on the device."""
        if self._there is not None:
            self._parts[self._there].to("cpu")
            self._there = None
