"""The source of a result is found again, and read as it was."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.io.clips import make, numbers
from vxedit.clip import Clip
from vxedit.errors import InputError
from vxedit.io.read import read_video
from vxedit.score.source import SourceFile, moved, read_pair, recorded_source


def shown(frames: np.ndarray) -> Clip:
    return Clip(frames, np.arange(len(frames)) / 25, Fraction(25))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4")


def record(path: Path | str, **selection: object) -> dict[str, object]:
    source = {"path": str(path), "sha256": "0", "indices": [5, 6, 7]}
    return {"source": source, "job": {"selection": {"start_s": 0.2, "fps": None, **selection}}}


def test_what_the_record_says(file: Path, tmp_path: Path) -> None:
    found = recorded_source(record(file, fps="25/2"), tmp_path / "out.mp4")
    assert found == SourceFile(file, 0.2, Fraction(25, 2), (5, 6, 7), "0")


def test_a_source_beside_the_result_is_found(file: Path) -> None:
    found = recorded_source(record("/elsewhere/clip.mp4"), file.parent / "out.mp4")
    assert found is not None and found.path == file


def test_a_generated_clip_s_original_is_its_source(file: Path, tmp_path: Path) -> None:
    job: dict[str, object] = {"job": {"generate": {}}}
    assert recorded_source(job, tmp_path / "out.mp4") is None
    original = make(tmp_path / "out-original.mp4", count=3)
    found = recorded_source(job, tmp_path / "out.mp4")
    assert found is not None and found.path == original
    assert recorded_source({}, tmp_path / "out.mp4") is None


def test_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out\.json says what was edited in a way that can't be read"):
        recorded_source(record("clip.mp4", fps="x"), tmp_path / "out.mp4")


def test_a_source_that_moved(file: Path, tmp_path: Path) -> None:
    gone = SourceFile(tmp_path / "gone" / "clip.mp4", 0.2, None, (5, 6))
    result = tmp_path / "out.mp4"
    with pytest.raises(InputError, match=r"clip\.mp4, which isn't there; .*--source.*--no-source"):
        moved(gone, None, clip=result)
    assert moved(gone, file, clip=result) == replace(gone, path=file)
    assert moved(gone, tmp_path, clip=result) == replace(gone, path=file)
    assert moved(None, file, clip=result) == SourceFile(file)
    assert moved(None, None, clip=result) is None
    with pytest.raises(InputError, match=r"--source .*nowhere"):
        moved(gone, tmp_path / "nowhere.mp4", clip=result)


def test_the_frames_that_were_edited(file: Path) -> None:
    whole = read_video(file)
    source = SourceFile(file, 0.2, None, (5, 6, 7), whole.source.sha256 if whole.source else None)
    result, before, said = read_pair(shown(whole.frames[5:8]), source)
    assert (before == whole.frames[5:8]).all() and (result == before).all() and said == ()
    slow = SourceFile(file, 0.0, Fraction(25, 2), (0, 2, 4))
    assert numbers(read_pair(shown(whole.frames[:3]), slow)[1]) == [0, 2, 4]


def test_other_frames_are_refused(file: Path) -> None:
    frames = read_video(file).frames
    with pytest.raises(InputError, match="--source"):
        read_pair(shown(frames[:3]), SourceFile(file, 0.2, None, (4, 5, 6)))
    with pytest.raises(InputError, match="20 of 21"):
        read_pair(shown(np.concatenate([frames, frames[:1]])), SourceFile(file))


def test_another_file_is_said(file: Path) -> None:
    _, _, said = read_pair(shown(read_video(file).frames[:2]), SourceFile(file, sha256="0"))
    assert len(said) == 1 and "not the very file" in said[0]


def test_sizes(file: Path) -> None:
    frames = read_video(file).frames[:2]
    padded = np.pad(frames, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    result, before, said = read_pair(shown(padded), SourceFile(file))
    assert (result == frames).all() and before.shape == frames.shape and not said
    result, before, said = read_pair(shown(frames[:, ::2, ::2]), SourceFile(file))
    assert result.shape == before.shape == (2, 24, 32, 3) and "resized" in said[0]
