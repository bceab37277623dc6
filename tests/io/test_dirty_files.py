"""The files that people have, made on the spot: each is read as it is shown, or refused in one line that names it."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.io.clips import add_sound, ffmpeg, make, numbers
from vxedit.clip import Clip
from vxedit.errors import InputError
from vxedit.io.read import read_video

COUNT = 8
SIZE = (48, 64)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames 0 to 7 at 10 a second, a key frame every four, its index before its pictures."""
    extra = ["-g", "4", "-bf", "0", "-movflags", "+faststart"]
    return make(tmp_path_factory.mktemp("dirty") / "plain.mp4", count=COUNT, rate=Fraction(10), extra=extra)


def read_or_refused(path: Path) -> Clip | str:
    """The clip, whole in itself, or the one line that says why there is none. Anything else is a fault."""
    try:
        clip = read_video(path)
    except InputError as err:
        assert "\n" not in str(err) and str(path) in str(err)
        return str(err)
    assert clip.frames.dtype == np.uint8 and clip.frames.shape[3] == 3 and len(clip) >= 1
    assert (np.diff(clip.times_s) > 0).all() and clip.fps > 0
    return clip


# container, what ffmpeg is asked for, whether frames are to be told apart exactly
CODECS = {
    "h264": ("c.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p"]),
    "h264, 10 bits": ("c.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p10le"]),
    "hevc": ("c.mp4", ["-c:v", "libx265", "-pix_fmt", "yuv420p", "-tag:v", "hvc1", "-x265-params", "log-level=none"]),
    "hevc, 10 bits": ("c.mkv", ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none"]),
    "vp9": ("c.webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M"]),
    "av1": ("c.mkv", ["-c:v", "libsvtav1", "-crf", "20", "-preset", "12"]),
    "gif": ("c.gif", []),
    "prores": ("c.mov", ["-c:v", "prores_ks"]),
    "motion jpeg": ("c.avi", ["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"]),
    "fragmented": ("c.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "frag_keyframe+empty_moov"]),
    "transport stream": ("c.ts", ["-c:v", "libx264", "-pix_fmt", "yuv420p"]),
}


@pytest.mark.parametrize("kind", CODECS)
def test_codecs_and_containers(kind: str, tmp_path: Path) -> None:
    name, extra = CODECS[kind]
    size = (64, 64) if kind == "av1" else SIZE
    clip = read_video(make(tmp_path / name, count=COUNT, rate=Fraction(10), size=size, extra=extra))
    assert numbers(clip.frames) == list(range(COUNT)) and clip.fps == 10
    assert np.allclose(np.diff(clip.times_s), 0.1, atol=1e-3)


@pytest.mark.parametrize("rate", ["10", "30000/1001", "60"])
def test_a_constant_rate_is_exact(rate: str, tmp_path: Path) -> None:
    clip = read_video(make(tmp_path / "c.mp4", count=COUNT, rate=Fraction(rate)))
    assert clip.fps == Fraction(rate) and numbers(clip.frames) == list(range(COUNT))


def test_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    times = "settb=1/1000,setpts=if(lt(N\\,4)\\,N*0.05\\,0.2+(N-4)*0.2)/TB"
    extra = ["-vf", times, "-fps_mode", "passthrough", "-enc_time_base", "1:1000"]
    clip = read_video(make(tmp_path / "v.mkv", count=COUNT, extra=extra))
    assert numbers(clip.frames) == list(range(COUNT))
    assert np.allclose(clip.times_s, [0, 0.05, 0.1, 0.15, 0.2, 0.4, 0.6, 0.8], atol=2e-3)


