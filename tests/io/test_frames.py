"""Pieces of a clip, in any order, are byte for byte what is read at once; and only the piece is held."""

from __future__ import annotations

import random
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import decord
import numpy as np
import pytest

from tests.io.clips import ffmpeg, make
from tests.io.memory import Peak, needs_proc
from vxedit.errors import InputError, UsageError
from vxedit.io import pipe_reader
from vxedit.io.frames import open_video
from vxedit.io.read import read_video

COUNT = 24
_SLOWING = "settb=1/1000,setpts=if(lt(N\\,10)\\,N*0.05\\,0.5+(N-10)*0.17)/TB"
_HEVC = ["-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none:open-gop=1"]

KINDS = {
    "constant rate": ("c.mp4", ["-g", "6", "-bf", "3"]),
    "variable rate": ("v.mkv", ["-g", "6", "-vf", _SLOWING, "-fps_mode", "passthrough", "-enc_time_base", "1:1000"]),
    "open groups": ("o.mp4", [*_HEVC, "-g", "6"]),
    "without stamps": ("w.avi", ["-c:v", "mpeg4", "-q:v", "2", "-bf", "1", "-g", "6"]),
    "by ffmpeg": ("f.gif", []),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pieces")
    made = {kind: make(folder / name, count=COUNT, extra=extra) for kind, (name, extra) in KINDS.items()}
    turned = folder / "turned.mov"
    wide = make(folder / "wide.mp4", count=COUNT, size=(64, 96), extra=["-g", "6"])
    ffmpeg("-display_rotation", "90", "-i", wide, "-c", "copy", turned)
    return {**made, "rotated": turned}


@pytest.mark.parametrize("kind", [*KINDS, "rotated"])
@pytest.mark.parametrize(
    "chosen",
    [{}, {"start_s": 0.3, "num_frames": 11}, {"fps": Fraction(8)}, {"start_s": 0.1, "fps": Fraction(60)}],
    ids=["all", "part", "slower", "faster"],
)
def test_pieces_in_any_order_are_the_frames_of_the_whole(kind: str, chosen: dict, files: dict[str, Path]) -> None:
    whole = read_video(files[kind], **chosen)
    begins = list(range(0, len(whole), 3))
    random.Random(1).shuffle(begins)
    with open_video(files[kind], **chosen) as clip:
        assert (len(clip), clip.height, clip.width, clip.fps) == (len(whole), whole.height, whole.width, whole.fps)
        assert clip.source == whole.source and np.array_equal(clip.times_s, whole.times_s)
        for begin in [
            *range(0, len(whole), 3),
            *begins,
            *range(0, len(whole) - 4, 2),
        ]:  # in order, shuffled, overlapping
            end = min(begin + 5, len(whole))
            piece = clip.read(begin, end)
            assert np.array_equal(piece.frames, whole.frames[begin:end]), (begin, end)
            assert np.array_equal(piece.times_s, whole.times_s[begin:end]) and piece.fps == whole.fps
            assert piece.source is not None and piece.source.indices == whole.source.indices[begin:end]
        assert np.array_equal(np.concatenate([piece.frames for piece in clip.pieces(7)]), whole.frames)
        spread = np.unique(np.linspace(0, len(whole) - 1, 4).round().astype(int))
        assert np.array_equal(clip.sample(4), whole.frames[spread])


def test_the_reader_is_decord_where_it_can_go_to_any_frame(files: dict[str, Path]) -> None:
    for kind, path in files.items():
        with open_video(path) as clip:
            alone = kind in ("constant rate", "variable rate", "rotated")
            assert clip.source.reader == ("decord" if alone else "ffmpeg"), kind


def test_what_two_pieces_share_is_decoded_once(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    batch = decord.VideoReader.get_batch
    with open_video(files["constant rate"]) as clip:
        monkeypatch.setattr(decord.VideoReader, "get_batch", lambda it, at: (asked.append(list(at)), batch(it, at))[1])
        clip.read(0, 4).frames[:] = 0  # and what is done to one piece isn't seen in the next
        shared = clip.read(2, 6)
    assert asked == [[0, 1, 2, 3], [4, 5]]
    assert np.array_equal(shared.frames, read_video(files["constant rate"]).frames[2:6])


def test_the_pipe_is_read_on_and_begins_anew_only_for_an_earlier_piece(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    popen = subprocess.Popen
    with open_video(files["by ffmpeg"]) as clip:
        monkeypatch.setattr(
            pipe_reader.subprocess, "Popen", lambda *a, **k: (started.append(popen(*a, **k)), started)[1][-1]
        )
        for begin in (0, 4, 8, 16):
            clip.read(begin, begin + 4)
        assert len(started) == 1
        clip.read(4, 8)
        assert len(started) == 2 and started[0].poll() is not None
    assert started[1].poll() is not None, "a decoder was left running"


def test_a_file_that_breaks_off_is_known_when_it_is_opened(tmp_path: Path) -> None:
    extra = ["-movflags", "+faststart", "-g", "4", "-bf", "0"]
    data = make(tmp_path / "whole.mp4", count=COUNT, extra=extra).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) * 2 // 3])
    whole = read_video(cut)
    with open_video(cut) as clip:
        assert clip.source.reader == "ffmpeg" and 6 <= len(clip) == len(whole) < COUNT
        assert np.array_equal(clip.read(3, 6).frames, whole.frames[3:6])


def test_a_file_that_goes_away_is_one_line(tmp_path: Path) -> None:
    path = make(tmp_path / "some.gif", count=8)
    with open_video(path) as clip:
        path.unlink()
        with pytest.raises(InputError, match="can't be read any more") as caught:
            clip.read(0, 2)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_refused(files: dict[str, Path], tmp_path: Path) -> None:
    path = files["constant rate"]
    with open_video(path, num_frames=5) as clip:
        for begin, end in ((-1, 2), (2, 2), (3, 6), (5, 6)):
            with pytest.raises(ValueError, match="clip of 5"):
                clip.read(begin, end)
    with pytest.raises(UsageError, match="--num-frames"):
        open_video(path, num_frames=0)
    with pytest.raises(InputError, match="lasts"):
        open_video(path, start_s=99.0)
    with pytest.raises(InputError, match="doesn't exist"):
        open_video(tmp_path / "none.mp4")


@needs_proc
@pytest.mark.parametrize("kind", ["decord", "ffmpeg"])
def test_memory_is_that_of_a_piece(kind: str, tmp_path: Path) -> None:
    count, height, width = 400, 640, 360  # so many that a decoder's own buffers, some 40 MiB, stay well below a third
    path = tmp_path / "clip.mp4"
    source = ["-f", "lavfi", "-i", f"testsrc2=s={width}x{height}:r=25", "-frames:v", str(count)]
    groups = ["-bf", "2", "-g", "20"] if kind == "decord" else ["-bf", "2", "-g", "20", "-x264-params", "open-gop=1"]
    ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", *groups, "-pix_fmt", "yuv420p", path)
    whole_mib = count * height * width * 3 / 2**20  # 264
    with open_video(path) as clip:
        assert clip.source.reader == ("ffmpeg" if kind == "ffmpeg" else "decord")
        clip.read(0, 8)
        stepping, at_once = Peak(), Peak()
        for _ in stepping.looking(clip.pieces(8)):
            time.sleep(0.05)  # while a reader might decode on
        held = clip.read(0, len(clip))
        at_once.look()
    assert stepping.mib < whole_mib / 3 < whole_mib < at_once.mib, "the measure is blind, or more than a piece was held"
    assert len(held) == count
