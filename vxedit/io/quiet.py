"""Keeps what native code prints away from the user's terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

_ONE_AT_A_TIME = threading.RLock()
"""There is one descriptor for all threads: two that redirect it at once would put back each other's."""


class Caught:
    """What was written to file descriptor 2; `text()` may be read while it is caught and for as long as the file
    lives."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file

    def text(self) -> str:
        """All that has been caught so far, as text."""
        if self._file is None:
            return ""
        self._file.seek(0)
        return self._file.read().decode("utf-8", errors="replace").strip()


@contextlib.contextmanager
def caught_stderr() -> Iterator[Caught]:
    """Redirect file descriptor 2 into a temporary file until the block ends, then put it back.

    Replacing `sys.stderr` is not enough: decord's C++ and a child process write to the descriptor itself. A child that
    is started inside the block keeps writing to the file after it, so that its last words can still be read. Other
    threads that ask for the same wait until the block ends.
    """
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(2)
        except OSError:  # no standard error at all, as in a service: nothing to redirect
            yield Caught(None)
            return
        file = tempfile.TemporaryFile()  # noqa: SIM115  outlives the block on purpose, closed with its last reader
        try:
            _flush()
            os.dup2(file.fileno(), 2)
            yield Caught(file)
        finally:
            _flush()
            os.dup2(kept, 2)
            os.close(kept)


def _flush() -> None:
    # What Python had buffered belongs to the side that it was written on.
    with contextlib.suppress(Exception):
        sys.stderr.flush()
