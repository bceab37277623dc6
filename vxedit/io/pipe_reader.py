"""Reads frames through a pipe from ffmpeg: what decord can't open (AV1, GIF) and what is damaged."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from vxedit.io.decord_reader import Choose
from vxedit.io.ffmpeg import EXACT_STAMPS, ONLY_VIDEO, FfmpegError, executable, located, packets, run
from vxedit.io.timeline import Timeline, timeline

_EACH_FRAME = ("-fps_mode", "passthrough")
"""Every frame once, whatever its stamp, so that a frame's index is the same in both passes."""


def read_with_ffmpeg(
    path: Path, choose: Choose, *, nominal: Fraction | None
) -> tuple[Timeline, np.ndarray, np.ndarray]:
    """As `read_with_decord`, of the frames that can be decoded, however few.

    The clip is decoded twice: once for the stamps, once for the frames, of which only the picked ones are kept in
    memory. Raises FfmpegError or ValueError if there are none.
    """
    line, (width, height) = _scan(path, nominal)
    picks = choose(line)
    wanted = [int(pick) + line.skipped for pick in picks]
    frames = np.empty((len(wanted), height, width, 3), np.uint8)
    filled = 0
    with _decoder(path) as pipe:
        for index in range(wanted[-1] + 1):
            data = pipe.read(height * width * 3)
            if len(data) < height * width * 3:
                break
            while filled < len(wanted) and wanted[filled] == index:
                frames[filled] = np.frombuffer(data, np.uint8).reshape(height, width, 3)
                filled += 1
    if filled < len(wanted):
        raise FfmpegError(f"only {filled} of {len(wanted)} frames came through the pipe")
    return line, picks, frames


def _scan(path: Path, nominal: Fraction | None) -> tuple[Timeline, tuple[int, int]]:
    ran = run(["-i", located(path), *ONLY_VIDEO, *_EACH_FRAME, *EXACT_STAMPS], check=False)
    found = packets(ran.out)
    size = re.search(rb"#dimensions 0: (\d+)x(\d+)", ran.out)
    if not found or size is None:
        raise FfmpegError("no frame can be decoded")
    starts_s = np.array([float(packet.start_s) for packet in found])
    ends_s = np.array([float(packet.start_s + packet.duration_s) for packet in found])
    return timeline(starts_s, ends_s, nominal=nominal), (int(size.group(1)), int(size.group(2)))


@contextlib.contextmanager
def _decoder(path: Path) -> Iterator[IO[bytes]]:
    command = [executable(), "-nostdin", "-v", "quiet", "-i", located(path), *ONLY_VIDEO, *_EACH_FRAME]
    raw = ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    process = subprocess.Popen([*command, *raw], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None  # asked for a pipe
    try:
        yield process.stdout
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
