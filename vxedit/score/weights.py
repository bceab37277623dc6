"""The judging models of transformers: found in a folder or the hub's cache, and loaded. Nothing is fetched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from vxedit.backbones.parts import no_progress_bars
from vxedit.errors import ModelError

_NEEDED = {
    "config.json": {"config.json"},
    "model.safetensors or pytorch_model.bin": {
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    },
    "tokenizer.json or vocab.json": {"tokenizer.json", "vocab.json"},
}
"""What a folder must hold, and the files that will do."""

_HUB_ID = r"[A-Za-z0-9][\w.-]*/[\w.-]+"


def find_weights(name: str, *, option: str, allow_pickle: bool = False) -> Path:
    """The folder of the model `name`: a folder, which wins, or a hub id "owner/name" whose files are in the hub's
    cache. option: the flag that names it, for the message.

    Raises ModelError, with the command that fetches it, where it isn't whole, and where its weights are .bin only
    (pickle can run code) unless `allow_pickle`.
    """
    found = _found(name, option)
    if not (allow_pickle or _is_safe(found)):
        raise ModelError(
            f"{name}: its weights are there as .bin only, which can run code when loaded: pass --allow-pickle if you "
            "trust them, or save the model as safetensors with save_pretrained of its transformers class"
        )
    return found


def _is_safe(folder: Path) -> bool:
    return any((folder / file).is_file() for file in ("model.safetensors", "model.safetensors.index.json"))


def _found(name: str, option: str) -> Path:
    given = Path(name).expanduser()
    if given.is_dir():
        if missing := _missing(given):
            raise ModelError(f"{name} lacks {missing}: give {option} a folder as transformers writes it")
        return given
    folder = _cached(name)
    if folder is None or _missing(folder):
        fetch = f"run `hf download {name}` where there is a network, or " if re.fullmatch(_HUB_ID, name) else ""
        raise ModelError(
            f"{name} is no folder here and not in the hub's cache: {fetch}give {option} a folder or a hub id"
        )
    return folder


def at_hand(name: str, *, allow_pickle: bool = False) -> bool:
    """Whether `find_weights` would find it."""
    try:
        find_weights(name, option="", allow_pickle=allow_pickle)
    except ModelError:
        return False
    return True


def model_type(folder: Path) -> str:
    """What kind of model a folder holds, as its config.json says. Raises ModelError where that can't be read."""
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ModelError(f"{folder}/config.json names no model type: give a folder as transformers writes it") from err


def load_pretrained(
    name: str, folder: Path, network_class: Any, processor_class: Any, *, device: torch.device
) -> tuple[Any, Any]:
    """The network, ready to judge, and the processor in a folder. Raises ModelError where they can't be read."""
    try:
        with no_progress_bars():
            network, report = network_class.from_pretrained(
                folder, local_files_only=True, use_safetensors=_is_safe(folder), output_loading_info=True
            )
            processor = processor_class.from_pretrained(folder, local_files_only=True)
    except Exception as err:  # transformers raises OSError, ValueError, and what reading a damaged file does
        said = " ".join(str(err).split())[:200]
        raise ModelError(f"{name} can't be loaded ({said}): get the model's files again") from err
    if missing := sorted(report["missing_keys"]):  # which transformers fills with random numbers
        raise ModelError(f"{name} lacks {len(missing)} of its weights, {missing[0]} among them: get its files again")
    return network.eval().requires_grad_(False).to(device), processor


def _cached(name: str) -> Path | None:
    if not re.fullmatch(_HUB_ID, name):
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def _missing(folder: Path) -> str:
    there = {file.name for file in folder.iterdir()}
    return next((needed for needed, files in _NEEDED.items() if not there & files), "")
