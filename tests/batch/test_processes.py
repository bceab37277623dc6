"""Workers as processes: work is shared, a killed one costs one try, and the parent's end is theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.batch.stub import Stubs, begun, tasks, visible, whole
from vxedit.batch.log import Log
from vxedit.batch.processes import Processes
from vxedit.batch.run import RunSettings, run

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from pathlib import Path
from tests.batch.stub import Stubs, tasks
from vxedit.batch.processes import Processes
from vxedit.batch.run import RunSettings, run
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    given = tasks(folder / "clips", folder / "out", ["ball"] * 4)
    run(given, folder / "out", Processes(folder / "out", Stubs(folder / "notes", 20.0), 2), RunSettings())
"""


def test_two_workers_share_the_jobs(out: Path, notes: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 6 + ["bad"])
    tally = run(given, out, Processes(out, Stubs(notes, 0.2), 2), RunSettings())
    assert tally.done == 6 and list(tally.failed) == ["a06-edit.mp4"]
    assert all(whole(task, out) for task in given[:6]) and sorted(begun(notes)) == [f"a0{n}.mp4" for n in range(7)]
    log = Log(out)
    log.refresh()
    assert len({entry.worker for entry in log.last.values()}) == 2 == notes.read_text().count("load")
    assert {name for name in visible(out) if name.startswith(".")} == set()


def test_a_killed_worker_costs_its_running_job_one_try(out: Path, notes: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path / "clips", out, ["ball", "kills once", "killer", "ball"])
    tally = run(given, out, Processes(out, Stubs(notes), 2), RunSettings())
    assert tally.done == 3 and all(whole(given[n], out) for n in (0, 1, 3))
    assert "signal 9" in tally.failed["a02-edit.mp4"]
    assert begun(notes).count("a02.mp4") == 3, "tried again twice, since it needn't be the job's fault"
    assert visible(out) == {"batch.jsonl", *(f"a0{n}-edit.{kind}" for n in (0, 1, 3) for kind in ("mp4", "json"))}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that can't be caught")
def test_workers_end_with_a_parent_that_is_killed(out: Path, notes: Path, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], cwd=ROOT)
    wait_for(lambda: len(begun(notes)) == 2)
    workers = [int(line.split()[1]) for line in notes.read_text().splitlines() if line.startswith("load")]
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(alive(worker) for worker in workers))
    given = tasks(tmp_path / "clips", out, ["ball"] * 4)
    tally = run(given, out, Processes(out, Stubs(notes), 1), RunSettings())
    assert tally.done == 4 and all(whole(task, out) for task in given)
    assert visible(out) == {"batch.jsonl", *(f"a0{n}-edit.{kind}" for n in range(4) for kind in ("mp4", "json"))}


def wait_for(what: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        try:
            os.kill(process, 0)
        except OSError:
            return False
        return not Path("/proc").is_dir()
    return state != "Z"
