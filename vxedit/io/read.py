"""Reads a video into a Clip."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np

from vxedit.clip import Clip, Source
from vxedit.errors import InputError, UsageError, VxeditError
from vxedit.io.decord_reader import DecordReader
from vxedit.io.pipe_reader import PipeReader
from vxedit.io.probe import probe
from vxedit.io.reader import Reader
from vxedit.io.timeline import Timeline, choose, times_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

_READERS: tuple[tuple[str, Callable[[Path, Fraction | None], Reader]], ...] = (
    ("decord", DecordReader),
    ("ffmpeg", PipeReader),
)


def read_video(path: Path, *, start_s: float = 0.0, num_frames: int | None = None, fps: Fraction | None = None) -> Clip:
    """Decode `path` from `start_s` seconds on, at most `num_frames` frames (None: to the end).

    Frames are chosen by time: the one nearest `start_s` comes first, and with `fps` the ones nearest to every 1/fps
    seconds after it, left out or repeated as needed. `Clip.times_s` are the true times of the frames taken, in
    seconds from the first frame the file shows, or with `fps` the times asked for; `Clip.fps` is `fps` where given,
    else the file's rate, exact where it is constant and the mean where it isn't; `Source.indices` count the frames the
    file shows, from 0. Rotation is applied. decord reads first; where it can't, ffmpeg does, and gives as many frames
    as can be decoded.

    Raises InputError if the file is missing, empty, damaged or not a video, or has nothing at `start_s`; UsageError
    for a start below 0, a count below 1 or a rate not above 0.
    """
    check_selection(start_s, num_frames, fps)
    info = probe(path)

    def take(reader: Reader) -> tuple[Timeline, np.ndarray, np.ndarray]:
        with contextlib.closing(reader):
            picks = choose(reader.line, str(path), start_s=start_s, num_frames=num_frames, fps=fps)
            return reader.line, picks, reader.take(picks)

    name, (line, picks, frames) = first_that_can(path, info.fps, take)
    source = Source(
        path=path,
        sha256=content_hash(path),
        indices=tuple(int(pick) for pick in picks),
        has_audio=info.has_audio,
        reader=name,
    )
    return Clip(frames=frames, times_s=times_of(line, picks, fps), fps=fps or line.fps, source=source)


def check_selection(start_s: float, num_frames: int | None, fps: Fraction | None) -> None:
    """Raises UsageError for a start below 0, a count below 1 or a rate not above 0."""
    if not (math.isfinite(start_s) and start_s >= 0):
        raise UsageError(f"--start is {start_s:g} s; give 0 or more seconds")
    if num_frames is not None and num_frames < 1:
        raise UsageError(f"--num-frames is {num_frames}; give 1 or more")
    if fps is not None and fps <= 0:
        raise UsageError(f"--fps is {fps}; give a rate above 0, such as 24 or 24000/1001")


def first_that_can(path: Path, nominal: Fraction, attempt: Callable[[Reader], T]) -> tuple[str, T]:
    """The first reader, by name, with which `attempt` ends without an error, and what it returned.

    `nominal` is the rate that the container says. Raises InputError where none can; an error of our own passes through.
    """
    for name, opened in _READERS:
        try:
            result = attempt(opened(path, nominal))
        except VxeditError:
            raise
        except MemoryError as err:
            raise InputError(f"{path}: so many frames don't fit into memory; take fewer with --num-frames") from err
        except Exception as err:  # decord raises RuntimeError, DECORDError, AssertionError and others
            logger.info("%s can't read %s: %s", name, path, err)
            failure = err
            continue
        logger.info("read %s with %s", path, name)
        return name, result
    raise InputError(f"{path} can't be decoded: it is damaged or cut short; copy it again or convert it") from failure


def content_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
