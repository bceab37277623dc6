"""Reads a video into a Clip."""

from __future__ import annotations

import hashlib
import logging
import math
from fractions import Fraction
from pathlib import Path

import numpy as np

from vxedit.clip import Clip, Source
from vxedit.errors import InputError, UsageError, VxeditError
from vxedit.io.decord_reader import Choose, read_with_decord
from vxedit.io.pipe_reader import read_with_ffmpeg
from vxedit.io.probe import probe
from vxedit.io.timeline import Timeline, choose

logger = logging.getLogger(__name__)

_READERS = (("decord", read_with_decord), ("ffmpeg", read_with_ffmpeg))


def read_video(path: Path, *, start_s: float = 0.0, num_frames: int | None = None, fps: Fraction | None = None) -> Clip:
    """Decode `path` from `start_s` seconds on, at most `num_frames` frames (None: to the end).

    Frames are chosen by time: the one nearest `start_s` comes first, and with `fps` the ones nearest to every 1/fps
    seconds after it, left out or repeated as needed. `Clip.times_s` are the true times of the frames taken, in
    seconds from the first frame the file shows; `Clip.fps` is `fps` where given, else the file's rate, exact where it
    is constant and the mean where it isn't; `Source.indices` count the frames the file shows, from 0. Rotation is
    applied. decord reads first; where it can't, ffmpeg does, and gives as many frames as can be decoded.

    Raises InputError if the file is missing, empty, damaged or not a video, or has nothing at `start_s`; UsageError
    for a start below 0, a count below 1 or a rate not above 0.
    """
    _check(start_s, num_frames, fps)
    info = probe(path)

    def take(line: Timeline) -> np.ndarray:
        return choose(line, str(path), start_s=start_s, num_frames=num_frames, fps=fps)

    reader, line, picks, frames = _read(path, take, info.fps)
    source = Source(
        path=path,
        sha256=_sha256(path),
        indices=tuple(int(pick) for pick in picks),
        has_audio=info.has_audio,
        reader=reader,
    )
    return Clip(frames=frames, times_s=line.times_s[picks], fps=fps or line.fps, source=source)


def _check(start_s: float, num_frames: int | None, fps: Fraction | None) -> None:
    if not (math.isfinite(start_s) and start_s >= 0):
        raise UsageError(f"--start is {start_s:g} s; give 0 or more seconds")
    if num_frames is not None and num_frames < 1:
        raise UsageError(f"--num-frames is {num_frames}; give 1 or more")
    if fps is not None and fps <= 0:
        raise UsageError(f"--fps is {fps}; give a rate above 0, such as 24 or 24000/1001")


def _read(path: Path, take: Choose, nominal: Fraction) -> tuple[str, Timeline, np.ndarray, np.ndarray]:
    for name, read in _READERS:
        try:
            line, picks, frames = read(path, take, nominal=nominal)
        except VxeditError:
            raise
        except MemoryError as err:
            raise InputError(f"{path}: so many frames don't fit into memory; take fewer with --num-frames") from err
        except Exception as err:  # decord raises RuntimeError, DECORDError, AssertionError and others
            logger.info("%s can't read %s: %s", name, path, err)
            failure = err
            continue
        logger.info("read %d frames of %s with %s", len(frames), path, name)
        return name, line, picks, frames
    raise InputError(f"{path} can't be decoded: it is damaged or cut short; copy it again or convert it") from failure


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
