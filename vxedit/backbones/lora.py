"""Low-rank fine-tuning (LoRA, Hu et al. 2022, arXiv 2106.09685) merged into weights: W + scale up @ down."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vxedit.backbones.lora_files import Listed, Named, Pair, config_beside, read_lora
from vxedit.backbones.placing import NETWORK, Parts
from vxedit.errors import ModelError

OF_TEXT = ("text_encoder.", "lora_te_", "lora_te1_", "text_model.", "text_model_")
OF_NETWORK = ("base_model.model.", "transformer.", "unet.", "diffusion_model.", "lora_unet_", "lora_transformer_")
"""What files put before the names of modules, by what the module is in."""

WAN = (
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])$", r".\1"),
    (r"\.to_out$", ".o"),
    (r"\.ffn\.net\.0\.proj$", ".ffn.0"),
    (r"\.ffn\.net\.2$", ".ffn.2"),
)
"""From diffusers' names of Wan's modules to its authors', by which most files for it go."""

CHOICES: tuple[tuple[str, ...], ...] = (
    (),
    ("Transformer2DModel",),
    ("TransformerTemporalModel",),
    ("TemporalConvLayer",),
    ("ResnetBlock2D",),
    ("CLIPEncoderLayer",),
    ("CLIPAttention",),
)
"""What Text-To-Video-Finetuning tunes: the layers inside modules of these classes; of none: of all. Its files don't say
which, their number and shapes do."""

Change = tuple[Any, Pair]
"""A module whose weight changes, and by what."""


def apply_lora(
    network: nn.Module,
    files: Sequence[Path],
    scale: float = 1.0,
    *,
    text_encoder: nn.Module | None = None,
    allow_pickle: bool = False,
) -> None:
    """Add what `files` hold, times `scale`, to the weights of `network` and, of files that have that too, of
    `text_encoder`; in place, summed in float32. With scale 0 nothing changes.

    Raises ModelError, before any weight is changed, where a file can't be read, is a pickle (.pt, .bin) and not
    `allow_pickle`, or holds anything that matches no weight, or one of another shape.
    """
    changes = [
        change
        for file in files
        for content in read_lora(file, allow_pickle=allow_pickle)
        for change in _changes(file, content, network, text_encoder)
    ]
    with torch.no_grad():
        for module, pair in changes:
            weight = module.weight
            added = difference(module, pair.up.to(weight.device).float(), pair.down.to(weight.device).float())
            weight.copy_(weight.float() + scale * pair.factor * added)


def merge_lora(backbone: Parts, files: Sequence[Path], scale: float = 1.0, *, allow_pickle: bool = False) -> None:
    """`apply_lora` to all of a backbone's networks, and to its text encoder what is for that. It is another model then,
    and its identity says so."""
    networks = [part for name, part in backbone.parts.items() if name.startswith(NETWORK)]
    encoder = backbone.parts["text_encoder"]
    first = encoder[0] if isinstance(encoder, nn.ModuleList) else encoder
    for number, network in enumerate(networks):
        apply_lora(network, files, scale, text_encoder=None if number else first, allow_pickle=allow_pickle)
    backbone.identity = lora_identity(backbone.identity, files, scale)


