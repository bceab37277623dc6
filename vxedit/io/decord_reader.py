"""Reads frames with decord."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.io.quiet import caught_stderr
from vxedit.io.seeking import seeks_exactly
from vxedit.io.timeline import Timeline, timeline

logger = logging.getLogger(__name__)

_NO_FRAME = 1e-9
"""The share of frames that may be made up; 0 itself isn't taken."""
_BLOCK = 4
"""How many frames decord is asked for at a time: it holds a copy of its own."""


class DecordReader:
    """A file opened with decord, a Reader.

    Raises whatever decord raises, and ValueError for what it would get wrong: a file whose edit list hides frames, one
    whose key frames can't be gone to by their number, and a batch other than was asked for.
    """

    def __init__(self, path: Path, nominal: Fraction | None) -> None:
        self._path = path
        self._reader: Any = None
        with self._opened() as reader:
            self.line = _timeline(reader, nominal)
        if not seeks_exactly(path):
            raise ValueError("frames are stored after a key frame that are shown before it")

    def take(self, picks: np.ndarray) -> np.ndarray:
        taken: np.ndarray | None = None
        for block, frames in self._blocks(picks):
            if taken is None:
                taken = np.empty((len(picks), *frames.shape[1:]), np.uint8)
            here = slice(np.searchsorted(picks, block[0]), np.searchsorted(picks, block[-1], side="right"))
            taken[here] = frames[np.searchsorted(block, picks[here])]
        if taken is None:
            raise ValueError("no frames were asked for")
        return taken

    def decode(self, picks: np.ndarray) -> tuple[int, int]:
        height, width = 0, 0
        for _, frames in self._blocks(picks):
            height, width = frames.shape[1:3]
        return height, width

    def close(self) -> None:
        self._reader = None

    def _blocks(self, picks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each of the picks once, a block at a time: indices (n,) and frames uint8 (n, H, W, 3)."""
        each = np.unique(picks)
        with self._opened() as reader:
            for begin in range(0, len(each), _BLOCK):
                block = each[begin : begin + _BLOCK]
                frames = _array(reader.get_batch(block.tolist()))
                if frames.dtype != np.uint8 or frames.ndim != 4 or len(frames) != len(block) or frames.shape[3] != 3:
                    raise ValueError(f"decord gave {frames.dtype} {frames.shape} for {len(block)} frames")
                yield block, frames
            # Its thread decodes on, as far as it likes, while nobody takes the frames; this empties its queue.
            reader.seek(0)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """The reader, with what its native code prints kept from the terminal; after an error it is opened anew."""
        with caught_stderr() as caught:
            try:
                if self._reader is None:
                    from decord import VideoReader, cpu

                    # A frame that it can't decode is otherwise replaced by a neighbour, without an error.
                    self._reader = VideoReader(
                        str(self._path.absolute()), ctx=cpu(0), num_threads=1, fault_tol=_NO_FRAME
                    )
                yield self._reader
            except BaseException:
                self._reader = None
                raise
            finally:
                if said := caught.text():
                    logger.debug("decord said about %s: %s", self._path, said)


def _timeline(reader: Any, nominal: Fraction | None) -> Timeline:
    stamps = np.asarray(reader.get_frame_timestamp(range(len(reader))), np.float64)  # (N, 2) start, end
    line = timeline(stamps[:, 0], stamps[:, 1], nominal=nominal)
    if line.skipped:
        # decord lists frames that an edit list hides but doesn't always decode them: every later frame then stands
        # under another one's index, and the last one is repeated to fill up.
        raise ValueError(f"an edit list hides the first {line.skipped} frames")
    return line


def _array(batch: Any) -> np.ndarray:
    # decord.bridge is one setting a thread, which other libraries change: the batch may be a tensor of any of them.
    if hasattr(batch, "asnumpy"):
        return np.asarray(batch.asnumpy())
    return np.asarray(batch).copy()  # so that the frames don't live in memory that decord may take back
