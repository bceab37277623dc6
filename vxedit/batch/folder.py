"""A folder of clips as jobs: captions and paths are found beside them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from vxedit.batch.place import result_name
from vxedit.batch.row import Fault, Row, Rows, Value
from vxedit.errors import InputError

CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".y4m")
MOST_PATH_BYTES = 4 << 20


def read_folder(folder: Path, *, out: Path, pattern: str | None = None, recursive: bool = False) -> Rows:
    """A row a clip, in the order of their names; what lies in `out`, hidden files and linked folders are left out.

    `pattern` is matched with the name ("*.mp4"); None: every file that ends as videos do. A .json beside a clip that
    holds a path is its path, unless one is given for all. Results mirror the folder. Raises InputError where there is
    no clip.
    """
    found: list[Path] = []
    passed: list[Fault] = []
    for clip in sorted(_files(folder, out, recursive=recursive)):
        name = str(clip.relative_to(folder))
        if not (fnmatch(clip.name, pattern) if pattern else clip.suffix.lower() in CLIPS):
            continue
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode(errors="replace")
            passed.append(Fault(shown, "passed over: its name isn't UTF-8; rename it"))
            continue
        found.append(clip)
    if not found and not passed:
        wanted = f"named {pattern}" if pattern else f"({', '.join(CLIPS)})"
        raise InputError(f"{folder} holds no clip {wanted}; look into its folders with --recursive")
    stems = Counter(str(clip.relative_to(folder).with_suffix("")) for clip in found)
    rows = []
    for clip in found:
        inner = clip.relative_to(folder)
        values: dict[str, Value] = {"input": str(clip.absolute())}
        beside = clip.with_suffix(".json")
        if beside != clip and holds_path(beside):
            values["path"] = str(beside.absolute())
        # a.mov and a.mp4 beside each other would both be a-edit.mp4
        stem = inner.name if stems[str(inner.with_suffix(""))] > 1 else inner.stem
        rows.append(Row(str(inner), values, folder.absolute(), str(inner.parent / result_name(stem))))
    return Rows(tuple(rows), (), tuple(passed))


def holds_path(file: Path) -> bool:
    """Whether a .json is there and is not something else's: a record of vxedit's, or anything without keyframes or
    motions. One that isn't JSON counts as a path, so that its fault is said."""
    try:
        if not file.is_file() or file.stat().st_size > MOST_PATH_BYTES:
            return False
        held = json.loads(file.read_bytes())
    except OSError:
        return False
    except (ValueError, RecursionError):
        return True
    return isinstance(held, dict) and ("keyframes" in held or "motions" in held)


def _files(folder: Path, out: Path, *, recursive: bool) -> Iterator[Path]:
    left_out = os.path.realpath(out)
    for here, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if recursive and not name.startswith(".") and os.path.realpath(os.path.join(here, name)) != left_out
        ]
        yield from (Path(here) / name for name in files if not name.startswith("."))
