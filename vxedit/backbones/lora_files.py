"""Files of low-rank fine-tuning, as their makers save them: diffusers and peft, kohya's scripts, and
Text-To-Video-Finetuning with its two ways, "cloneofsimo" and "stable_lora"."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vxedit.backbones.layout import first_line
from vxedit.errors import ModelError

FACTOR = re.compile(
    r"(?P<name>.+?)(?:\.lora_(?P<letter>[AB])(?:\.default)?|[._]lora(?:_linear_layer)?[._](?P<word>up|down))(?:\.weight)?"
)
LISTED = re.compile(r"(?P<part>\w+):(?P<place>\d+):(?P<side>up|down)")

Factor = Callable[[str, int], float]


@dataclass(frozen=True)
class Pair:
    """Factors of what is added to a weight: `up` (out, r, …), `down` (r, in, …), and what their product is times."""

    up: Tensor
    down: Tensor
    factor: float = 1.0


@dataclass(frozen=True)
class Named:
    """Pairs by what the file calls the module that they change. `unknown`: what else is in the file."""

    pairs: Mapping[str, Pair]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """Pairs without names, in the order of the layers of "unet" or "text_encoder". `classes`: of the modules in which
    layers count; none given: it isn't said."""

    part: str
    pairs: tuple[Pair, ...]
    classes: tuple[str, ...] | None = None


def read_lora(file: Path, *, allow_pickle: bool) -> tuple[Named | Listed, ...]:
    """What is in a file. Raises ModelError where it can't be read, or is a pickle and not `allow_pickle`."""
    content, notes = _read(file, allow_pickle=allow_pickle)
    if isinstance(content, list):
        part = "text_encoder" if "text_encoder" in file.stem else "unet"
        return (Listed(part, _pairs(file, content[0::2], content[1::2])),)
    if not content or not all(LISTED.fullmatch(key) for key in content):
        return (_named(content, _factor(file, notes)),)
    parts = dict.fromkeys(key.partition(":")[0] for key in content)
    return tuple(_listed(file, part, content, notes) for part in parts)


def config_beside(file: Path) -> Path | None:
    """peft's adapter_config.json, which belongs to the adapter_model.safetensors beside it."""
    config = file.with_name("adapter_config.json")
    return config if file.stem == "adapter_model" and config.is_file() else None


def _read(file: Path, *, allow_pickle: bool) -> tuple[dict[str, Tensor] | list[Tensor], Mapping[str, str]]:
    """A file's tensors by name, or one after the other where they have none, and what its header notes."""
    if not file.is_file():
        raise ModelError(f"{file} is not a file: give a LoRA's .safetensors file")
    try:
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(file, framework="pt") as opened:
                return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
        if allow_pickle:
            content = torch.load(file, map_location="cpu", weights_only=True)
            return (list(content) if isinstance(content, list | tuple) else dict(content)), {}
    except Exception as err:  # safetensors and torch raise kinds of their own
        raise ModelError(f"{file} can't be read: {first_line(err)}; get the file again") from err
    raise ModelError(
        f"{file} is a pickle, which can run code when loaded: pass --allow-pickle if you trust it, or take the same as "
        ".safetensors"
    )


def _named(content: Mapping[str, Tensor], factor: Factor) -> Named:
    sides: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, value in content.items():
        if key.endswith(".alpha"):
            sides.setdefault(key.removesuffix(".alpha"), {})["alpha"] = value
        elif found := FACTOR.fullmatch(key):
            side = found["word"] or ("down" if found["letter"] == "A" else "up")
            sides.setdefault(found["name"], {})[side] = value
        else:
            unknown.append(key)
    pairs = {}
    for name, tensors in sides.items():
        if not {"up", "down"} <= tensors.keys():
            unknown.append(name)
            continue
        rank = len(tensors["down"])
        times = float(tensors["alpha"]) / rank if "alpha" in tensors else factor(name, rank)
        pairs[name] = Pair(tensors["up"], tensors["down"], times)
    return Named(pairs, tuple(unknown))


def _listed(file: Path, part: str, content: Mapping[str, Tensor], notes: Mapping[str, str]) -> Listed:
    """Numbered pairs; the header says in which classes of modules they count."""
    count = sum(key.startswith(f"{part}:") for key in content)
    try:
        ups, downs = ([content[f"{part}:{i}:{side}"] for i in range(count // 2)] for side in ("up", "down"))
        classes = tuple(json.loads(notes[part])) if part in notes else None
    except (KeyError, ValueError) as err:
        raise ModelError(f"{file}: its pairs for {part} aren't complete: get the file again") from err
    return Listed(part, _pairs(file, ups, downs), classes)


def _pairs(file: Path, ups: list[Tensor], downs: list[Tensor]) -> tuple[Pair, ...]:
    if not ups or len(ups) != len(downs) or not all(isinstance(one, Tensor) for one in (*ups, *downs)):
        raise ModelError(f"{file} should hold pairs of tensors, up and down in turn: get the file again")
    return tuple(Pair(up.detach(), down.detach()) for up, down in zip(ups, downs, strict=True))


def _factor(file: Path, notes: Mapping[str, str]) -> Factor:
    """What the product of a module's factors is times, of its name and rank: alpha / r, or alpha / sqrt(r)
    (Kalajdzievski 2023, arXiv 2312.03732), as peft's settings in the header or beside the file say; 1 where they don't.
    """
    settings: dict[str, dict[str, Any]] = {}
    try:
        for key, value in json.loads(notes.get("lora_adapter_metadata", "{}")).items():
            part, _, setting = key.rpartition(".")
            settings.setdefault(part, {})[setting] = value
        if (config := config_beside(file)) is not None:
            settings[""] = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, AttributeError) as err:
        raise ModelError(f"{file}: its settings can't be read as JSON: {first_line(err)}; get it again") from err

    def factor(name: str, rank: int) -> float:
        own = settings.get(name.partition(".")[0], settings.get("", {}))
        patterns = own.get("alpha_pattern") or {}
        matching = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", name))
        alpha = next(matching, own.get("lora_alpha"))
        if alpha is None:
            return 1.0
        return float(alpha) / (rank**0.5 if own.get("use_rslora") else rank)

    return factor
