"""Every kind of file that people have: frames by time, exact rates, the second reader, one clear line for the rest."""

from __future__ import annotations

import hashlib
import logging
from fractions import Fraction
from pathlib import Path

import decord
import numpy as np
import pytest

from tests.io.clips import ffmpeg, make, numbered, numbers, psnr
from vxedit.errors import InputError, UsageError
from vxedit.io import decord_reader
from vxedit.io.read import read_video
from vxedit.io.timeline import Timeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    return make(folder / "plain.mp4")


# Ten frames at 20 a second, then ten at some 6 a second.
VARIABLE_S = [n * 0.05 if n < 10 else 0.5 + (n - 10) * 0.17 for n in range(20)]


@pytest.fixture(scope="module")
def variable(folder: Path) -> Path:
    times = "settb=1/1000,setpts=if(lt(N\\,10)\\,N*0.05\\,0.5+(N-10)*0.17)/TB"
    unit = ["-fps_mode", "passthrough", "-enc_time_base", "1:1000"]
    return make(folder / "variable.mkv", extra=["-vf", times, *unit])


@pytest.fixture(scope="module")
def av1(folder: Path) -> Path:
    return make(folder / "av1.mkv", size=(64, 64), extra=["-c:v", "libsvtav1", "-crf", "20", "-preset", "12"])


def test_whole_clip(plain: Path) -> None:
    clip = read_video(plain)
    assert numbers(clip.frames) == list(range(20))
    assert psnr(clip.frames, numbered(20)) > 35
    assert clip.fps == 25 and np.allclose(clip.times_s, np.arange(20) / 25, atol=1e-9)
    assert clip.source is not None and clip.source.reader == "decord" and not clip.source.has_audio
    assert clip.source.sha256 == hashlib.sha256(plain.read_bytes()).hexdigest()
    assert clip.source.indices == tuple(range(20)) and clip.source.path == plain


def test_part_by_time(plain: Path) -> None:
    clip = read_video(plain, start_s=0.2, num_frames=4)
    assert numbers(clip.frames) == [5, 6, 7, 8] == list(clip.source.indices)
    assert np.allclose(clip.times_s, [0.2, 0.24, 0.28, 0.32])
    assert numbers(read_video(plain, start_s=0.72, num_frames=9).frames) == [18, 19]


def test_resampled_by_time(plain: Path) -> None:
    slower = read_video(plain, fps=Fraction(5))
    assert numbers(slower.frames) == [0, 5, 10, 15] and slower.fps == 5
    assert np.allclose(slower.times_s, [0, 0.2, 0.4, 0.6])
    faster = read_video(plain, start_s=0.4, num_frames=5, fps=Fraction(50))
    assert numbers(faster.frames) == [10, 10, 11, 11, 12]


