"""Whether the middle of a file can be gone to without decoding what is before it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vxedit.io.ffmpeg import ONLY_VIDEO, located, run

_KEY = 1
"""ffmpeg's flag of a key frame's packet; its table leaves the flags out where they are this one alone."""
_NO_STAMP = -(2**63)


def seeks_exactly(path: Path) -> bool:
    """Whether every key frame of `path` comes, where it is stored, after all frames shown before it and before all
    shown after it. The packets are read, nothing is decoded.

    decord counts key frames as they are stored and all others as they are shown. In an open group of pictures (x265's
    default, MPEG-2, MPEG-4 with B-frames) some frames are stored after a key frame and shown before it: going to one
    then gives frames under other frames' numbers, without an error.
    """
    table = run(["-i", located(path), *ONLY_VIDEO, "-c", "copy", "-f", "framecrc", "-"], check=False).out
    shown, key = _packets(table.decode("ascii", errors="replace"))
    return closed_groups(shown, key)


def closed_groups(shown: np.ndarray, key: np.ndarray) -> bool:
    """Of packets in stored order: `shown` (N,) int64 the stamps of their frames, `key` (N,) bool which are key frames.

    True where each key frame is shown after all that are stored before it and before all that are stored after it.
    False where stamps are missing, or there are no packets.
    """
    if len(shown) == 0 or np.any(shown == _NO_STAMP):
        return False
    latest_before = np.concatenate([[_NO_STAMP], np.maximum.accumulate(shown)[:-1]])
    earliest_from = np.minimum.accumulate(shown[::-1])[::-1]
    return bool(np.all((latest_before < shown)[key]) and np.all((earliest_from == shown)[key]))


def _packets(table: str) -> tuple[np.ndarray, np.ndarray]:
    """Stamps and key flags in ffmpeg's `framecrc` format, a row a packet: stream, dts, pts, length, bytes, sum, F."""
    rows = [line.split(",") for line in table.splitlines() if line.startswith("0,")]
    flags = [re.search(r"F=0x([0-9A-Fa-f]+)", ",".join(row[6:])) for row in rows]
    key = [flag is None or bool(int(flag.group(1), 16) & _KEY) for flag in flags]
    return np.array([int(row[2]) for row in rows], np.int64), np.array(key, bool)
