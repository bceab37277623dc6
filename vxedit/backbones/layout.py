"""A model's files in the layout it is published in: what is there and what is missing, known before any weights are
loaded."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxedit.backbones.families import FAMILIES
from vxedit.backbones.family import Family, class_of
from vxedit.backbones.tree import Tree
from vxedit.errors import ModelError

ENDINGS = ("safetensors", "bin", "ckpt")
"""What weights' files may end in, the first that is there before the others; all but the first are pickled."""


@dataclass(frozen=True)
class Weights:
    """One part's weights: their files within the model, their variant, and whether they are safetensors. Weights in
    several files have an index, which comes first."""

    files: tuple[str, ...]
    variant: str | None
    safe: bool

    @property
    def file(self) -> str:
        return self.files[0]


@dataclass(frozen=True)
class Layout:
    """A model's files that have every configuration it needs, by part. `weights` lacks the parts whose weights aren't
    there; `index` is model_index.json, empty where there is none."""

    tree: Tree
    family: Family
    configs: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Weights]
    index: Mapping[str, Any]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What model_index.json says under "vxedit"."""
        settings: Mapping[str, Any] = self.index.get("vxedit", {})
        return settings

    def path(self, file: str) -> Path:
        return self.tree.path(file)

    def folder(self, part: str) -> Path:
        """The folder that a part's files lie in."""
        return self.tree.path(self.family.part(part).file("x")).parent

    def bytes(self, part: str) -> int:
        """The size of a part's weights on disk, 0 where they aren't there."""
        found = self.weights.get(part)
        return 0 if found is None else sum(self.path(file).stat().st_size for file in found.files)


def find_layout(
    where: Path | Tree, *, half: bool = False, need_weights: bool = True, allow_pickle: bool = False
) -> Layout:
    """Read and check a model's files; nothing of the weights is read.

    `half` prefers the fp16 variant of the weights to the plain ones, and takes either where the other is missing.
    Raises ModelError in one line that names every missing part, a network or autoencoder of a kind that isn't known, or
    weights that are only there as .bin (pickle can run code) unless `allow_pickle`.
    """
    tree = where if isinstance(where, Tree) else Tree(where)
    if not tree.root.is_dir():
        raise ModelError(f"{tree} is not a folder: give a model's name, a hub id or a folder in diffusers' layout")
    family = family_of(tree)
    files = tree.files()
    if missing := missing_files(family, files, need_weights=need_weights):
        needed = [part.name for part in family.parts if not part.optional or part.config_file in files]
        parts = ", ".join(dict.fromkeys([*needed, family.tokenizer.folder]))
        raise ModelError(
            f"{tree} is not a complete text-to-video model, these are missing: {', '.join(missing)}; "
            f"give the folder that holds {parts}, as it is published"
        )
    weights = choose_weights(family, files, half=half)
    configs = {}
    for part in family.parts:
        if part.config_file in files:
            configs[part.name] = tree.read_json(str(part.config_file))
            if part.kinds and (got := class_of(configs[part.name])) not in part.kinds:
                raise ModelError(
                    f"{tree}: {part.config_file} says {got}, this family takes {' or '.join(part.kinds)}: "
                    "vxedit can't edit with this model, take one that `vxedit models` lists"
                )
    if not allow_pickle:
        refuse_pickle(tree, weights)
    index = tree.read_json("model_index.json") if "model_index.json" in files else {}
    return Layout(tree, family, configs, weights, index)


def family_of(tree: Tree) -> Family:
    """The family that the model is of. Raises ModelError where it is of none that is known.

    Where the network's own configuration is missing, the family whose other files are there, so that what is missing
    can be said.
    """
    for family in FAMILIES:
        if family.is_in(tree):
            return family
    files = tree.files()
    said = {}
    for network in (family.network for family in FAMILIES):
        if network.config_file in files and network.config_file is not None:
            said[network.config_file] = class_of(tree.read_json(network.config_file))
    if said:
        found = " and ".join(f"{file} says {kind}" for file, kind in said.items())
        known = ", ".join(dict.fromkeys(kind for family in FAMILIES for kind in family.network.kinds))
        raise ModelError(
            f"{tree}: {found}, which vxedit doesn't know; it knows {known}: take a model that `vxedit models` lists"
        )
    return max(FAMILIES, key=lambda family: sum(part.config_file in files for part in family.parts))


def missing_files(family: Family, files: Collection[str], *, need_weights: bool) -> list[str]:
    """What `files` lack of a model of the family, as names of files. An optional part whose configuration is there is
    needed as well."""
    needed = [part for part in family.parts if not part.optional or part.config_file in files]
    missing = [part.config_file for part in needed if part.config_file is not None and part.config_file not in files]
    for groups in (tokenizer.files for tokenizer in family.tokenizers):
        if not any(all(file in files for file in group) for group in groups):
            other = " and ".join(Path(file).name for file in groups[1])
            missing.append(f"{groups[0][0]} (or {other})")
    if need_weights:
        there = choose_weights(family, files, half=False)
        lacking = [part for part in needed if part.stems and part.name not in there]
        missing += [part.file(f"{part.stems[0]}.safetensors") for part in lacking]
    return missing


def choose_weights(family: Family, files: Collection[str], *, half: bool) -> dict[str, Weights]:
    """Which of `files` to take as weights, by part: safetensors before .bin, then the variant that is preferred."""
    variants = ("fp16", None) if half else (None, "fp16")
    chosen: dict[str, Weights] = {}
    for part in family.parts:
        for ending, variant in ((ending, variant) for ending in ENDINGS for variant in variants):
            found = [taken for stem in part.stems if (taken := _named(part.file(stem), ending, variant, files))]
            if found and part.name not in chosen:
                chosen[part.name] = Weights(found[0], variant, ending == "safetensors")
    return chosen


def _named(stem: str, ending: str, variant: str | None, files: Collection[str]) -> tuple[str, ...]:
    """The files of weights called so: the one, or an index and all of its pieces, or none."""
    dotted = f".{variant}" if variant else ""
    if (whole := f"{stem}{dotted}.{ending}") in files:
        return (whole,)
    if (index := f"{stem}.{ending}.index{dotted}.json") not in files:
        return ()
    piece = re.compile(rf"{re.escape(stem + dotted)}-\d+-of-0*(?P<count>\d+)\.{ending}")
    found = [match for match in map(piece.fullmatch, sorted(files)) if match]
    if not found or len(found) < int(found[0]["count"]):
        return ()
    return (index, *(match[0] for match in found))


def refuse_pickle(where: object, weights: Mapping[str, Weights]) -> None:
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


def is_small(file: str) -> bool:
    """Whether a file of a model is a configuration, an index or a tokenizer's, so that it is read before the weights
    are."""
    return file.endswith((".json", ".txt", "spiece.model", "tokenizer.model"))


def belongs(family: Family, file: str) -> bool:
    """Whether `file` is one that the model is made of, its weights left out."""
    if file.rpartition("/")[0] in {tokenizer.folder for tokenizer in family.tokenizers}:
        return is_small(file)
    return file in {part.config_file for part in family.parts}
