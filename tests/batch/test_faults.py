"""Bad days, provoked for real: a full disk, a folder that can't be written, two runs at once, and SIGKILL at any
moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch.stub import Stubs, begun, tasks, visible, whole
from vxedit.batch.attempt import Bench
from vxedit.batch.executor import InProcess
from vxedit.batch.log import Log
from vxedit.batch.run import RunSettings, run
from vxedit.errors import OutputError

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from pathlib import Path
from tests.batch.stub import Stubs, tasks
from vxedit.batch.attempt import Bench
from vxedit.batch.executor import InProcess
from vxedit.batch.run import RunSettings, run
folder, out, count, seconds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
given = tasks(folder / "clips", out, ["ball"] * count)
run(given, out, InProcess(Bench(out, Stubs(folder / "notes", seconds))), RunSettings())
"""
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX")


def start(folder: Path, out: Path, count: int, seconds: float = 0.0, **how: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", RUN, str(folder), str(out), str(count), str(seconds)]
    return subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True, **how)


def states(out: Path) -> list[tuple[str, str]]:
    lines = []
    for line in (out / "batch.jsonl").read_bytes().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:  # cut by a kill
            continue
    return [(line["job"], line["state"]) for line in lines]


def results(count: int) -> set[str]:
    return {"batch.jsonl", *(f"a{n:02}-edit.{kind}" for n in range(count) for kind in ("mp4", "json"))}


@pytest.mark.timeout(200)
def test_killed_at_random_moments_nothing_is_lost_and_nothing_done_twice(
    out: Path, notes: Path, tmp_path: Path
) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 30)
    chance = random.Random(1)
    for kill in range(5):
        ran = start(tmp_path, out, 30, 0.05)
        wait_for_begun(notes, 3 * (kill + 1), ran)
        time.sleep(chance.uniform(0, 0.12))
        ran.kill()
        ran.communicate()
        for task in given:  # whatever is there is whole
            assert not (out / task.id).exists() or whole(task, out)
    ran = start(tmp_path, out, 30)
    assert ran.communicate()[1] == "" and ran.returncode == 0
    assert all(whole(task, out) for task in given) and visible(out) == results(30)
    done = [job for job, state in states(out) if state == "done"]
    assert sorted(done) == sorted(task.id for task in given), "each was recorded as done once"
    assert len(begun(notes)) <= 30 + 5, "a kill costs the running job alone"


@pytest.mark.timeout(200)
def test_two_runs_at_once_share_the_work(out: Path, notes: Path, tmp_path: Path) -> None:
    tasks(tmp_path / "clips", out, ["ball"] * 20)
    both = [start(tmp_path, out, 20, 0.1) for _ in range(2)]
    assert [ran.communicate()[1] for ran in both] == ["", ""] and [ran.returncode for ran in both] == [0, 0]
    assert sorted(begun(notes)) == [f"a{n:02}.mp4" for n in range(20)], "each was done once, by one of them"
    assert visible(out) == results(20) and notes.read_text().count("load") == 2
    assert all(whole(task, out) for task in tasks(tmp_path / "clips", out, ["ball"] * 20))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_the_run_with_its_reason_and_the_next_goes_on(
    small_disk: Path, notes: Path, tmp_path: Path
) -> None:
    given = tasks(tmp_path / "clips", small_disk, ["ball"] * 12)
    for task in given:
        task.job.input.write_bytes(b"x" * 20_000)  # some six of them fit
    executor = InProcess(Bench(small_disk, Stubs(notes)))
    tally = None
    try:
        tally = run(given, small_disk, executor, RunSettings())
    except OutputError as err:
        assert "free some space" in str(err)
    assert tally is None or (tally.done < 12 and all("pace" in one for one in tally.failed.values()))
    there = [task for task in given if (small_disk / task.id).exists()]
    assert 2 <= len(there) < 12 and all(whole(task, small_disk) for task in there)
    assert not [name for name in visible(small_disk) if name.startswith(".")]
    for task in there[1:]:
        (small_disk / task.id).write_bytes(b"")
    for task in given:
        task.job.input.write_bytes(b"small")
    assert run(given, small_disk, executor, RunSettings()).done == 12
    assert all(whole(task, small_disk) for task in given)


def test_a_folder_that_can_t_be_written(out: Path, notes: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 2)
    run(given[:1], out, InProcess(Bench(out, Stubs(notes))), RunSettings())
    read_only = subprocess.run(["mount", "--bind", "-o", "ro", str(out), str(out)], capture_output=True)
    if read_only.returncode:
        out.chmod(0o555)
        if os.access(out, os.W_OK):
            pytest.skip("everything can be written by this user")
    try:
        with pytest.raises(OutputError, match="can't be writ"):
            run(given, out, InProcess(Bench(out, Stubs(notes))), RunSettings())
        assert begun(notes) == ["a00.mp4"], "nothing was begun whose state can't be kept"
        assert visible(out) == results(1)
    finally:
        if not read_only.returncode:
            subprocess.run(["umount", str(out)], check=True)
        out.chmod(0o755)


def test_a_poisoned_log_costs_work_and_no_more(out: Path, notes: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 3)
    run(given, out, InProcess(Bench(out, Stubs(notes))), RunSettings())
    log = Log(out).path
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"state":"done"', b'"state":"done" "')  # the first job's
    evil = {"job": "a01-edit.mp4", "state": "done", "files": {"../../etc/passwd": 1}, "key": "x"}
    log.write_bytes(b"".join(lines) + b"\x00\xff\n" + json.dumps(evil).encode() + b"\n")
    tally = run(given, out, InProcess(Bench(out, Stubs(notes))), RunSettings())
    assert (tally.done, tally.already, tally.failed) == (2, 1, {})


def wait_for_begun(notes: Path, count: int, ran: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while len(begun(notes)) < count and ran.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
