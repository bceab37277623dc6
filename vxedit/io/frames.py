"""A clip that is read piece by piece: as long as the file likes, never more of it in memory than is asked for."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vxedit.clip import Clip, Source
from vxedit.errors import InputError, VxeditError
from vxedit.io.probe import probe
from vxedit.io.read import check_selection, content_hash, first_that_can
from vxedit.io.reader import Reader
from vxedit.io.timeline import choose, times_of


class _Tried(NamedTuple):
    reader: Reader
    picks: np.ndarray
    height: int
    width: int


class OpenClip:
    """The frames that `read_video` would give, without holding them.

    `times_s` (F,), `fps` and `source` are the whole selection's; `width` and `height` in pixels, after rotation. Close
    it, or open it in a `with`.
    """

    def __init__(self, tried: _Tried, times_s: np.ndarray, fps: Fraction, source: Source) -> None:
        self.times_s = times_s
        self.fps = fps
        self.source = source
        self.height = tried.height
        self.width = tried.width
        self._reader = tried.reader
        self._picks = tried.picks
        self._kept_picks = tried.picks[:0]
        self._kept = np.empty((0, tried.height, tried.width, 3), np.uint8)

    def __len__(self) -> int:
        return len(self._picks)

    def read(self, begin: int, end: int) -> Clip:
        """Frames [begin, end) of the selection as a Clip, with their times in the whole; pieces may be read in any
        order, and may overlap. Held in memory: this piece, and a copy of it for what the next one shares with it.

        Raises ValueError unless 0 <= begin < end <= len; InputError if the file can't be read any more.
        """
        if not 0 <= begin < end <= len(self):
            raise ValueError(f"frames {begin} to {end} aren't in a clip of {len(self)}: give 0 <= begin < end")
        frames = self._frames(self._picks[begin:end])
        source = replace(self.source, indices=self.source.indices[begin:end])
        return Clip(frames, self.times_s[begin:end], self.fps, source)

    def pieces(self, length: int) -> Iterator[Clip]:
        """The whole selection in order, `length` frames at a time, the last piece with what is left."""
        for begin in range(0, len(self), length):
            yield self.read(begin, min(begin + length, len(self)))

    def sample(self, count: int = 8) -> np.ndarray:
        """At most `count` frames, evenly spread from the first to the last, uint8 (n, H, W, 3)."""
        spread = np.unique(np.linspace(0, len(self) - 1, count).round().astype(int))
        return self._frames(self._picks[spread])

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
        self._kept_picks, self._kept = self._kept_picks[:0], self._kept[:0].copy()

    def __enter__(self) -> OpenClip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    def _frames(self, picks: np.ndarray) -> np.ndarray:
        known = np.isin(picks, self._kept_picks)
        if not known.any():
            self._forget()  # before the new piece is made, so that there are never three
            frames = self._take(picks)
        else:
            frames = np.empty((len(picks), self.height, self.width, 3), np.uint8)
            frames[known] = self._kept[np.searchsorted(self._kept_picks, picks[known])]
            self._forget()
            if not known.all():
                frames[~known] = self._take(picks[~known])
        # a copy, since the caller may draw on his; one is enough of a frame that is repeated
        self._kept_picks, first = np.unique(picks, return_index=True)
        self._kept = frames[first]
        return frames

    def _forget(self) -> None:
        self._kept_picks, self._kept = self._kept_picks[:0], self._kept[:0].copy()

    def _take(self, picks: np.ndarray) -> np.ndarray:
        try:
            return self._reader.take(picks)
        except VxeditError:
            raise
        except MemoryError as err:
            raise InputError(f"{self.source.path}: {len(picks)} frames don't fit into memory; read fewer") from err
        except Exception as err:
            raise InputError(f"{self.source.path} can't be read any more; was it changed or moved meanwhile?") from err


def open_video(
    path: Path, *, start_s: float = 0.0, num_frames: int | None = None, fps: Fraction | None = None
) -> OpenClip:
    """Open the same selection of frames that `read_video` would read, with the same errors, without holding it.

    All of it is decoded once, a few frames at a time, so that a file that can't be decoded to the end is known now, and
    the reader chosen that can.
    """
    check_selection(start_s, num_frames, fps)
    info = probe(path)

    def tried(reader: Reader) -> _Tried:
        try:
            picks = choose(reader.line, str(path), start_s=start_s, num_frames=num_frames, fps=fps)
            height, width = reader.decode(picks)
        except BaseException:
            reader.close()
            raise
        return _Tried(reader, picks, height, width)

    name, found = first_that_can(path, info.fps, tried)
    line, picks = found.reader.line, found.picks
    source = Source(path, content_hash(path), tuple(int(pick) for pick in picks), info.has_audio, name)
    return OpenClip(found, times_of(line, picks, fps), fps or line.fps, source)
