"""Models of the Hugging Face hub: found in its cache, fetched where they aren't there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from vxedit.backbones.families import FAMILIES
from vxedit.backbones.layout import (
    belongs,
    choose_weights,
    family_of,
    first_line,
    missing_files,
    refuse_pickle,
)
from vxedit.backbones.tree import Tree
from vxedit.errors import ModelError

logger = logging.getLogger(__name__)

TIMEOUT_S = 20.0


def hub_tree(
    sources: Mapping[str, str], *, revision: str | None = None, half: bool, need_weights: bool, allow_pickle: bool
) -> Tree:
    """The files of the model that is published as `sources`, hub ids ("owner/name") by the folder of the model that
    they are, "" for the model itself, in the hub's cache. Where they aren't there whole, exactly the files that are
    needed are fetched; without `need_weights` that's the configurations and the tokenizer.

    `revision`: a branch, tag or commit of the model itself; None: the newest. Raises ModelError, with the commands that
    fetch the model, where that fails; and, before anything is fetched, where its weights are .bin only and not
    `allow_pickle`.
    """
    revisions = {folder: revision if folder == main(sources) else None for folder in sources}
    kept = _cached(sources, revisions)
    if kept is not None and not missing_files(family_of(kept), kept.files(), need_weights=need_weights):
        return kept
    try:
        return _fetch(sources, revisions, half=half, need_weights=need_weights, allow_pickle=allow_pickle)
    except ModelError:
        raise
    except Exception as err:  # the hub's library raises those of its HTTP client, and OSErrors, besides its own
        name, commands = sources[main(sources)], " and ".join(f"`{one}`" for one in download(sources, revision))
        raise ModelError(
            f"{name} is no folder here and not in the hub's cache, and fetching it failed ({first_line(err)}): "
            f"run {commands} where there is a network, or give a folder"
        ) from err


def main(sources: Mapping[str, str]) -> str:
    """The folder of the repository that the model is named by: the first."""
    return next(iter(sources))


def download(sources: Mapping[str, str], revision: str | None = None) -> list[str]:
    """The commands that fetch a model."""
    pinned = f" --revision {revision}" if revision else ""
    each = dict.fromkeys(sources.values())
    return [f"hf download {hub_id}{pinned if i == 0 else ''}" for i, hub_id in enumerate(each)]


def _cached(sources: Mapping[str, str], revisions: Mapping[str, str | None]) -> Tree | None:
    """The model's tree where every repository is in the cache, however incomplete."""
    from huggingface_hub import try_to_load_from_cache

    roots = {}
    for folder, hub_id in sources.items():
        for name in _landmarks(folder):
            found = try_to_load_from_cache(hub_id, name, revision=revisions[folder])
            if isinstance(found, str):
                roots[folder] = Path(found).parents[name.count("/")]
                break
        else:
            return None
    return _tree(roots)


def _landmarks(folder: str) -> Iterable[str]:
    """Files by one of which a repository that is `folder` of a model is found."""
    parts = [part for family in FAMILIES for part in family.parts]
    named = [
        name for part in parts for name in (part.config_file, *(part.file(f"{s}.safetensors") for s in part.stems))
    ]
    tokenizers = [file for family in FAMILIES for group in family.tokenizer.files for file in group]
    wanted = [name for name in (*named, *tokenizers, "model_index.json") if name is not None]
    if not folder:
        return dict.fromkeys(wanted)
    return dict.fromkeys(name.removeprefix(f"{folder}/") for name in wanted if name.startswith(f"{folder}/"))


def _tree(roots: Mapping[str, Path]) -> Tree:
    """A model of several repositories without one for itself has an empty root, which no file is in."""
    mounts = {folder: root for folder, root in roots.items() if folder}
    return Tree(roots[""] if "" in roots else next(iter(roots.values())).parent / ".none", mounts)


def _fetch(
    sources: Mapping[str, str],
    revisions: Mapping[str, str | None],
    *,
    half: bool,
    need_weights: bool,
    allow_pickle: bool,
) -> Tree:
    from huggingface_hub import HfApi, snapshot_download

    listed = {}
    for folder, hub_id in sources.items():
        info = HfApi().model_info(hub_id, revision=revisions[folder], timeout=TIMEOUT_S)
        names = [file.rfilename for file in info.siblings or ()]
        listed.update({(f"{folder}/{name}" if folder else name): (folder, name) for name in names})

    def fetch(files: Iterable[str]) -> Tree:
        wanted = [listed[file] for file in files]
        roots = {}
        for folder, hub_id in sources.items():
            own = [name for place, name in wanted if place == folder]
            logger.info("fetching %d files of %s", len(own), hub_id)
            # By the revision's name: by a commit's, the cache wouldn't know it by its name without the network.
            roots[folder] = Path(snapshot_download(hub_id, revision=revisions[folder], allow_patterns=own))
        return _tree(roots)

    # Which family it is stands in the configurations, so they come first; where all that it can be is pickled, nothing.
    possible = [one for one in FAMILIES if not missing_files(one, listed.keys(), need_weights=True)]
    weights = [choose_weights(one, listed.keys(), half=half) for one in possible or FAMILIES[:1]]
    name = sources[main(sources)]
    if not allow_pickle and all(any(not part.safe for part in one.values()) for one in weights):
        refuse_pickle(name, weights[0])
    small = [file for file in listed if any(belongs(one, file) for one in possible or FAMILIES[:1])]
    tree = fetch([*small, *(file for file in listed if file == "model_index.json" or file.endswith(".index.json"))])
    if not need_weights:
        return tree
    chosen = choose_weights(family_of(tree), listed.keys(), half=half)
    if not allow_pickle:
        refuse_pickle(name, chosen)
    return fetch(file for part in chosen.values() for file in part.files)
