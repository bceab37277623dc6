"""Whether a file's key frames can be gone to: by tables written by hand, and by files of both kinds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.io.clips import make, numbers
from vxedit.io.pipe_reader import PipeReader
from vxedit.io.read import read_video
from vxedit.io.seeking import closed_groups, seeks_exactly


@pytest.mark.parametrize(
    ("shown", "key", "closed"),
    [
        ([0, 1, 2, 3], [1, 0, 1, 0], True),
        ([0, 2, 1, 3, 5, 4], [1, 0, 0, 1, 0, 0], True),
        ([0, 1, 4, 2, 3, 5], [1, 0, 1, 0, 0, 0], False),  # 2 and 3 are stored after the key frame 4, shown before it
        ([0, 3, 1, 2, 4], [1, 0, 1, 0, 0], False),  # 3 is stored before the key frame 1, shown after it
        ([0, -(2**63), 2], [1, 0, 0], False),
        ([], [], False),
    ],
)
def test_groups(shown: list[int], key: list[int], closed: bool) -> None:
    assert closed_groups(np.array(shown, np.int64), np.array(key, bool)) is closed


OPEN = {
    "hevc": ("o.mp4", ["-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none:open-gop=1"]),
    "mpeg2": ("o.mpg", ["-c:v", "mpeg2video", "-bf", "2", "-q:v", "2"]),
    "mpeg4 without stamps": ("o.avi", ["-c:v", "mpeg4", "-bf", "1", "-q:v", "2"]),
}


@pytest.mark.parametrize("kind", OPEN)
def test_frames_of_open_groups_keep_their_numbers(kind: str, tmp_path: Path) -> None:
    name, extra = OPEN[kind]
    path = make(tmp_path / name, count=24, extra=[*extra, "-g", "6"])
    assert not seeks_exactly(path)
    whole = PipeReader(path, Fraction(25)).take(np.arange(24))
    late = read_video(path, start_s=13 / 25, num_frames=5)
    assert late.source.reader == "ffmpeg" and numbers(late.frames) == [13, 14, 15, 16, 17]
    few = read_video(path, fps=Fraction(5))
    assert numbers(few.frames) == [0, 5, 10, 15, 20] and np.array_equal(few.frames, whole[::5])


def test_closed_groups_are_gone_to(tmp_path: Path) -> None:
    for name, extra in (("c.mp4", ["-bf", "3"]), ("c.webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime"])):
        path = make(tmp_path / name, count=24, extra=[*extra, "-g", "6"])
        assert seeks_exactly(path)
        assert numbers(read_video(path, fps=Fraction(5)).frames) == [0, 5, 10, 15, 20]


def test_what_is_no_video_is_not_gone_to(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("a burger on a table")
    assert not seeks_exactly(tmp_path / "text.mp4")
