"""One job, one worker: a claim that ends with its process, however that ends."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vxedit.errors import OutputError

HIDDEN = ".vxedit-batch"
"""The folder in a batch's own where claims and unfinished work lie; gone when nothing is under way."""

TRIES = 100


def workplace(out: Path, name: str) -> Path:
    """The folder in which the job `name` puts its files until they are whole."""
    return out / HIDDEN / hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]


@contextmanager
def claim(out: Path, name: str) -> Iterator[Path | None]:
    """The job's workplace, empty, for as long as the block lasts; None while another process has it.

    The system itself releases what a killed process held, and what that left in the workplace is removed here. Raises
    OutputError where the folder can't be written to.
    """
    place = workplace(out, name)
    try:
        handle = _take(place.with_suffix(".lock"), out)
    except OSError as err:
        raise OutputError(
            f"{out} can't be written to: {err.strerror or err}; free some space or choose another -o"
        ) from err
    if handle is None:
        yield None
        return
    try:
        shutil.rmtree(place, ignore_errors=True)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):
            place.with_suffix(".lock").unlink()
        os.close(handle)
        with suppress(OSError):
            (out / HIDDEN).rmdir()


def sweep(out: Path) -> None:
    """Remove what killed processes left of jobs that nobody has now, and the hidden folder where nothing is in it."""
    hidden = out / HIDDEN
    if hidden.is_symlink() or not hidden.is_dir():
        return
    for lock in sorted(hidden.glob("*.lock")):
        with suppress(OSError):
            handle = _take(lock, out)
            if handle is not None:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                os.close(handle)
    with suppress(OSError):
        hidden.rmdir()


def _take(lock: Path, out: Path) -> int | None:
    """The lock's handle, or None where another has it."""
    if not out.is_dir():
        raise FileNotFoundError(2, "the folder doesn't exist", str(out))
    for _ in range(TRIES):
        if lock.parent.is_symlink():
            raise OSError(20, f"{lock.parent.name} in it is a link", str(lock.parent))
        lock.parent.mkdir(exist_ok=True)
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except FileNotFoundError:  # another process removed the empty folder in between
            continue
        if not locked(handle):
            os.close(handle)
            return None
        # It may have been removed by the one that had it, and made anew by a third, between opening and locking.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle
        os.close(handle)
    raise OSError(11, "its lock is made and removed again and again", str(lock))


def locked(handle: int, *, wait: bool = False) -> bool:
    """Lock an open file for this process until it is closed. Whether it was free; with `wait`, once it is."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
