"""Where a batch's results go: always inside its folder, whatever a manifest says, and each in its own place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from vxedit.errors import OutputError, UsageError

MOST_BYTES = 180
"""Of a result's name without its ending: file systems take 255, and what lies beside it has a longer one."""

BESIDE = ("-original", "-side-by-side", "-attention")
"""What other files of one job end in, before the suffix."""


def result_name(stem: str) -> str:
    """The file that an edit of the clip `stem` goes to. A very long name is cut, and told apart by its digest."""
    return f"{shortened(stem)}-edit.mp4"


def shortened(stem: str) -> str:
    """`stem`, or, where it is too long for what will be added, its beginning and a digest of all of it."""
    if len(stem.encode(errors="surrogateescape")) <= MOST_BYTES:
        return stem
    digest = hashlib.sha256(stem.encode(errors="surrogateescape")).hexdigest()[:8]
    kept = stem.encode(errors="surrogateescape")[: MOST_BYTES - 9].decode(errors="ignore")
    return f"{kept}-{digest}"


def identity(output: str) -> str:
    """The one name of a result, relative to the batch's folder: parts divided by slashes, without "." and doubles.

    Raises UsageError for what would lie outside: an absolute path, a drive, "..".
    """
    given = PurePosixPath(output.replace("\\", "/") if os.sep == "\\" else output)
    elsewhere = given.is_absolute() or (os.sep == "\\" and PureWindowsPath(output).drive)
    if elsewhere or ".." in given.parts or not given.name:
        raise UsageError(f"output {output!r} doesn't lie in the batch's folder: name a file relative to it, without ..")
    if any(part.startswith(".") for part in given.parts):
        raise UsageError(f"output {output!r} is hidden: leave out the dot before {given.name!r}")
    if "\x00" in output:
        raise UsageError(f"output {output!r} is no file's name: leave out the zero byte")
    if any(len(part.encode(errors="surrogateescape")) > MOST_BYTES + 20 for part in given.parts):
        raise UsageError(f"output {str(given)[:40]!r}... is too long: at most {MOST_BYTES} bytes a name")
    return str(given)


def inside(out: Path, name: str) -> Path:
    """The file `name` of the batch's folder, once no link leads elsewhere. Raises OutputError where one does."""
    place = out / name
    root, folder = Path(os.path.realpath(out)), Path(os.path.realpath(place.parent))
    if folder != root and root not in folder.parents:
        raise OutputError(f"{place} would be written to {folder}, outside {out}: remove the link, or choose another -o")
    if place.is_symlink():
        raise OutputError(f"{place} is a link: remove it, or choose another -o")
    return place


def clashes(names: Iterable[str]) -> dict[int, int]:
    """Which results would be written over each other: the later one's position to the earlier one's. Letters' case
    makes no difference, as on some file systems."""
    taken: dict[str, int] = {}
    found: dict[int, int] = {}
    for position, name in enumerate(names):
        stem = str(PurePosixPath(name).with_suffix("")).casefold()
        own = [stem, *(stem + ending for ending in BESIDE)]
        earlier = [taken[one] for one in own if one in taken]
        if earlier:
            found[position] = earlier[0]
        for one in own:
            taken.setdefault(one, position)
    return found
