"""A model's files as one tree of names, wherever they lie."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vxedit.errors import ModelError

DEPTH = 3
"""Folders below the root that a model's files lie in at most."""


@dataclass(frozen=True)
class Tree:
    """The files below `root`, and below each of `mounts`, which stands in for the root's folder of that name: some
    models are published as several repositories."""

    root: Path
    mounts: Mapping[str, Path] = field(default_factory=dict)

    def path(self, file: str) -> Path:
        """Where the file or folder named `file`, with slashes, relative to the root, is or would be."""
        first, _, rest = file.partition("/")
        return self.mounts[first] / rest if first in self.mounts else self.root / file

    def files(self) -> frozenset[str]:
        """The names of all files, with slashes."""
        own = (name for name in _names(self.root) if name.partition("/")[0] not in self.mounts)
        mounted = (f"{mount}/{name}" for mount, folder in self.mounts.items() for name in _names(folder))
        return frozenset((*own, *mounted))

    def read_json(self, file: str) -> dict[str, Any]:
        """The JSON object in `file`. Raises ModelError where there is none."""
        path = self.path(file)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as err:
            raise ModelError(f"{path} can't be read as JSON: {err}; get the model's files again") from err
        if not isinstance(content, dict):
            raise ModelError(f"{path} should hold a JSON object: get the model's files again")
        return content

    def __str__(self) -> str:
        return str(self.root)


def _names(folder: Path) -> Iterator[str]:
    for depth in range(DEPTH):
        for path in folder.glob("*/" * depth + "*"):
            if path.is_file():
                yield path.relative_to(folder).as_posix()
