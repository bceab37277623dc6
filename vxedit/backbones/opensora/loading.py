"""Loading the parts of Open-Sora 1.2 that no library knows: our own modules, filled from the published files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vxedit.backbones.layout import Layout, first_line
from vxedit.errors import ModelError

Kind = TypeVar("Kind", bound=nn.Module)


def load_own(
    layout: Layout,
    part: str,
    make: Callable[[Mapping[str, Any]], Kind],
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Kind:
    """What `make` builds from the part's configuration, with its published weights, in evaluation mode and with weights
    that take no gradient. Raises ModelError where weights can't be read, are missing, left over or of another shape."""
    weights = layout.weights[part]
    where = f"{layout.tree}/{weights.file}"
    with torch.device("meta"):  # no memory for weights that the file's take the place of
        module = make(layout.configs[part])
    try:
        state: dict[str, Tensor] = {}
        for file in weights.files:
            if not file.endswith(".json"):
                state.update(_read(layout, file, safe=weights.safe))
    except Exception as err:
        raise ModelError(f"{where} can't be loaded: {first_line(err)}; get the model's files again") from err
    _check(module.state_dict(), state, where)
    module.load_state_dict({name: weight.to(device, dtype) for name, weight in state.items()}, assign=True)
    return module.eval().requires_grad_(False)


def _read(layout: Layout, file: str, *, safe: bool) -> dict[str, Tensor]:
    path = layout.path(file)
    if safe:
        from safetensors.torch import load_file

        return dict(load_file(path))
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _check(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> None:
    same_place = "get both files from the same place"
    if missing := sorted(wanted.keys() - state.keys()):
        raise ModelError(
            f"{where} lacks {len(missing)} of the weights that its config.json asks for, {missing[0]} among them: "
            f"{same_place}"
        )
    if over := sorted(state.keys() - wanted.keys()):
        raise ModelError(
            f"{where} has {len(over)} weights that its config.json doesn't ask for, {over[0]} among them: {same_place}"
        )
    for name, weight in wanted.items():
        if weight.shape != state[name].shape:
            raise ModelError(
                f"{where}: {name} is {tuple(state[name].shape)}, its config.json asks for {tuple(weight.shape)}: "
                f"{same_place}"
            )
