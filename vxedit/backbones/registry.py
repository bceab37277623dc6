"""From a model's name to the model: what it can do without its weights (`outline`), and the model itself (`load`)."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vxedit.backbones import tokens
from vxedit.backbones.families import FAMILIES
from vxedit.backbones.families.settings import eta, steady, steps
from vxedit.backbones.family import Facts, Known
from vxedit.backbones.hub import hub_tree
from vxedit.backbones.layout import Layout, find_layout
from vxedit.backbones.memory.needs import Way
from vxedit.backbones.protocol import Backbone, Piece, Schedule, Size
from vxedit.errors import ModelError, UsageError

EMBEDDED = Path(__file__).parent / "embedded"

KNOWN: Mapping[str, Known] = {one.name: one for family in FAMILIES for one in family.known}
"""Published models by their short names."""

NAMES = ("embedded", *KNOWN)

BIG_BYTES = 512 * 2**20
"""A network's file from which on an accelerator runs it narrow by default; a small one gains nothing from it."""


@dataclass(frozen=True)
class Place:
    """Where a model is: a folder, or its ids on the hub, as Known's `sources`. `native`: its size, where that's known
    by name."""

    name: str
    source: Path | Mapping[str, str]
    native: Size | None = None
    revision: str | None = None

    def layout(self, *, half: bool = False, need_weights: bool = True, allow_pickle: bool = False) -> Layout:
        """The model's files, checked; of a hub's model the weights only where they're needed."""
        if isinstance(self.source, Path):
            return find_layout(self.source, half=half, allow_pickle=allow_pickle)
        tree = hub_tree(
            self.source, revision=self.revision, half=half, need_weights=need_weights, allow_pickle=allow_pickle
        )
        return find_layout(tree, half=half, need_weights=need_weights, allow_pickle=allow_pickle)


class Outline:
    """What a model can do, known from its configuration and tokenizer alone."""

    def __init__(self, name: str, layout: Layout, facts: Facts) -> None:
        self.name, self.layout, self.facts = name, layout, facts
        self.native, self.max_frames = facts.sizes.native, facts.sizes.max_frames

    def fit(self, frames: int, height: int, width: int) -> Size:
        """The nearest size that the model can do, as Backbone.fit. Raises UsageError where there is nothing to fit."""
        return self.facts.sizes.fit(frames, height, width)

    def check(self, frames: int, height: int, width: int) -> Size:
        """The size as asked for. Raises UsageError, with the nearest, where the model can't do it."""
        return self.facts.sizes.check(frames, height, width)

    def check_generated(self, frames: int, height: int, width: int) -> Size:
        """`check` for a clip that is to be generated, whose length can't be made to fit afterwards."""
        return self.facts.sizes.check_generated(frames, height, width)

    def schedule(self, steps: int, *, invertible: bool = False) -> Schedule:
        """The noise levels of `steps` steps. Raises UsageError where the model hasn't so many."""
        return self.facts.levels.schedule(steps, invertible=invertible)

    def tokens(self, prompt: str) -> tuple[Piece, ...]:
        """The prompt's tokens. Raises UsageError where it is too long."""
        limit = tokens.text_limit(self._tokenizer, self.facts.text_limit)
        return tokens.pieces(self._tokenizer, prompt, limit, self.facts.prepare)

    @cached_property
    def _tokenizer(self) -> Any:
        return tokens.load_tokenizer(self.layout)


def outline(model: str, *, revision: str | None = None, allow_pickle: bool = False) -> Outline:
    """What `model` (a name of NAMES, a folder, or a hub id "owner/name") can do. No weights are read or fetched.

    Raises ModelError where it is unknown, incomplete or of a kind that can't be used.
    """
    place = find(model, revision=revision)
    layout = place.layout(need_weights=False, allow_pickle=allow_pickle)
    return Outline(place.name, layout, _facts(layout, place))


def load(
    model: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    allow_pickle: bool = False,
    checkpoint_activations: bool | None = None,
    way: Way | None = None,
    lora: Sequence[Path] = (),
    lora_scale: float = 1.0,
) -> Backbone:
    """Load `model`, named as for `outline`. Every call loads it anew.

    `revision`: a branch, tag or commit of a hub's model. `device` "auto" is the first accelerator, else the processor;
    `dtype` "auto" (or fp32, fp16, bf16) is narrow for big networks on an accelerator. `checkpoint_activations`: whether
    gradients are taken with recomputed activations; None: where latents are large. `way`: how memory is spared, as a
    memory plan has it. `lora`: files that are merged into the weights, times `lora_scale`. Raises ModelError as
    `outline`, and where the weights or those files can't be read; UsageError for a device or dtype that isn't there.
    """
    from vxedit.backbones.device import choose_device, choose_dtype

    where, place = choose_device(device), find(model, revision=revision)
    narrow = choose_dtype(dtype, where, big=True)
    half = narrow.itemsize < 4
    layout = place.layout(half=half, allow_pickle=allow_pickle)
    chosen = choose_dtype(dtype, where, big=layout.bytes(layout.family.network.name) > BIG_BYTES)
    if half and chosen.itemsize == 4:
        layout = place.layout(allow_pickle=allow_pickle)
    module, _, kind = layout.family.backbone.partition(":")
    away = way is not None and way.offload != "none"
    backbone = getattr(importlib.import_module(module), kind).load(
        layout,
        _facts(layout, place),
        name=place.name,
        device=choose_device("cpu") if away else where,
        dtype=chosen,
        checkpoint_activations=checkpoint_activations if way is None else way.recomputed,
    )
    if lora:
        from vxedit.backbones.lora import merge_lora

        merge_lora(backbone, lora, lora_scale, allow_pickle=allow_pickle)
    if way is not None:
        backbone.see_at_once(way.vae)
        if away:
            backbone.keep_off(where, way.offload)
    made: Backbone = backbone
    return made


def _facts(layout: Layout, place: Place) -> Facts:
    """What the model in `layout` can do."""
    facts = layout.family.facts(layout, place.native)
    return replace(facts, steps=steps(layout), eta=eta(layout), steady=steady(layout))


def find(model: str, *, revision: str | None = None) -> Place:
    """Where `model` is. A folder wins over a hub id. Raises ModelError, with the nearest names, where it is none, and
    UsageError for a revision of what has none."""
    folder = Path(model).expanduser()
    if revision is not None and (model == "embedded" or (model not in KNOWN and folder.is_dir())):
        raise UsageError(f"--revision {revision} is of a model on the hub, and {model} is none: leave it out")
    if model == "embedded":
        if not EMBEDDED.is_dir():
            raise ModelError(f"the embedded model's folder, {EMBEDDED}, is missing: install vxedit again")
        return Place(model, EMBEDDED)
    if model in KNOWN:
        return Place(model, KNOWN[model].sources, KNOWN[model].native, revision)
    if folder.is_dir():
        return Place(folder.resolve().name, folder)
    if folder.is_file():
        raise ModelError(f"{model} is a file: give the folder in diffusers' layout that the model is in")
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", model):
        same = [one for one in KNOWN.values() if next(iter(one.sources.values())) == model]
        sources: Mapping[str, str] = same[0].sources if same else {"": model}
        return Place(model, sources, same[0].native if same else None, revision)
    if model.startswith((".", "~", "/")) or folder.is_absolute():
        raise ModelError(f"there is no folder {model}: give one in a published layout, or a name of `vxedit models`")
    near = difflib.get_close_matches(model.lower(), NAMES, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ModelError(f"unknown model {model!r}; {hint}give {', '.join(NAMES)}, a folder, or a hub id like owner/name")