def test_only_what_is_asked_is_decoded(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    whole = decord.VideoReader.get_batch
    monkeypatch.setattr(
        decord.VideoReader, "get_batch", lambda reader, at: (asked.append(list(at)), whole(reader, at))[1]
    )
    read_video(plain, start_s=0.4, num_frames=3)
    assert asked == [[10, 11, 12]]


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60000/1001", "10", "25", "29", "15/2"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rates_are_exact(folder: Path, rate: str, suffix: str) -> None:
    clip = read_video(make(folder / f"rate{suffix}", rate=Fraction(rate), size=(16, 16)))
    assert clip.fps == Fraction(rate)
    assert np.allclose(clip.times_s, np.arange(20) / float(Fraction(rate)), atol=1e-9)  # mkv's own stamps are in ms


def test_variable_rate(variable: Path) -> None:
    clip = read_video(variable)
    assert numbers(clip.frames) == list(range(20))
    assert np.allclose(clip.times_s, VARIABLE_S, atol=1e-4)
    assert float(clip.fps) == pytest.approx(19 / VARIABLE_S[-1], abs=0.006)
    even = read_video(variable, fps=Fraction(5))
    expected = [min(range(20), key=lambda n: abs(VARIABLE_S[n] - k * 0.2)) for k in range(11)]
    assert numbers(even.frames) == expected and list(even.source.indices) == expected


def test_rotation(folder: Path, plain: Path) -> None:
    turned = folder / "turned.mov"
    ffmpeg("-display_rotation", "90", "-i", plain, "-c", "copy", turned)
    clip = read_video(turned)
    assert (clip.height, clip.width) == (64, 48)
    upright = np.rot90(read_video(plain).frames, 1, axes=(1, 2))
    assert np.array_equal(clip.frames, upright)


@pytest.mark.parametrize("between_key_frames", [4, 20])
def test_frames_that_an_edit_list_hides_are_dropped(folder: Path, between_key_frames: int) -> None:
    whole = make(folder / "whole.mp4", extra=["-g", str(between_key_frames), "-bf", "0"])
    cut = folder / "cut.mp4"
    ffmpeg("-ss", "0.4", "-i", whole, "-c", "copy", cut)  # stored from the key frame before on, shown from 10
    stamps = np.asarray(decord.VideoReader(str(cut)).get_frame_timestamp(range(10)))
    assert stamps[0, 0] < -0.03, "the file has no hidden frames, so it tests nothing"
    clip = read_video(cut)
    assert numbers(clip.frames) == list(range(10, 20))  # decord alone, the longer: ten times the last one
    assert clip.times_s[0] == 0 and clip.fps == 25 and clip.source.indices == tuple(range(10))
    for n in range(10):
        assert numbers(read_video(cut, start_s=n / 25, num_frames=1).frames) == [10 + n]


def test_frames_that_decord_makes_up_are_refused(folder: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = folder / "made_up.mp4"
    ffmpeg("-ss", "0.4", "-i", plain, "-c", "copy", cut)  # decord lists 20 frames, has 10, and repeats the last
    even = Timeline(np.arange(20) / 25, 0.8, Fraction(25))
    monkeypatch.setattr(decord_reader, "_timeline", lambda reader, nominal: even)
    with pytest.raises(decord.DECORDLimitReachedError):
        decord_reader.DecordReader(cut, Fraction(25)).take(np.arange(20))


def test_av1_and_gif_by_the_second_reader(av1: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vxedit")
    clip = read_video(av1, start_s=0.2, num_frames=4)
    assert numbers(clip.frames) == [5, 6, 7, 8] and clip.fps == 25
    assert clip.source.reader == "ffmpeg" and "with ffmpeg" in caplog.text
    gif = read_video(make(folder / "some.gif", rate=Fraction(10)))
    assert numbers(gif.frames) == list(range(20)) and gif.fps == 10 and gif.source.reader == "ffmpeg"


def test_both_readers_agree(plain: Path, variable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_decord = [read_video(plain), read_video(variable, start_s=0.3, fps=Fraction(10))]

    def broken(reader: object, at: object) -> None:
        raise decord.DECORDError("something in C++")

    monkeypatch.setattr(decord.VideoReader, "get_batch", broken)
    by_ffmpeg = [read_video(plain), read_video(variable, start_s=0.3, fps=Fraction(10))]
    for one, other in zip(by_decord, by_ffmpeg, strict=True):
        assert (one.source.reader, other.source.reader) == ("decord", "ffmpeg")
        assert np.array_equal(one.frames, other.frames) and one.source.indices == other.source.indices
        assert np.allclose(one.times_s, other.times_s, atol=1e-6) and one.fps == other.fps


def test_avi_without_stamps(folder: Path) -> None:
    clip = read_video(make(folder / "old.avi", extra=["-c:v", "mpeg4", "-q:v", "2", "-bf", "1"], rate=Fraction(10)))
    assert numbers(clip.frames) == list(range(20)) and clip.fps == 10
    assert np.allclose(clip.times_s, np.arange(20) / 10)


def test_odd_sides(folder: Path) -> None:
    clip = read_video(make(folder / "odd.mkv", size=(49, 65), extra=["-c:v", "ffv1"]))
    assert (clip.height, clip.width) == (49, 65) and numbers(clip.frames) == list(range(20))


def test_damaged_gives_what_decodes(folder: Path) -> None:
    whole = make(
        folder / "fast.mp4", count=24, extra=["-movflags", "+faststart", "-g", "4", "-x264-params", "bframes=0"]
    )
    cut = folder / "half.mp4"
    data = whole.read_bytes()
    pictures_at = data.index(b"mdat")  # the index before it stays whole
    cut.write_bytes(data[: pictures_at + (len(data) - pictures_at) * 2 // 3])
    clip = read_video(cut)
    assert clip.source.reader == "ffmpeg" and 6 <= len(clip) < 24
    assert numbers(clip.frames) == list(range(len(clip)))


def test_native_code_says_nothing(av1: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cut = folder / "silent.mp4"
    cut.write_bytes(make(folder / "loud.mp4").read_bytes()[:1500])
    read_video(av1, num_frames=1)
    with pytest.raises(InputError):
        read_video(cut)
    assert capfd.readouterr() == ("", "")


def test_a_bridge_that_another_library_set(plain: Path) -> None:
    expected = read_video(plain, num_frames=3).frames
    decord.bridge.set_bridge("torch")
    try:
        clip = read_video(plain, num_frames=3)
    finally:
        decord.bridge.reset_bridge()
    assert clip.source.reader == "decord" and isinstance(clip.frames, np.ndarray)
    assert np.array_equal(clip.frames, expected)


def test_nothing_after_the_end(plain: Path, av1: Path) -> None:
    for path in (plain, av1):
        with pytest.raises(InputError, match=r"lasts 0\.80 s"):
            read_video(path, start_s=0.8)


@pytest.mark.parametrize("bad", [{"start_s": -1.0}, {"start_s": float("nan")}, {"num_frames": 0}, {"fps": Fraction(0)}])
def test_arguments_out_of_range(plain: Path, bad: dict) -> None:
    with pytest.raises(UsageError, match="--"):
        read_video(plain, **bad)


def test_what_is_not_a_video(folder: Path, plain: Path) -> None:
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("a burger on a table\n" * 50)
    (folder / "stump.mp4").write_bytes(plain.read_bytes()[:1500])
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", folder / "sound.m4a")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32", "-frames:v", "1", folder / "picture.png")
    cases = {
        "plane.mp4": "did you mean plain.mp4",
        "nowhere/plain.mp4": "neither does the folder",
        "": "is a folder",
        "empty.mp4": "is empty",
        "text.mp4": "isn't a video",
        "stump.mp4": "cut short",
        "sound.m4a": "sound but no pictures",
        "picture.png": "single picture",
    }
    for name, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            read_video(folder / name)
        assert "\n" not in str(caught.value) and str(folder / name) in str(caught.value)
