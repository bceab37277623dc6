"""What is told about a file before it is decoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.io.clips import add_sound, ffmpeg, make
from vxedit.errors import InputError
from vxedit.io.probe import probe


def test_everything(tmp_path: Path) -> None:
    comment = 'a=b; 100 % of #1\nis a "back\\slash"'
    video = make(tmp_path / "v.mp4", rate=Fraction(30000, 1001), extra=["-metadata", f"comment={comment}"])
    info = probe(video)
    assert (info.width, info.height, info.fps, info.codec) == (64, 48, Fraction(30000, 1001), "h264")
    assert info.duration_s == pytest.approx(20 * 1001 / 30000, abs=0.02)
    assert info.comment == comment and not info.has_audio and info.audio_codec is None
    loud = probe(add_sound(video, tmp_path / "loud.mp4", tone_from_s=0, length_s=0.5))
    assert loud.has_audio and loud.audio_codec == "aac"


def test_size_after_rotation(tmp_path: Path) -> None:
    turned = tmp_path / "turned.mov"
    ffmpeg("-display_rotation", "90", "-i", make(tmp_path / "v.mp4"), "-c", "copy", turned)
    info = probe(turned)
    assert (info.width, info.height) == (48, 64) and info.comment is None


def test_the_largest_of_two_tracks(tmp_path: Path) -> None:
    small, large, both = (
        make(tmp_path / "s.mp4"),
        make(tmp_path / "l.mp4", size=(96, 128), rate=Fraction(10)),
        tmp_path / "b.mp4",
    )
    ffmpeg("-i", small, "-i", large, "-map", "0:v", "-map", "1:v", "-c", "copy", both)
    info = probe(both)
    assert (info.width, info.height, info.fps) == (128, 96, 10)


def test_names_that_ffmpeg_would_misread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = make(tmp_path / "plain.mp4")
    for name in ("http:clip.mp4", "-y.mp4", "50%d.mp4", "ä b.mp4"):
        Path(name).write_bytes(plain.read_bytes())
        assert probe(Path(name)).width == 64


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="permissions"):
        probe(tmp_path / "v.mp4")
