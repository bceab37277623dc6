"""A claim is one process's, ends with it, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vxedit.batch.claim import HIDDEN, claim, sweep, workplace
from vxedit.errors import OutputError

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from vxedit.batch.claim import claim
with claim(Path(sys.argv[1]), "a.mp4") as place:
    place.mkdir()
    (place / "half").write_bytes(b"half")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(out: Path) -> subprocess.Popen[str]:
    held = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None and held.stdout.readline() == "held\n"
    yield held
    held.kill()
    held.wait()
    held.stdout.close()


def test_one_has_it_and_then_nobody(out: Path) -> None:
    with claim(out, "a.mp4") as place:
        assert place == workplace(out, "a.mp4") and not place.exists()
        with claim(out, "a.mp4") as second:
            assert second is None
        with claim(out, "b.mp4") as other:
            assert other is not None and other != place
        place.mkdir()
    assert list(out.iterdir()) == []


def test_another_process_has_it_until_it_is_killed(out: Path, holder: subprocess.Popen[str]) -> None:
    with claim(out, "a.mp4") as place:
        assert place is None
    sweep(out)
    assert (workplace(out, "a.mp4") / "half").exists(), "what is under way is not swept"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with claim(out, "a.mp4") as place:
        assert place is not None and not place.exists(), "what the killed one left is gone"
    assert list(out.iterdir()) == []


def test_what_killed_processes_left_is_swept(out: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (out / HIDDEN).exists()
    sweep(out)
    assert list(out.iterdir()) == []


def test_links_are_not_followed(out: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"")
    (out / HIDDEN).symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError), claim(out, "a.mp4"):
        pass
    sweep(out)
    assert [file.name for file in (tmp_path / "precious").iterdir()] == ["file"]
