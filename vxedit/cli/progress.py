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
    """Draws the bar of the stage that is under way; a finished stage's bar stays on the screen above the next."""

    def __init__(self, *, quiet: bool) -> None:
        # None: tqdm looks for itself whether the stream is a terminal.
        self.disable = True if quiet else None
        self.stage: str | None = None
        self.bar: tqdm | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.bar is None or stage != self.stage:
            self.close()
            self.bar, self.stage = self._open(stage, total), stage
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def _open(self, stage: str, total: int) -> tqdm:
        from tqdm import tqdm

        return tqdm(total=total, desc=f"{stage:<7}", file=sys.stderr, disable=self.disable, leave=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
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
