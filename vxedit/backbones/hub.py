"""Models of the Hugging Face hub: found in its cache, fetched where they aren't there."""

from __future__ import annotations

import logging
from pathlib import Path

from vxedit.backbones.layout import (
    CONFIGS,
    choose_weights,
    first_line,
    is_tokenizer_file,
    missing_files,
    refuse_pickle,
)
from vxedit.errors import ModelError

logger = logging.getLogger(__name__)

TIMEOUT_S = 20.0


def hub_folder(hub_id: str, *, half: bool, need_weights: bool, allow_pickle: bool) -> Path:
    """The folder of the model `hub_id` ("owner/name") in the hub's cache. Where it isn't there whole, exactly the files
    that are needed are fetched; without `need_weights` that's the configurations and the tokenizer.

    Raises ModelError, with the command that fetches the model, where that fails; and, before anything is fetched, where
    its weights are .bin only and not `allow_pickle`.
    """
    root = _cached(hub_id)
    if root is not None and not missing_files(root, need_weights=need_weights):
        return root
    try:
        return _fetch(hub_id, half=half, need_weights=need_weights, allow_pickle=allow_pickle)
    except ModelError:
        raise
    except Exception as err:  # the hub's library raises those of its HTTP client, and OSErrors, besides its own
        raise ModelError(
            f"{hub_id} is no folder here and not in the hub's cache, and fetching it failed ({first_line(err)}): "
            f"run `hf download {hub_id}` where there is a network, or give a folder"
        ) from err


def _cached(hub_id: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    network = try_to_load_from_cache(hub_id, CONFIGS["unet"])
    return Path(network).parent.parent if isinstance(network, str) else None


def _fetch(hub_id: str, *, half: bool, need_weights: bool, allow_pickle: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().model_info(hub_id, timeout=TIMEOUT_S)
    files = {file.rfilename for file in info.siblings or ()}
    weights = choose_weights(files, half=half)
    if not allow_pickle:
        refuse_pickle(hub_id, weights)
    wanted = [file for file in files if is_tokenizer_file(file)] + ["model_index.json", *CONFIGS.values()]
    if need_weights:
        wanted += [part.file for part in weights.values()]
    logger.info("fetching %d files of %s", len(wanted), hub_id)
    return Path(snapshot_download(hub_id, revision=info.sha, allow_patterns=wanted))
