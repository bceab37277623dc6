"""A model's folder in diffusers' layout: what is there and what is missing, known before any weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxedit.errors import ModelError

CONFIGS = {
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
    "scheduler": "scheduler/scheduler_config.json",
}
STEMS = {
    "unet": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "vae": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "text_encoder": ("model", "pytorch_model"),
}
"""A part's weights are called so, as safetensors and as .bin."""

TOKENIZERS = (("tokenizer/tokenizer.json",), ("tokenizer/vocab.json", "tokenizer/merges.txt"))
"""Either of these sets of files is a tokenizer."""

NETWORK = "UNet3DConditionModel"
AUTOENCODERS = ("AutoencoderKL", "AutoencoderDC")


@dataclass(frozen=True)
class Weights:
    """One part's weights: the file within the model's folder, its variant, and whether it is safetensors."""

    file: str
    variant: str | None
    safe: bool


@dataclass(frozen=True)
class Layout:
    """A folder that has every configuration a model needs. `weights` lacks the parts whose weights aren't there;
    `settings` is what model_index.json says under "vxedit"."""

    root: Path
    configs: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Weights]
    settings: Mapping[str, Any]


def find_layout(root: Path, *, half: bool = False, need_weights: bool = True, allow_pickle: bool = False) -> Layout:
    """Read and check the folder `root`; nothing of the weights is read.

    `half` prefers the fp16 variant of the weights to the plain ones, and takes either where the other is missing.
    Raises ModelError in one line that names every missing part, a network or autoencoder of a kind that isn't known, or
    weights that are only there as .bin (pickle can run code) unless `allow_pickle`.
    """
    if not root.is_dir():
        raise ModelError(f"{root} is not a folder: give a model's name, a hub id or a folder in diffusers' layout")
    if missing := missing_files(root, need_weights=need_weights):
        raise ModelError(
            f"{root} is not a complete text-to-video model, these are missing: {', '.join(missing)}; "
            "give the folder that holds unet, vae, text_encoder, tokenizer and scheduler, as diffusers writes it"
        )
    weights = choose_weights(_files(root), half=half)
    configs = {part: _read_json(root / file) for part, file in CONFIGS.items()}
    for part, allowed in (("unet", (NETWORK,)), ("vae", AUTOENCODERS)):
        if (got := configs[part].get("_class_name")) not in allowed:
            raise ModelError(
                f"{root}: {part}/config.json says {got}, this family takes {' or '.join(allowed)}: "
                "vxedit can't edit with this model, take a ModelScope-like one"
            )
    if not allow_pickle:
        refuse_pickle(root, weights)
    index = root / "model_index.json"
    settings = _read_json(index).get("vxedit", {}) if index.is_file() else {}
    return Layout(root, configs, weights, settings)


def missing_files(root: Path, *, need_weights: bool) -> list[str]:
    """What the folder lacks of a model, as names of files within it."""
    files = _files(root)
    missing = [file for file in CONFIGS.values() if file not in files]
    if not any(all(file in files for file in group) for group in TOKENIZERS):
        missing.append("tokenizer/tokenizer.json (or vocab.json and merges.txt)")
    if need_weights:
        there = choose_weights(files, half=False)
        missing += [f"{part}/{STEMS[part][0]}.safetensors" for part in STEMS if part not in there]
    return missing


def choose_weights(files: Collection[str], *, half: bool) -> dict[str, Weights]:
    """Which of `files` to take as weights, by part: safetensors before .bin, then the variant that is preferred."""
    variants = ("fp16", None) if half else (None, "fp16")
    chosen = {}
    for part, (safe_stem, bin_stem) in STEMS.items():
        for safe, variant in ((safe, variant) for safe in (True, False) for variant in variants):
            stem, ending = (safe_stem, "safetensors") if safe else (bin_stem, "bin")
            file = f"{part}/{stem}.{variant}.{ending}" if variant else f"{part}/{stem}.{ending}"
            if file in files and part not in chosen:
                chosen[part] = Weights(file, variant, safe)
    return chosen


def refuse_pickle(where: Path | str, weights: Mapping[str, Weights]) -> None:
    """Raise ModelError, with the ways on, where `weights` are not all safetensors. `where`: the model, for people."""
    pickled = [part for part in weights if not weights[part].safe]
    if pickled:
        raise ModelError(
            f"{where}: the weights of {', '.join(pickled)} are there as .bin only, which can run code when loaded: "
            "pass --allow-pickle if you trust them, or convert them: load each part once with from_pretrained(folder, "
            "subfolder=part, use_safetensors=False) of its diffusers or transformers class and save it with "
            "save_pretrained(folder/part)"
        )


def first_line(err: Exception) -> str:
    """What a library's message says in its first line, or the error's kind where it says nothing."""
    return str(err).strip().split("\n")[0] or type(err).__name__


def is_tokenizer_file(file: str) -> bool:
    """Whether `file`, relative to the model's folder, is one that the tokenizer is read from."""
    return file.startswith("tokenizer/") and file.endswith((".json", ".txt"))


def _files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.glob("*/*") if path.is_file()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ModelError(f"{path} can't be read as JSON: {err}; get the model's files again") from err
    if not isinstance(content, dict):
        raise ModelError(f"{path} should hold a JSON object: get the model's files again")
    return content
