"""What is to be seen of an edit: pictures and clips of the source, the paths, the result and the attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vxedit.io.crop import Placement
from vxedit.io.pictures import COLUMNS, draw_boxes, heat, sheet, side_by_side, spread
from vxedit.reel import Reel
from vxedit.story import Story

PIECE = 16
"""Frames that are held at a time of clips that lie in files."""


@dataclass(frozen=True)
class Views:
    """A clip and its edit, to be shown: `before` and `after`, all frames; `story`, whose attention is of the `view` cut
    out of the frames, where that isn't all of them."""

    before: Reel
    after: Reel
    story: Story
    view: Placement | None = None

    def close(self) -> None:
        """Let go of the files that the clips lie in."""
        self.before.close()
        self.after.close()

    def paths(self, frames: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Every object's boxes and trail on copies of the frames, which are those `at` in the clip."""
        for boxes in self.story.targets:
            frames = draw_boxes(frames, boxes, trail=True, at=at)
        return frames

    def looked_at(self, frames: np.ndarray, maps: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Attention maps (F, h, w) over what of the frames the model saw."""
        return heat(frames if self.view is None else self.view.cut(frames), maps, at=at)

    def picture(self, names: Sequence[str]) -> np.ndarray:
        """before / path / after / attention on the word of each object, by name: a row a time."""
        at = spread(len(self.before))
        before, after = self.before.sample(COLUMNS), self.after.sample(COLUMNS)
        rows = [("before", before), ("path", self.paths(before, at)), ("after", after)]
        labels = [f"look at {name}"[:24] if len(names) > 1 else "attention" for name in names]
        maps = zip(labels, self.story.attention_after, strict=True)
        return sheet([*rows, *((label, self.looked_at(after, seen, at)) for label, seen in maps)])

    def abreast(self) -> Iterator[np.ndarray]:
        """before | path | after, frame by frame."""
        for at, before, after in self._pieces():
            yield from side_by_side([before, self.paths(before, at), after])

    def attention(self) -> Iterator[np.ndarray]:
        """What each word looked at before | after, object by object, frame by frame."""
        for at, before, after in self._pieces():
            pairs = zip(self.story.attention_before, self.story.attention_after, strict=True)
            shown = [(before, then, after, now) for then, now in pairs]
            yield from side_by_side([self.looked_at(*one, at) for first in shown for one in (first[:2], first[2:])])

    def _pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        first = 0
        for before, after in zip(self.before.pieces(PIECE), self.after.pieces(PIECE), strict=True):
            yield np.arange(first, first + len(before)), before, after
            first += len(before)
