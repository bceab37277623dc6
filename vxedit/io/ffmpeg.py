"""Runs the ffmpeg that imageio-ffmpeg carries."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

ONLY_VIDEO = ("-an", "-sn", "-dn")
"""Without a map, ffmpeg takes the best video track, the same one for every call."""

EXACT_STAMPS = ("-enc_time_base", "demux", "-f", "framecrc", "-")
"""A table of frames, for `packets`, in the file's own unit: the default is one of 1/rate, which rounds other stamps."""


class FfmpegError(RuntimeError):
    """ffmpeg ended with an error; the message is the last line it printed. Never shown to the user alone."""


class Ran(NamedTuple):
    """What a call printed: `out` bytes of its standard output, `log` the text of its standard error."""

    out: bytes
    log: str


class Packet(NamedTuple):
    """One frame's stamp and length in seconds, exact."""

    start_s: Fraction
    duration_s: Fraction


def executable() -> str:
    """Path of the ffmpeg program."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def located(path: Path) -> str:
    """`path` as ffmpeg must be given it: absolute, since `a:b.mp4` would name a protocol and `-x.mp4` a flag."""
    return str(path.absolute())


def run(arguments: Sequence[str], *, stdin: bytes | memoryview | None = None, check: bool = True) -> Ran:
    """Call ffmpeg and wait. `stdin` is fed to it. Raises FfmpegError if it fails, unless `check` is False."""
    command = [executable(), "-hide_banner", "-y", *arguments]
    if stdin is None:
        # Without this, ffmpeg would read the terminal's keys.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    else:
        done = subprocess.run(command, input=stdin, capture_output=True)
    log = done.stderr.decode("utf-8", errors="replace")
    if check and done.returncode != 0:
        raise FfmpegError(last_line(log))
    return Ran(done.stdout, log)


def last_line(log: str) -> str:
    """The last line of ffmpeg's log that says something."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "ffmpeg stopped without a word"


def packets(table: bytes) -> list[Packet]:
    """Stamps of every frame in the output of ffmpeg's `framecrc` format, in the order written."""
    unit = Fraction(1)
    found = []
    for line in table.decode("ascii", errors="replace").splitlines():
        if line.startswith("#tb 0:"):
            unit = Fraction(line.split(":", 1)[1].strip())
        elif line.startswith("0,"):
            _, _, pts, duration, *_ = (part.strip() for part in line.split(","))
            found.append(Packet(int(pts) * unit, int(duration) * unit))
    return found


def count_frames(path: Path) -> int:
    """How many video frames a file holds, counted without decoding them. 0 if it can't be read."""
    arguments = ["-i", located(path), *ONLY_VIDEO, "-c", "copy", "-f", "framecrc", "-"]
    return len(packets(run(arguments, check=False).out))
