"""Inversions kept on disk, so that a second path on the same clip starts at once.

One file an entry, safetensors, never pickle. A convenience and nothing more: what can't be read is made again, what
can't be written is done without.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

_log = logging.getLogger(__name__)

FORMAT = 1
_KEY = re.compile(r"[0-9a-f]{64}")
_STALE_S = 24 * 3600.0


class _DamagedError(Exception):
    """An entry that is not what was put."""


class Store:
    """Entries of tensors with a JSON description, in the folder `root`, which the first `put` makes.

    `root` None: vxedit/inversions in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache).
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else Path(root)

    @staticmethod
    def key(parts: Mapping[str, Any]) -> str:
        """sha256, as 64 hex digits, of everything that an entry depends on, in whatever order it stands.

        Raises TypeError for what has no one JSON form (keys that aren't text included), ValueError for NaN.
        """
        _refuse_other_keys(parts)
        canonical = json.dumps({"format": FORMAT, "parts": parts}, sort_keys=True, allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def path(self, key: str) -> Path:
        """Where an entry lies. Raises ValueError for what `key` never gives, so that none is read or made elsewhere."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"a key is 64 hex digits, got {key!r}")
        return self.root / f"{key}.safetensors"

    def get(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors, on the CPU, and the description that were put under `key`; None where there are none.

        A damaged entry, one of another format, or one that lies under a wrong name is logged, removed, and None.
        """
        path = self.path(key)
        try:
            return _unpack(key, path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as err:
            _log.warning("the kept inversion %s can't be read (%s); making it again", path, err)
        except _DamagedError as err:
            _log.warning("the kept inversion %s is damaged (%s); making it again", path, err)
            with suppress(OSError):
                path.unlink()
        return None

    def put(self, key: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bool:
        """Keep tensors and their JSON description under `key`, in place of what was there. Whether it was kept.

        Written beside, synced and renamed, so that a reader or a second writer sees all of one or all of the other.
        No space, or a folder that can't be written, is logged. Raises TypeError where `meta` isn't JSON.
        """
        path = self.path(key)
        data = _pack(key, tensors, meta)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            _sweep(self.root)
            _replace(path, data)
        except OSError as err:
            _log.warning("the inversion can't be kept in %s (%s); going on without", self.root, err)
            return False
        return True


def default_root() -> Path:
    """vxedit/inversions in the user's cache folder. A relative $XDG_CACHE_HOME is no folder, by its specification."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        cache = given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # a user without a home, as in containers
        cache = Path(tempfile.gettempdir())
    return cache / "vxedit" / "inversions"


def _pack(key: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bytes:
    # Clones, because safetensors refuses views that share memory.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(dict(meta))
    head = {"format": str(FORMAT), "key": key, "meta": text, "sha256": _checksum(key, plain, text)}
    return bytes(safetensors.torch.save(plain, head))


def _unpack(key: str, data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        tensors = safetensors.torch.load(data)
        head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        version, text, checksum = head["format"], head["meta"], head["sha256"]
    except Exception as err:  # any byte may be wrong, so anything may come out of the readers
        raise _DamagedError(f"not an entry: {type(err).__name__}") from err
    if version != str(FORMAT):
        raise _DamagedError(f"format {version}, not {FORMAT}")
    if head.get("key") != key:
        raise _DamagedError("it belongs to another key")
    if checksum != _checksum(key, tensors, text):
        raise _DamagedError("its checksum is wrong")
    return tensors, json.loads(text)


def _checksum(key: str, tensors: Mapping[str, Tensor], meta: str) -> str:
    """sha256 over everything that is given back: each part after its length or shape, so that none can run together."""
    digest = hashlib.sha256(json.dumps([FORMAT, key, meta]).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _replace(path: Path, data: bytes) -> None:
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem[:16]}-", suffix=".part")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _sweep(root: Path) -> None:
    """Remove what processes that were killed while writing have left, once nobody can still be writing it."""
    for part in root.glob("*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()


def _refuse_other_keys(value: Any) -> None:
    """json writes {1: ...} and {"1": ...} alike, which would be one key for two things."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"names in a key's parts must be text, got {name!r}")
            _refuse_other_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_other_keys(inner)
