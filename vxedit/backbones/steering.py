"""Which layers' maps localise objects best: chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from vxedit.backbones.protocol import Layer
from vxedit.errors import ModelError


def matching(layers: Sequence[Layer], patterns: Sequence[str]) -> tuple[str, ...]:
    """The names, in order, that a pattern is the whole, the beginning (up to a dot) or a shell pattern of."""

    def wanted(name: str) -> bool:
        return any(f"{name}.".startswith(f"{pattern}.") or fnmatchcase(name, pattern) for pattern in patterns)

    return tuple(layer.name for layer in layers if wanted(layer.name))


def chosen_layers(layers: Sequence[Layer], patterns: Sequence[str], *, else_all: bool = False) -> tuple[str, ...]:
    """The names of the layers that `patterns` choose; where there is none, all with `else_all`, or ModelError."""
    chosen = matching(layers, patterns)
    if not chosen and else_all and layers:
        return tuple(layer.name for layer in layers)
    if not chosen:
        there = ", ".join(layer.name for layer in layers) or "none"
        raise ModelError(f"no layer is called {', '.join(patterns)}, as steering_layers has it; there are: {there}")
    return chosen
