"""Reads frames with decord."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.io.quiet import caught_stderr
from vxedit.io.timeline import Timeline, timeline

logger = logging.getLogger(__name__)

_NO_FRAME = 1e-9
"""The share of frames that may be made up; 0 itself isn't taken."""

Choose = Callable[[Timeline], np.ndarray]
"""Picks frames of a Timeline by their index."""


def read_with_decord(
    path: Path, choose: Choose, *, nominal: Fraction | None
) -> tuple[Timeline, np.ndarray, np.ndarray]:
    """The file's Timeline, the picks (F,) of `choose`, and those frames, uint8 (F, H, W, 3) RGB, after rotation.

    Only what is picked is decoded into memory. Raises whatever decord raises, and ValueError for what it would get
    wrong: a file whose edit list hides frames, and a batch other than was asked for.
    """
    with caught_stderr() as caught:
        try:
            from decord import VideoReader, cpu

            # A frame that it can't decode is otherwise replaced by a neighbour, without an error.
            reader = VideoReader(str(path.absolute()), ctx=cpu(0), num_threads=1, fault_tol=_NO_FRAME)
            line = _timeline(reader, nominal)
            picks = choose(line)
            frames = _array(reader.get_batch([int(pick) for pick in picks]))
        finally:
            if said := caught.text():
                logger.debug("decord said about %s: %s", path, said)
    if frames.dtype != np.uint8 or frames.ndim != 4 or len(frames) != len(picks) or frames.shape[3] != 3:
        raise ValueError(f"decord gave {frames.dtype} {frames.shape} for {len(picks)} frames")
    return line, picks, frames


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
