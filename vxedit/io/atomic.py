"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from vxedit.errors import OutputError


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a file can't be made at `path`: it exists and `overwrite` is False, it is a folder, or its
    folder is missing or can't be written to. Leaves nothing behind, so that it can be asked before the work begins."""
    _refuse(path, overwrite=overwrite)
    part = _reserve(path)
    part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new file beside `path` (same suffix); when the block ends well, flush it to the disk and rename it to
    `path`.

    After an error, KeyboardInterrupt included, the new file is removed and `path` is as it was. Raises OutputError as
    `check_output` does, and for a full disk.
    """
    _refuse(path, overwrite=overwrite)
    part = _reserve(path)
    try:
        yield part
        _publish(part, path, overwrite=overwrite)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_together(paths: Sequence[Path], *, overwrite: bool = False) -> Iterator[tuple[Path, ...]]:
    """Yield a place for each of `paths`, of the same name in a hidden folder beside the last; when the block ends well,
    move all to where they belong, in the order given.

    After an error, KeyboardInterrupt included, every one of `paths` is as it was. Raises OutputError as `replacing`.
    """
    for path in paths:
        check_output(path, overwrite=overwrite)
    last = _target(paths[-1])
    try:
        hidden = tempfile.TemporaryDirectory(prefix=f".{last.stem[:40]}.", suffix=".part", dir=last.parent)
    except OSError as err:
        raise _failed(paths[-1], err) from err
    with hidden as folder:
        places = tuple(Path(folder) / path.name for path in paths)
        try:
            yield places
        except OutputError as err:  # in the user's words: the hidden folder is none of his
            raise OutputError(str(err).replace(folder, str(paths[-1].parent))) from err
        with contextlib.ExitStack() as published:  # which ends with the one begun last
            for path, place in reversed(list(zip(paths, places, strict=True))):
                shutil.move(place, published.enter_context(replacing(path, overwrite=overwrite)))


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path` atomically. Raises OutputError as `replacing` does."""
    with replacing(path, overwrite=overwrite) as part:
        try:
            part.write_bytes(data)
        except OSError as err:
            raise _failed(path, err) from err


def _publish(part: Path, path: Path, *, overwrite: bool) -> None:
    _refuse(path, overwrite=overwrite)  # again: another process may have been quicker
    try:
        _sync(part)
        os.replace(part, _target(path))
        _sync_folder(path)
    except OSError as err:
        raise _failed(path, err) from err


def _failed(path: Path, err: OSError) -> OutputError:
    return OutputError(f"{path} can't be written: {err.strerror or err}; free some space or choose another -o")


def _refuse(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists; choose another -o, or replace it with --overwrite")


def _reserve(path: Path) -> Path:
    """Make an empty file beside `path`, with the permissions that any new file would get."""
    folder = _target(path).parent
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} doesn't exist; make it first, or choose another -o")
    part = folder / f".{path.stem[:40]}.{secrets.token_hex(6)}.part{path.suffix}"
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as err:
        raise OutputError(
            f"{path}: the folder {folder} can't be written to ({err.strerror}); choose another -o"
        ) from err
    return part


def _target(path: Path) -> Path:
    # A link is followed, as writing to it plainly would.
    return Path(os.path.realpath(path))


def _sync(part: Path) -> None:
    handle = os.open(part, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    # The rename itself is safe only when the folder is on the disk; some systems can't open one.
    with contextlib.suppress(OSError):
        handle = os.open(_target(path).parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
