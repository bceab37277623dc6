"""How much memory this process holds, for the tests that say it stays flat."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells by /proc")


def held_mib() -> float:
    """What of the process is in memory now, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


class Peak:
    """The most that was held at any `look`, over what was held when it was made."""

    def __init__(self) -> None:
        self._before = held_mib()
        self.mib = 0.0

    def look(self) -> None:
        self.mib = max(self.mib, held_mib() - self._before)

    def looking(self, things: Iterator) -> Iterator:
        for thing in things:
            self.look()
            yield thing
