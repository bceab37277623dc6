"""batch.jsonl: a line for every change of a job's state, in the order in which they happened."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, cast, get_args

from vxedit.batch.claim import locked
from vxedit.batch.content import Content
from vxedit.errors import OutputError

NAME = "batch.jsonl"

State = Literal["started", "done", "failed", "dropped"]


@dataclass(frozen=True)
class Entry:
    """One change of one job's state. `at` is where its line begins, in bytes.

    Of a job that is done: `key` and `settings` as in `task`, `inputs` what it read, `files` the sizes of what it wrote
    by name, `figures`, `warnings`. Of one that failed: `error`, in one line, and its `kind`.
    """

    job: str
    state: State
    time: str = ""
    worker: str = ""
    attempt: int = 1
    seconds: float = 0.0
    key: str = ""
    settings: str = ""
    inputs: Mapping[str, Content] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str = ""
    kind: str = ""
    at: int = 0


class Log:
    """The log of the batch in `out`, written by many processes at once. `last`: every job's latest entry."""

    def __init__(self, out: Path) -> None:
        self.path = out / NAME
        self.last: dict[str, Entry] = {}
        self.end = 0
        self.damaged = 0

    def refresh(self) -> None:
        """Take in what was added since, by anybody. A line that can't be read is counted, and says nothing. Raises
        OutputError where the log can't be read."""
        try:
            with _opened(self.path, os.O_RDONLY) as file:
                file.seek(self.end)
                fresh = file.read()
        except FileNotFoundError:
            return
        except OSError as err:
            raise OutputError(f"{self.path} can't be read: {err.strerror}; choose another -o") from err
        whole = fresh[: fresh.rfind(b"\n") + 1]  # the last line may still be being written
        at = self.end
        for line in whole.split(b"\n")[:-1]:
            entry = parse(line, at)
            if entry is not None:
                self.last[entry.job] = entry
            elif line.strip():
                self.damaged += 1
            at += len(line) + 1
        self.end = at

    def append(self, entry: Entry) -> None:
        """Add a line, whole or not at all, and onto the disk. Raises OutputError where it can't be."""
        line = json.dumps(_plain(entry), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            with _opened(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND) as file:
                locked(file.fileno(), wait=True)
                _add(file.fileno(), line)
        except OSError as err:
            raise OutputError(
                f"{self.path} can't be written: {err.strerror}; free some space or choose another -o, and run the same "
                "command again"
            ) from err


def now() -> str:
    """The time, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(line: bytes, at: int = 0) -> Entry | None:
    """A log's line; None where it isn't one."""
    try:
        found = json.loads(line)
        if found["state"] not in get_args(State):
            return None
        return Entry(
            job=_is(str, found["job"]),
            state=cast(State, found["state"]),
            time=_is(str, found.get("time", "")),
            worker=_is(str, found.get("worker", "")),
            attempt=_is(int, found.get("attempt", 1)),
            seconds=float(_is((int, float), found.get("seconds", 0.0))),
            key=_is(str, found.get("key", "")),
            settings=_is(str, found.get("settings", "")),
            inputs={name: _content(one) for name, one in _is(dict, found.get("inputs", {})).items()},
            files={name: _is(int, size) for name, size in _is(dict, found.get("files", {})).items()},
            figures={name: float(_is((int, float), one)) for name, one in _is(dict, found.get("figures", {})).items()},
            warnings=tuple(_is(str, one) for one in _is(list, found.get("warnings", []))),
            error=_is(str, found.get("error", "")),
            kind=_is(str, found.get("kind", "")),
            at=at,
        )
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def _plain(entry: Entry) -> dict[str, Any]:
    said: dict[str, Any] = {"time": now(), "job": entry.job, "state": entry.state}
    for name in ("worker", "attempt", "seconds", "key", "settings", "error", "kind"):
        if getattr(entry, name):
            said[name] = getattr(entry, name)
    if entry.inputs:
        said["inputs"] = {name: [one.size, one.mtime_ns, one.sha256] for name, one in entry.inputs.items()}
    for name in ("files", "figures"):
        if getattr(entry, name):
            said[name] = dict(getattr(entry, name))
    return said | ({"warnings": list(entry.warnings)} if entry.warnings else {})


def _content(found: Any) -> Content:
    size, mtime_ns, digest = _is(list, found)
    return Content(_is(int, size), _is(int, mtime_ns), _is(str, digest))


def _is(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"not {kind}")
    return value


def _opened(path: Path, flags: int) -> Any:
    mode = "rb" if flags == os.O_RDONLY else "r+b"
    handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)
    return os.fdopen(handle, mode, buffering=0)


def _add(handle: int, line: bytes) -> None:
    end = os.lseek(handle, 0, os.SEEK_END)
    if end:
        os.lseek(handle, end - 1, os.SEEK_SET)
        if os.read(handle, 1) != b"\n":  # a process was killed while it wrote
            line = b"\n" + line
    try:
        if os.write(handle, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, end)
        raise
