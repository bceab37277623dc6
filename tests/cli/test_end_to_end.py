"""vxedit-real as a process of its own: what it prints, how it ends, and what is left when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.footage import PROMPT, contents
from vxedit.io.read import read_video
from vxedit.io.record import read_record

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "import sys; from vxedit.cli.main import real; sys.exit(real())"
WHILE_WRITING = """
import itertools, os, signal, sys
from vxedit import real
from vxedit.cli.main import real as command
write = real.write_video

def frames(shown):
    yield from itertools.islice(shown, 3)
    os.kill(os.getpid(), signal.SIGKILL)

real.write_video = lambda path, shown, fps, **how: write(path, frames(shown), fps, **how)
sys.exit(command())
"""
WHILE_INVERTING = """
import os, signal, sys
from vxedit import real
from vxedit.cli.main import real as command
invert = real.invert

def kill(done, total):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

real.invert = lambda *given, progress: invert(*given, progress=kill)
sys.exit(command())
"""
NAMES = ("out.mp4", "out.json", "out.png")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "desk").mkdir()
    return tmp_path / "desk"


def process(desk: Path, *arguments: str, code: str = COMMAND) -> subprocess.Popen[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VXEDIT_")},
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(desk.parent / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=desk,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def arguments(footage: Path, model: Path, *more: str, steps: int = 2) -> list[str]:
    what = [str(footage), "--obj", "ball", "--path", "by:+0.25,0", "--prompt", PROMPT, "--box", "0.15,0.3,0.45,0.7"]
    return [*what, "--model", str(model), "--steps", str(steps), "--inversion", "uni", "-o", "out.mp4", *more]


def test_stdout_carries_the_path_alone(desk: Path, footage: Path, checkpoint: Path) -> None:
    ran = process(desk, *arguments(footage, checkpoint))
    out, err = ran.communicate()
    assert (ran.returncode, out) == (0, "out.mp4\n"), err
    lines = err.splitlines()
    assert lines[0].startswith("seed ") and all(line.startswith("vxedit: warning: ") for line in lines[1:]), err
    assert set(contents(desk)) == set(NAMES)
    assert len(read_video(desk / "out.mp4")) == 6
    record = read_record(desk / "out.json")
    assert record["job"]["edit"]["seed"] == int(lines[0].split()[1])


def test_an_error_has_its_traceback_with_vv(desk: Path, footage: Path, hollow: Path) -> None:
    """A model whose weights can't be read: what can be known only after the checks."""
    ran = process(desk, *arguments(footage, hollow, "-vv"))
    out, err = ran.communicate()
    assert (ran.returncode, out) == (1, "")
    assert "Traceback" in err and err.splitlines()[-1].startswith("vxedit: error: ") and "can't be loaded" in err
    assert contents(desk) == {}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that can't be caught")
@pytest.mark.parametrize("existed", [True, False])
def test_killed_at_any_moment_nothing_is_half_written(
    desk: Path, footage: Path, checkpoint: Path, existed: bool
) -> None:
    for name in NAMES if existed else ():
        (desk / name).write_bytes(b"precious")
    moment = WHILE_WRITING if existed else WHILE_INVERTING
    ran = process(desk, *arguments(footage, checkpoint, "--overwrite", "--strength", "0", steps=4), code=moment)
    _, err = ran.communicate()
    assert ran.returncode == -signal.SIGKILL, err
    visible = {name: data for name, data in contents(desk).items() if not name.startswith(".")}
    assert visible == (dict.fromkeys(NAMES, b"precious") if existed else {})
    assert existed or not list(desk.parent.rglob("*.safetensors"))  # no inversion is kept that isn't whole
