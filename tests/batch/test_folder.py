"""A folder's clips as rows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vxedit.batch.folder import read_folder
from vxedit.errors import InputError

PATH = json.dumps({"version": 1, "keyframes": [{"time": "0%", "x": 0.5, "y": 0.5}]})


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"clip")
    return folder


def test_clips_with_their_paths_and_mirrored_results(tmp_path: Path) -> None:
    fill(tmp_path, "b.mp4", "a.MOV", "deep/er/c.webm", "notes.txt", ".hidden.mp4", ".cache/x.mp4", "out/old-edit.mp4")
    (tmp_path / "b.json").write_text(PATH)
    (tmp_path / "a.json").write_text('{"vxedit_record": 1}')
    flat = read_folder(tmp_path, out=tmp_path / "out")
    assert [(row.where, row.output) for row in flat.rows] == [("a.MOV", "a-edit.mp4"), ("b.mp4", "b-edit.mp4")]
    assert flat.rows[0].values == {"input": str(tmp_path / "a.MOV")}
    assert flat.rows[1].values == {"input": str(tmp_path / "b.mp4"), "path": str(tmp_path / "b.json")}
    deep = read_folder(tmp_path, out=tmp_path / "out", recursive=True)
    assert deep.rows[-1].output == "deep/er/c-edit.mp4" and len(deep.rows) == 3


def test_a_pattern_chooses(tmp_path: Path) -> None:
    fill(tmp_path, "a1.mp4", "a2.mkv", "b.mp4")
    assert [row.where for row in read_folder(tmp_path, out=tmp_path / "o", pattern="a*").rows] == ["a1.mp4", "a2.mkv"]
    with pytest.raises(InputError, match=r"no clip named z\*"):
        read_folder(tmp_path, out=tmp_path / "o", pattern="z*")


def test_equal_stems_keep_their_suffix(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "a.mov", "b.mp4")
    rows = read_folder(tmp_path, out=tmp_path / "o").rows
    assert [row.output for row in rows] == ["a.mov-edit.mp4", "a.mp4-edit.mp4", "b-edit.mp4"]


def test_linked_folders_are_not_walked_and_linked_clips_are(tmp_path: Path) -> None:
    fill(tmp_path, "deep/a.mp4")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    (tmp_path / "b.mp4").symlink_to(tmp_path / "deep" / "a.mp4")
    rows = read_folder(tmp_path, out=tmp_path / "o", recursive=True).rows
    assert [row.where for row in rows] == ["b.mp4", "deep/a.mp4"]


def test_a_name_that_is_no_text_is_passed_over_and_told(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")).write_bytes(b"clip")
    except OSError:
        pytest.skip("this file system takes no such name")
    rows = read_folder(tmp_path, out=tmp_path / "o")
    assert [row.where for row in rows.rows] == ["a.mp4"] and "isn't UTF-8" in str(rows.passed[0])
