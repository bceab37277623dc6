"""Progress bars on stderr, one a stage."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vxedit.job import Progress

if TYPE_CHECKING:
    from tqdm import tqdm


class Bars:
    """Draws the bar of the stage that is under way. A finished stage's bar stays on the screen above the next; one that
    is to be gone on with, as when a clip is edited window by window, stays open below it."""

    def __init__(self, *, quiet: bool) -> None:
        # None: tqdm looks for itself whether the stream is a terminal.
        self.disable = True if quiet else None
        self.stage: str | None = None
        self.bar: tqdm | None = None
        self.open: dict[str, tqdm] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.bar is None or stage != self.stage:
            self._finish()
            self.bar, self.stage = self.open.get(stage) or self._open(stage, total), stage
            self.open[stage] = self.bar
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def _finish(self) -> None:
        """Close what is done."""
        for stage in [stage for stage, bar in self.open.items() if bar.n >= bar.total]:
            self.open.pop(stage).close()

    def _open(self, stage: str, total: int) -> tqdm:
        from tqdm import tqdm

        return tqdm(total=total, desc=f"{stage:<7}", file=sys.stderr, disable=self.disable, leave=True)

    def close(self) -> None:
        for bar in self.open.values():
            bar.close()
        self.open.clear()
        self.bar = None


@contextmanager
def bars(*, quiet: bool) -> Iterator[Progress]:
    """A callback (stage, steps done, steps in all) that draws a bar a stage: invert, edit, decode. Bars are drawn on a
    terminal alone, never when `quiet`, and the last is closed whatever happens."""
    drawn = Bars(quiet=quiet)
    try:
        yield drawn
    finally:
        drawn.close()