def lora_identity(identity: str, files: Sequence[Path], scale: float = 1.0) -> str:
    """The identity (sha256, in hex) of the model that `identity` is of, once `apply_lora` has changed it. The files'
    content counts, in their order, not their names; with scale 0 or without files it is the same model."""
    if not files or scale == 0:
        return identity
    total = hashlib.sha256(f"{identity}\0{float(scale)!r}".encode())
    for path in (path for file in files for path in (file, config_beside(file))):
        total.update(b"\0" if path is None else hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def difference(module: Any, up: Tensor, down: Tensor) -> Tensor:
    """up @ down in the shape of the module's weight, for factors that fit it."""
    shape, product = module.weight.shape, up.flatten(1) @ down.flatten(1)
    if isinstance(module, nn.Embedding):
        return product.T
    if product.numel() == module.weight.numel():
        return product.view(shape)
    # stable_lora's factors of a convolution over time have its kernel on both sides, and the mean over one is taken.
    return product.view(*shape[:3], shape[2], 1).mean(-2, keepdim=True)


def _fits(module: Any, pair: Pair) -> bool:
    shape = tuple(module.weight.shape)
    (out, rank), (other, into) = (factor.flatten(1).shape for factor in (pair.up, pair.down))
    if rank != other:
        return False
    if isinstance(module, nn.Embedding):
        return (into, out) == shape
    if (out, into) == (shape[0], module.weight[0].numel()):
        return True
    # stable_lora: a kernel's side on both factors.
    side = shape[2] if len(shape) > 3 else 0
    return shape[2:] in ((side, side), (side, 1, 1)) and (out, into) == (side * shape[0], side * shape[1])


def _changes(file: Path, content: Named | Listed, network: nn.Module, text_encoder: nn.Module | None) -> list[Change]:
    if isinstance(content, Named):
        return _of_names(file, content, network, text_encoder)
    target = {"unet": network, "text_encoder": text_encoder}.get(content.part)
    return _of_order(file, content, target)


def _of_names(file: Path, content: Named, network: nn.Module, text_encoder: nn.Module | None) -> list[Change]:
    ours = ((_places(network), OF_NETWORK), ({} if text_encoder is None else _places(text_encoder), OF_TEXT))
    changes: list[Change] = []
    unknown = list(content.unknown)
    for name, pair in content.pairs.items():
        module = next((found for places, before in ours if (found := _find(name, places, before)) is not None), None)
        if module is None:
            unknown.append(name)
        elif not _fits(module, pair):
            raise ModelError(
                f"{file}: {name} is {tuple(pair.up.shape)} times {tuple(pair.down.shape)} and the model's weight "
                f"{tuple(module.weight.shape)}: take a LoRA that was trained for this model"
            )
        else:
            changes.append((module, pair))
    if unknown or not changes:
        told = ", ".join(sorted(unknown)[:3]) or "there is nothing in it"
        raise ModelError(
            f"{file}: {len(unknown)} of the {len(unknown) + len(changes)} things in it match nothing in this model's "
            f"{type(network).__name__} ({told}): take a LoRA that was trained for this model, as diffusers, peft, "
            "kohya's scripts or Text-To-Video-Finetuning save it"
        )
    return changes


def _find(name: str, places: Mapping[str, Any], before: Sequence[str]) -> Any:
    """The module that a file calls so: as it is called, or with what stands before taken away."""
    rest = name.replace(".processor.", ".")
    while (found := places.get(rest.replace(".", "_"))) is None:
        prefix = next((prefix for prefix in before if rest.startswith(prefix)), None)
        if prefix is None:
            return None
        rest = rest.removeprefix(prefix)
    return found


def _places(network: nn.Module) -> dict[str, nn.Module]:
    """The modules that have a weight to change by every name that files know them by, its dots as underscores."""
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)):
            continue
        short = theirs = re.sub(r"\.to_out\.0$", ".to_out", name)
        for pattern, replaced in WAN if type(network).__name__ == "WanTransformer3DModel" else ():
            theirs = re.sub(pattern, replaced, theirs)
        found.update((called.replace(".", "_"), module) for called in (name, short, theirs))
    return found


def _of_order(file: Path, content: Listed, network: nn.Module | None) -> list[Change]:
    """What pairs without names change: one each of the network's linear and convolution layers, in its order."""
    choices = CHOICES if content.classes is None else (content.classes,)
    for classes, early in ((classes, early) for classes in choices for early in (False, True)):
        layers = [] if network is None else list(_layers(network, classes, early=early))
        if len(layers) == len(content.pairs) and all(map(_fits, layers, content.pairs)):
            return list(zip(layers, content.pairs, strict=True))
    raise ModelError(
        f"{file}: the {len(content.pairs)} pairs in it for the {content.part} have no names, and don't fit the layers "
        "of this model's one by one: take a LoRA that was trained for this model"
    )


def _layers(network: nn.Module, classes: Sequence[str], *, early: bool) -> Iterator[nn.Module]:
    """The linear and convolution layers inside modules of these classes, each once."""
    seen: set[int] = set()
    tops = [network] if not classes else [m for m in _ordered(network, early=early) if type(m).__name__ in classes]
    for module in (module for top in tops for module in _ordered(top, early=early)):
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)) and id(module) not in seen:
            seen.add(id(module))
            yield module


def _ordered(module: nn.Module, *, early: bool) -> Iterator[nn.Module]:
    """A module and all in it, in the order in which they were made; `early`: a block's `ff` before its `attn2`, as
    diffusers up to 0.16 made them."""
    yield module
    children = dict(module.named_children())
    names = list(children)
    if early and {"ff", "attn2"} <= children.keys():
        names.remove("ff")
        names.insert(names.index("attn2"), "ff")
    for name in names:
        yield from _ordered(children[name], early=early)
