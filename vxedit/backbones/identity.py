"""A model's fingerprint: what an inversion belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from vxedit.backbones.layout import Layout, belongs

WHOLE_UP_TO = 256 * 2**20
END = 4 * 2**20
PIPELINE = ("boundary_ratio", "expand_timesteps")
"""What model_index.json says that changes what a model gives: Wan's."""


def identity(layout: Layout) -> str:
    """sha256, in hex, over the configurations, the tokenizer and the weights that are taken: names, sizes and content.

    Of a file over 256 MiB the first and the last 4 MiB stand for its content; of model_index.json what it says of how
    the parts work together counts (PIPELINE). The folder's place and name don't.
    """
    family, names = layout.family, layout.tree.files()
    taken = {file for part in layout.weights.values() for file in part.files}
    files = {file for file in names if file in taken or belongs(family, file)}
    total = hashlib.sha256()
    for file in sorted(files):
        path = layout.path(file)
        total.update(f"{file}\0{path.stat().st_size}\0".encode())
        for block in _content(path):
            total.update(block)
    if said := {name: layout.index[name] for name in PIPELINE if name in layout.index}:
        total.update(json.dumps(said, sort_keys=True).encode())
    return total.hexdigest()


def _content(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size > WHOLE_UP_TO:
            yield file.read(END)
            file.seek(size - END)
        while block := file.read(END):
            yield block
