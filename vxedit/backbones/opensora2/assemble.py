"""A network out of a configuration and a state dict that fits it exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vxedit.errors import ModelError


def assemble(kind: Any, config: Mapping[str, Any], weights: Mapping[str, Tensor], *, source: str) -> Any:
    """A `kind` (a diffusers class) of `config` that holds the very tensors `weights`, in evaluation mode and without
    gradients; no other memory is taken. `source`: the file, for people.

    Raises ModelError where a weight is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        network = kind(**config)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = [name for name in sorted({*wanted, *got}) if wanted.get(name) != got.get(name)]
    if wrong:
        name = wrong[0]
        raise ModelError(
            f"{source} doesn't fit {kind.__name__}: {len(wrong)} of its {len(wanted)} weights are missing, unknown or "
            f"of another shape, {name} among them (wanted {wanted.get(name)}, got {got.get(name)}); get the file again"
        )
    network.load_state_dict(dict(weights), strict=True, assign=True)
    return network.eval().requires_grad_(False)
