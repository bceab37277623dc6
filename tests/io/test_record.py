"""The record keeps what a result was made of."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vxedit.errors import InputError, OutputError
from vxedit.io import record as module
from vxedit.io.record import environment, read_record, write_record


@dataclass(frozen=True)
class Part:
    fps: Fraction
    where: Path


def test_values_become_plain_and_keep_their_order(tmp_path: Path) -> None:
    written = {
        "zebra": Fraction(24000, 1001),
        "whole": Fraction(24),
        "path": Path("a/b.mp4"),
        "numbers": np.array([[1.5, 2.0]], np.float32),
        "count": np.int64(3),
        "share": np.float32(0.5),
        "yes": np.bool_(True),
        "lost": float("nan"),
        "best": np.inf,
        "part": Part(Fraction(10), Path("c")),
        "nest": {"pair": (1, None, "ä")},
    }
    write_record(tmp_path / "r.json", written)
    back = read_record(tmp_path / "r.json")
    assert list(back) == list(written)
    assert back == {
        "zebra": "24000/1001",
        "whole": "24/1",
        "path": str(Path("a/b.mp4")),
        "numbers": [[1.5, 2.0]],
        "count": 3,
        "share": 0.5,
        "yes": True,
        "lost": None,
        "best": None,
        "part": {"fps": "10/1", "where": "c"},
        "nest": {"pair": [1, None, "ä"]},
    }
    assert Fraction(back["zebra"]) == Fraction(24000, 1001)


def test_written_whole_and_not_over_another(tmp_path: Path) -> None:
    write_record(tmp_path / "r.json", {"a": 1})
    with pytest.raises(OutputError, match="--overwrite"):
        write_record(tmp_path / "r.json", {"a": 2})
    with pytest.raises(TypeError, match="object"):
        write_record(tmp_path / "s.json", {"a": object()})
    assert read_record(tmp_path / "r.json") == {"a": 1} and not (tmp_path / "s.json").exists()
    write_record(tmp_path / "r.json", {"a": 2}, overwrite=True)
    assert read_record(tmp_path / "r.json") == {"a": 2}


def test_what_is_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {
        "text": b"hello",
        "bytes": b"\xff\xfe\x00",
        "list": b"[1]",
        "other": b'{"a": 1}',
        "odd": b'{"vxedit_record": "x"}',
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="isn't") as caught:
            read_record(tmp_path / name)
        assert "\n" not in str(caught.value)
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match="can't be read"):
            read_record(missing)
    monkeypatch.setattr(module, "VERSION", 99)
    write_record(tmp_path / "new", {"a": 1})
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"99.*update vxedit"):
        read_record(tmp_path / "new")


def test_environment_is_told_without_imports() -> None:
    code = """
import json, sys
from vxedit.io.record import environment
heavy = ("torch", "cv2", "decord", "diffusers", "imageio_ffmpeg")
print(json.dumps([environment(), [name for name in heavy if name in sys.modules]]))
"""
    found, imported = json.loads(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[2]))
    assert imported == [] and found == environment()
    assert found["numpy"] == np.__version__ and found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"vxedit", "platform", "torch", "diffusers", "transformers", "decord", "opencv-python"} <= set(found)
    assert found["vxedit"]


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGES", ("no-such-package-at-all",))
    assert environment()["no-such-package-at-all"] is None
