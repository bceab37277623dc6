"""Reads frames through a pipe from ffmpeg: what decord can't open (AV1, GIF) and what is damaged."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from vxedit.io.ffmpeg import EXACT_STAMPS, ONLY_VIDEO, FfmpegError, executable, located, packets, run
from vxedit.io.timeline import Timeline, timeline

_EACH_FRAME = ("-fps_mode", "passthrough")
"""Every frame once, whatever its stamp, so that a frame's index is the same in every pass."""


class PipeReader:
    """A file that ffmpeg decodes, a Reader of the frames that can be decoded, however few.

    It is decoded once for the stamps. Then a decoder waits at the far end of a pipe, which gives frames in order: it
    is started again where an earlier one is asked for. Raises FfmpegError or ValueError if there are no frames.
    """

    def __init__(self, path: Path, nominal: Fraction | None) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        self._at = 0  # the stored frame that the pipe gives next
        self.line, (self._width, self._height) = _scan(path, nominal)

    def take(self, picks: np.ndarray) -> np.ndarray:
        wanted = [int(pick) + self.line.skipped for pick in picks]
        if wanted[0] < self._at:
            self.close()
        frames = np.empty((len(wanted), self._height, self._width, 3), np.uint8)
        try:
            filled = self._fill(frames, wanted)
        except BaseException:
            self.close()
            raise
        if filled < len(wanted):
            self.close()
            raise FfmpegError(f"only {filled} of {len(wanted)} frames came through the pipe")
        return frames

    def decode(self, picks: np.ndarray) -> tuple[int, int]:
        for pick in np.unique(picks):
            self.take(pick[None])
        return self._height, self._width

    def close(self) -> None:
        process, self._process, self._at = self._process, None, 0
        if process is not None and process.stdout is not None:
            process.kill()
            process.stdout.close()
            process.wait()

    def _fill(self, frames: np.ndarray, wanted: list[int]) -> int:
        """Read up to the last of the frames `wanted` and keep those; returns how many there were."""
        pipe, size, filled = self._pipe(), self._height * self._width * 3, 0
        while self._at <= wanted[-1]:
            data = pipe.read(size)
            if len(data) < size:
                break
            while filled < len(wanted) and wanted[filled] == self._at:
                frames[filled] = np.frombuffer(data, np.uint8).reshape(self._height, self._width, 3)
                filled += 1
            self._at += 1
        return filled

    def _pipe(self) -> IO[bytes]:
        if self._process is None:
            command = [executable(), "-nostdin", "-v", "quiet", "-i", located(self._path), *ONLY_VIDEO, *_EACH_FRAME]
            raw = ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
            self._process = subprocess.Popen([*command, *raw], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            self._at = 0
        assert self._process.stdout is not None  # asked for a pipe
        return self._process.stdout


def _scan(path: Path, nominal: Fraction | None) -> tuple[Timeline, tuple[int, int]]:
    ran = run(["-i", located(path), *ONLY_VIDEO, *_EACH_FRAME, *EXACT_STAMPS], check=False)
    found = packets(ran.out)
    size = re.search(rb"#dimensions 0: (\d+)x(\d+)", ran.out)
    if not found or size is None:
        raise FfmpegError("no frame can be decoded")
    starts_s = np.array([float(packet.start_s) for packet in found])
    ends_s = np.array([float(packet.start_s + packet.duration_s) for packet in found])
    return timeline(starts_s, ends_s, nominal=nominal), (int(size.group(1)), int(size.group(2)))
