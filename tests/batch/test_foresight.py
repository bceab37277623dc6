"""The next job made ready beside the one that is worked on."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.batch.stub import Stub, Stubs, tasks
from tests.footage import PROMPT, write_footage
from vxedit import plan as module
from vxedit.batch.attempt import Bench, Order
from vxedit.batch.executor import InProcess
from vxedit.batch.foresight import Foreseen
from vxedit.batch.run import RunSettings, run
from vxedit.batch.work import Editor
from vxedit.io.quiet import caught_stderr
from vxedit.job import GenJob, InvertSettings, RealJob
from vxedit.plan import Plan


@pytest.fixture
def job(checkpoint: Path, tmp_path: Path) -> RealJob:
    clip = write_footage(tmp_path / "clip.mp4")
    invert = InvertSettings(kind="uni", steps=3, guidance_scale=1.0)
    box = (0.15, 0.3, 0.45, 0.7)
    return RealJob(clip, tmp_path / "out.mp4", "ball", "left", PROMPT, box, model=str(checkpoint), invert=invert)


def test_a_plan_is_the_job_s_wherever_its_result_goes(job: RealJob, tmp_path: Path) -> None:
    there = replace(job, output=tmp_path / "workplace.mp4")
    found = Foreseen(job).plan_of(there)
    assert found is not None
    assert found.job == there
    assert found.files["video"] == there.output
    assert len(found.footage) == 6
    found.footage.close()


def test_another_job_or_a_clip_that_changed_is_planned_anew(job: RealJob) -> None:
    assert Foreseen(job).plan_of(replace(job, path="right")) is None
    foreseen = Foreseen(job)
    about = job.input.stat()
    os.utime(job.input, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert foreseen.plan_of(job) is None


def test_what_goes_wrong_is_left_to_the_job(job: RealJob) -> None:
    assert Foreseen(replace(job, obj="zebra")).plan_of(replace(job, obj="zebra")) is None


def test_the_worker_edits_by_the_plan_that_was_foreseen(
    job: RealJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[str] = []
    plain = module.plan

    def noted(asked: RealJob) -> Plan:
        planned.append(threading.current_thread().name)
        return plain(asked)

    monkeypatch.setattr(module, "plan", noted)
    monkeypatch.setattr("vxedit.real.plan", noted)
    work = Editor(0, 1, tmp_path / "store")
    work.foresee(job)
    work(job)
    assert job.output.is_file()
    assert len(planned) == 1
    assert planned[0] != threading.main_thread().name
    work(replace(job, output=tmp_path / "again.mp4"))
    assert planned[1:] == [threading.main_thread().name]


class Foreseeing(Stub):
    def foresee(self, job: RealJob | GenJob) -> None:
        assert isinstance(job, RealJob)
        with self.notes.open("a") as file:
            file.write(f"foresee {job.input.name}\n")


class Makes(Stubs):
    def __call__(self, slot: int, of: int) -> Foreseeing:
        return Foreseeing(self.notes, self.seconds)


def test_the_batch_names_the_next_job_as_one_begins(tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes.txt"
    out.mkdir()
    wanted = tasks(tmp_path / "in", out, ["ball"] * 3)
    run(wanted, out, InProcess(Bench(out, Makes(notes))), RunSettings())
    lines = [line for line in notes.read_text().splitlines() if not line.startswith("load")]
    assert lines == [
        *("foresee a01.mp4", "begin a00.mp4"),
        *("foresee a02.mp4", "begin a01.mp4"),
        "begin a02.mp4",
    ]
    assert Order(wanted[0]).after is None


def test_threads_that_catch_stderr_put_it_back() -> None:
    """Without waiting for each other the one that ends last puts back the other's file."""
    before = os.fstat(2).st_ino
    inside, both, left = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with caught_stderr():
            inside.set()
            both.wait(0.3)
        left.set()

    def second() -> None:
        inside.wait(5)
        with caught_stderr():
            both.set()
            left.wait(5)

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.fstat(2).st_ino == before
