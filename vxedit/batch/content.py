"""What the files of a job hold, by digest, so that a change is noticed and nothing is read twice for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vxedit.errors import InputError


@dataclass(frozen=True)
class Content:
    """A file's size in bytes, when it was last changed, and its sha256."""

    size: int
    mtime_ns: int
    sha256: str


def contents(files: Mapping[str, Path], known: Mapping[str, Content] | None = None) -> dict[str, Content]:
    """The content of every file by its name in `files`; a folder's files each, as "name/file".

    A file of the size and time of change that `known` has is taken to hold what it held. Raises InputError where one is
    gone or can't be read.
    """
    known = known or {}
    found = {}
    for name, file in _each(files).items():
        size, mtime_ns = stamp(file)
        before = known.get(name)
        if before is None or (before.size, before.mtime_ns) != (size, mtime_ns):
            before = Content(size, mtime_ns, sha256(file))
        found[name] = before
    return found


def changed(files: Mapping[str, Path], seen: Mapping[str, Content]) -> Path | None:
    """The first file that is not as it was `seen`, by size and time of change. Raises InputError as `contents`."""
    there = _each(files)
    for name, file in there.items():
        if name not in seen or stamp(file) != (seen[name].size, seen[name].mtime_ns):
            return file
    return None if set(there) == set(seen) else next(iter(files.values()))


def stamp(file: Path) -> tuple[int, int]:
    """A file's size in bytes and when it was last changed, in nanoseconds. Raises InputError."""
    try:
        there = file.stat()
    except (OSError, ValueError) as err:
        raise _unreadable(file, err) from err
    return there.st_size, there.st_mtime_ns


def sha256(file: Path) -> str:
    """sha256 of what a file holds, as 64 hex digits. Raises InputError."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    except OSError as err:
        raise _unreadable(file, err) from err
    return digest.hexdigest()


def _each(files: Mapping[str, Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, file in files.items():
        if file.is_dir():
            found |= {f"{name}/{inner.name}": inner for inner in sorted(file.iterdir()) if inner.is_file()}
        else:
            found[name] = file
    return found


def _unreadable(file: Path, err: Exception) -> InputError:
    reason = getattr(err, "strerror", None) or str(err)
    return InputError(f"{file} can't be read: {reason}; was it moved or removed?")
