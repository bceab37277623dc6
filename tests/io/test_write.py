"""What is written can be read back: frames, rate, colour, sound, comment; and it is whole or not there."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.io.clips import add_sound, make, numbered, numbers, psnr, sound_of
from vxedit.errors import OutputError
from vxedit.io import ffmpeg as ffmpeg_module
from vxedit.io.probe import probe
from vxedit.io.read import read_video
from vxedit.io.write import write_gif, write_video


def moving(count: int = 12, height: int = 64, width: int = 96) -> np.ndarray:
    """A smooth coloured wave that moves, (count, height, width, 3)."""
    t, y, x = np.meshgrid(np.arange(count), np.arange(height), np.arange(width), indexing="ij")
    waves = [np.sin(x / 30 + t / 3), np.sin(y / 25 - t / 4), np.sin((x + y) / 35 + t / 5)]
    return np.rint(127.5 + 100 * np.stack(waves, -1)).astype(np.uint8)


def test_read_back(tmp_path: Path) -> None:
    frames, path = moving(), tmp_path / "out.mp4"
    write_video(path, frames, Fraction(25), comment='{"seed": 1}')
    clip = read_video(path)
    assert clip.frames.shape == frames.shape and psnr(clip.frames, frames) > 35
    assert probe(path).comment == '{"seed": 1}' and probe(path).codec == "h264"
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_crf_is_obeyed(tmp_path: Path) -> None:
    fine, coarse = tmp_path / "fine.mp4", tmp_path / "coarse.mp4"
    write_video(fine, moving(), Fraction(25))
    write_video(coarse, moving(), Fraction(25), crf=45)
    assert psnr(read_video(coarse).frames, moving()) < psnr(read_video(fine).frames, moving()) - 5


@pytest.mark.parametrize("rgb", [(32, 192, 64), (200, 30, 40), (255, 255, 255), (0, 0, 0)])
def test_colour_is_tagged_and_kept(tmp_path: Path, rgb: tuple[int, int, int]) -> None:
    path = tmp_path / "flat.mp4"
    write_video(path, np.full((4, 32, 32, 3), rgb, np.uint8), Fraction(10))
    assert np.abs(read_video(path).frames.astype(int) - rgb).max() <= 2
    assert "yuv420p(tv, bt709, progressive)" in ffmpeg_module.run(["-i", str(path)], check=False).log


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60000/1001", "10", "8", "25"])
def test_rates_go_round(tmp_path: Path, rate: str) -> None:
    write_video(tmp_path / "out.mp4", moving(8, 16, 16), Fraction(rate))
    assert read_video(tmp_path / "out.mp4").fps == Fraction(rate)


def test_odd_sides_are_padded_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames, path = moving(4, 65, 97), tmp_path / "odd.mp4"
    write_video(path, frames, Fraction(10))
    back = read_video(path).frames
    assert back.shape[1:3] == (66, 98) and psnr(back[:, :65, :97], frames) > 35
    assert psnr(back[:, 65, :97], frames[:, 64]) > 30 and psnr(back[:, :65, 97], frames[:, :, 96]) > 30
    assert "from 97x65 to 98x66" in caplog.text


def test_sound_is_the_piece_beside_the_frames(tmp_path: Path) -> None:
    source = add_sound(make(tmp_path / "v.mp4"), tmp_path / "s.mp4", tone_from_s=1.0, length_s=3.0)
    write_video(tmp_path / "o.mp4", moving(25), Fraction(25), audio_from=source, audio_start_s=0.5, comment="kept")
    sound = sound_of(tmp_path / "o.mp4")
    assert len(sound) / 16000 == pytest.approx(1.0, abs=0.08)
    loud = np.abs(sound).reshape(-1, 160).max(1) > 0.2  # every 10 ms
    assert np.argmax(loud) * 0.01 == pytest.approx(0.5, abs=0.04) and loud[55:95].all()
    info = probe(tmp_path / "o.mp4")
    assert info.duration_s == pytest.approx(1.0, abs=0.05) and info.comment == "kept"
    assert len(read_video(tmp_path / "o.mp4")) == 25


def test_sound_from_the_start_is_copied_and_not_longer_than_the_video(tmp_path: Path) -> None:
    source = add_sound(make(tmp_path / "v.mp4"), tmp_path / "s.mp4", tone_from_s=0.2, length_s=3.0)
    write_video(tmp_path / "o.mp4", moving(10), Fraction(25), audio_from=source)
    kept, whole = sound_of(tmp_path / "o.mp4"), sound_of(source)
    assert len(kept) / 16000 == pytest.approx(0.4, abs=0.08)
    inner = slice(1024, 5120)  # a copy: the same samples, but for the codec's fade at the ends
    assert np.allclose(kept[inner], whole[inner], atol=1e-4)


def test_sound_shorter_than_the_video_cuts_no_frames(tmp_path: Path) -> None:
    source = add_sound(make(tmp_path / "v.mp4"), tmp_path / "s.mp4", tone_from_s=0.0, length_s=0.3)
    write_video(tmp_path / "o.mp4", moving(25), Fraction(25), audio_from=source, audio_start_s=0.1)
    assert len(read_video(tmp_path / "o.mp4")) == 25
    assert len(sound_of(tmp_path / "o.mp4")) / 16000 == pytest.approx(0.2, abs=0.08)


def test_no_sound_to_keep(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    silent = make(tmp_path / "v.mp4")
    write_video(tmp_path / "a.mp4", moving(5), Fraction(25), audio_from=silent)
    assert not probe(tmp_path / "a.mp4").has_audio and not caplog.text
    source = add_sound(silent, tmp_path / "s.mp4", tone_from_s=0.0, length_s=0.3)
    write_video(tmp_path / "b.mp4", moving(5), Fraction(25), audio_from=source, audio_start_s=0.6)
    assert not probe(tmp_path / "b.mp4").has_audio and "can't be kept" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("the model failed"), KeyboardInterrupt(), FileNotFoundError("frame 3")])
@pytest.mark.parametrize("existed", [False, True])
def test_an_error_among_the_frames_leaves_nothing(tmp_path: Path, error: BaseException, existed: bool) -> None:
    path = tmp_path / "out.mp4"
    if existed:
        path.write_bytes(b"precious")

    def frames() -> Iterator[np.ndarray]:
        yield from moving(5)
        raise error

    with pytest.raises(type(error)) as caught:
        write_video(path, frames(), Fraction(25), overwrite=True)
    assert caught.value is error
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([b"precious"] if existed else [])


def test_existing_file_is_kept_unless_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    for write in (write_video, write_gif):
        with pytest.raises(OutputError, match="--overwrite"):
            write(path, moving(3), Fraction(25))
    assert path.read_bytes() == b"precious"
    write_video(path, moving(3), Fraction(25), overwrite=True)
    assert len(read_video(path)) == 3


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="doesn't exist"):
        write_video(tmp_path / "no" / "out.mp4", moving(3), Fraction(25))
    with pytest.raises(OutputError, match=r"out\.mp4"):
        write_video(tmp_path / "out.avi", moving(3), Fraction(25))
    with pytest.raises(OutputError, match="no frames"):
        write_video(tmp_path / "out.mp4", iter(()), Fraction(25))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [4, 90])  # so few that all is encoded at the end, and so many that it fails before
def test_a_full_disk_is_noticed(tmp_path: Path, capfd: pytest.CaptureFixture[str], count: int) -> None:
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (count, 128, 128, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(OutputError, match="disk full"):
            write_video(tmp_path / "out.mp4", noise, Fraction(25))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


def test_frames_of_another_kind(tmp_path: Path) -> None:
    for frames in (moving(3).astype(np.float32), [moving(1)[0], moving(1, 32, 32)[0]]):
        with pytest.raises(ValueError, match="uint8"):
            write_video(tmp_path / "out.mp4", frames, Fraction(25))
    assert not list(tmp_path.iterdir())


def test_gif(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_gif(tmp_path / "out.gif", numbered(6), Fraction(10))
    clip = read_video(tmp_path / "out.gif")
    assert numbers(clip.frames) == list(range(6)) and clip.fps == 10
    assert psnr(clip.frames, numbered(6)) > 40  # its few colours fit into the palette
    assert b"NETSCAPE2.0" in (tmp_path / "out.gif").read_bytes()  # the mark of a loop
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.gif"]


def test_frames_that_are_made_one_by_one_are_not_gathered(tmp_path: Path) -> None:
    """By what Python and NumPy ask for, as the process's size says nothing where freed memory is used again."""
    count, height, width = 80, 640, 704
    whole = count * height * width * 3

    def peak(gather: bool) -> int:
        made = (np.full((height, width, 3), n, np.uint8) for n in range(count))
        tracemalloc.start()
        try:
            write_video(tmp_path / f"{gather}.mp4", list(made) if gather else made, Fraction(25))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(gather=False) < whole / 3
    assert peak(gather=True) > whole, "the measure is blind"


def test_sound_lasts_as_long_as_a_long_clip(tmp_path: Path) -> None:
    count = 250
    source = add_sound(make(tmp_path / "v.mp4", count=count), tmp_path / "s.mp4", tone_from_s=0.0, length_s=10.0)
    write_video(tmp_path / "o.mp4", (frame for frame in moving(count, 32, 32)), Fraction(25), audio_from=source)
    loud = np.abs(sound_of(tmp_path / "o.mp4")[: 16000 * 10]).reshape(-1, 1600).max(1) > 0.2  # every 0.1 s
    assert len(loud) == 100 and loud[1:99].all()
    assert probe(tmp_path / "o.mp4").duration_s == pytest.approx(10.0, abs=0.1)