@pytest.mark.parametrize(("turn", "quarter"), [("90", 1), ("180", 2), ("-90", 3)])
def test_rotation_is_applied(plain: Path, turn: str, quarter: int, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mov"
    ffmpeg("-display_rotation", turn, "-i", plain, "-c", "copy", turned)
    assert np.array_equal(read_video(turned).frames, np.rot90(read_video(plain).frames, quarter, axes=(1, 2)))


def test_frames_that_an_edit_list_hides_are_not_shown(plain: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    ffmpeg("-ss", "0.6", "-i", plain, "-c", "copy", cut)  # stored from the key frame 4 on, shown from 6
    clip = read_video(cut)
    assert numbers(clip.frames) == [6, 7] and clip.times_s[0] == 0


@pytest.mark.parametrize("size", [(49, 65), (1, 1), (2, 500), (7, 3)])
def test_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    clip = read_video(make(tmp_path / "odd.mkv", count=3, size=size, extra=["-c:v", "ffv1", "-pix_fmt", "bgr0"]))
    assert clip.frames.shape == (3, *size, 3)


def test_one_frame(tmp_path: Path) -> None:
    clip = read_video(make(tmp_path / "one.mp4", count=1, rate=Fraction(10)))
    assert numbers(clip.frames) == [0] and clip.times_s.tolist() == [0]


def test_no_sound_and_sound_that_is_longer_than_the_pictures(plain: Path, tmp_path: Path) -> None:
    assert not read_video(plain).source.has_audio
    loud = read_video(add_sound(plain, tmp_path / "loud.mp4", tone_from_s=0, length_s=3))
    assert loud.source.has_audio and numbers(loud.frames) == list(range(COUNT)) and loud.fps == 10


def test_pictures_of_a_sequence_are_no_clip_and_their_folder_neither(plain: Path, tmp_path: Path) -> None:
    ffmpeg("-i", plain, tmp_path / "%03d.png")
    assert "single picture" in read_or_refused(tmp_path / "001.png")
    assert "is a folder" in read_or_refused(tmp_path)
    assert "doesn't exist" in read_or_refused(tmp_path / "%03d.png")


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.7, 0.85, 0.95, 0.999])
def test_cut_short(plain: Path, share: float, tmp_path: Path) -> None:
    data = plain.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: int(len(data) * share)])
    found = read_or_refused(cut)
    if isinstance(found, Clip):
        assert numbers(found.frames)[:1] == [0] and len(found) <= COUNT
    assert isinstance(found, str) or share > 0.2, "nothing can be read without the index"


@pytest.mark.parametrize("seed", range(10))
def test_bytes_flipped(plain: Path, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    data = bytearray(plain.read_bytes())
    for _ in range(chance.choice([1, 5, 50])):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    flipped = tmp_path / "flipped.mp4"
    flipped.write_bytes(data)
    found = read_or_refused(flipped)
    assert isinstance(found, str) or len(found) <= 10 * COUNT


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    (tmp_path / "text.mp4").write_text("a burger on a table\n" * 200)
    (tmp_path / "page.mp4").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\n/etc/passwd\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    for file in tmp_path.iterdir():
        assert isinstance(read_or_refused(file), str), file.name
    assert "0 bytes" in str(read_or_refused(tmp_path / "empty.mp4"))


@pytest.mark.parametrize(
    "name",
    [
        "with spaces.mp4",
        'it\'s "quoted".mp4',
        "a\nnewline.mp4",
        "ünï-cødé-视频-🍔.mp4",
        "-y.mp4",
        "http:clip.mp4",
        "50%d.mp4",
        "$(touch x);`ls`&|.mp4",
        "[a]*?.mp4",
        "l" * 251 + ".mp4",
        "no suffix",
    ],
)
def test_names(plain: Path, name: str, tmp_path: Path) -> None:
    named = tmp_path / name
    named.write_bytes(plain.read_bytes())
    assert len(read_video(named)) == COUNT and [file.name for file in tmp_path.iterdir()] == [name]


def test_links(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(plain)
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "none.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    assert len(read_video(tmp_path / "link.mp4")) == COUNT
    assert "doesn't exist" in str(read_or_refused(tmp_path / "dangling.mp4"))
    assert isinstance(read_or_refused(tmp_path / "loop.mp4"), str)
