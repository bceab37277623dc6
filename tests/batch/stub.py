"""A worker that edits nothing: what it does is said by the object's name, and a line is left of every job begun."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from vxedit.batch.task import Task
from vxedit.batch.work import Made
from vxedit.errors import InputError, UsageError
from vxedit.io.record import write_record
from vxedit.job import GenJob, RealJob
from vxedit.job_json import job_to_json


@dataclass(frozen=True)
class Stubs:
    """Makes the workers. `notes` gets a line for every job begun; `seconds` is what one takes."""

    notes: Path
    seconds: float = 0.0

    def __call__(self, slot: int, of: int) -> Stub:
        return Stub(self.notes, self.seconds)


class Stub:
    def __init__(self, notes: Path, seconds: float) -> None:
        self.notes, self.seconds = notes, seconds
        note(notes, f"load {os.getpid()}")

    def __call__(self, job: RealJob | GenJob) -> Made:
        assert isinstance(job, RealJob)
        tries = note(self.notes, f"begin {job.input.name}")
        if job.obj == "bad":
            raise InputError(f"{job.input} is\nno video")
        if job.obj == "meaningless":
            raise UsageError("that can't be meant")
        if job.obj == "bug":
            raise RuntimeError("a <b>bug</b>")
        if job.obj == "hungry":
            bytearray(1 << 46)  # more than any machine has
        if job.obj == "killer" or (job.obj == "kills once" and tries == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if job.obj == "flaky" and tries < 3:
            raise InputError("not yet")
        source = job.input.read_bytes()
        if job.obj == "grows":
            job.input.write_bytes(job.input.read_bytes() + b"more")
        if job.obj == "vanishes":
            job.input.unlink()
        half = job.output.with_name("half.mp4")
        half.write_bytes(b"half")
        time.sleep(self.seconds)
        half.unlink()
        write_record(job.output.with_suffix(".json"), {"job": job_to_json(job)})
        job.output.write_bytes(b"edited " + source + str(job.edit.seed).encode())
        return Made({"energy_after": 0.5}, ("a warning",))


def note(notes: Path, line: str) -> int:
    """Add a line; how often it is there now."""
    with notes.open("a") as file:
        file.write(line + "\n")
    return notes.read_text().splitlines().count(line)


def begun(notes: Path) -> list[str]:
    """The clips that were begun, in order."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [line.removeprefix("begin ") for line in lines if line.startswith("begin ")]


def tasks(folder: Path, out: Path, objects: list[str]) -> list[Task]:
    """A task and a clip an object: a00.mp4, a01.mp4, ..."""
    folder.mkdir(exist_ok=True)
    found = []
    for number, obj in enumerate(objects):
        clip = folder / f"a{number:02}.mp4"
        if not clip.exists():
            clip.write_bytes(f"clip {number}".encode())
        job = RealJob(clip, out / f"a{number:02}-edit.mp4", obj, "left", prompt="a ball")
        found.append(Task(job.output.name, f"jobs.csv:{number + 2}", job))
    return found


def visible(out: Path) -> set[str]:
    """Everything in a folder, hidden things too."""
    return {str(path.relative_to(out)) for path in out.rglob("*")}


def whole(task: Task, out: Path) -> bool:
    """Whether a task's result is there and is its input's."""
    assert isinstance(task.job, RealJob)
    wanted = b"edited " + task.job.input.read_bytes() + str(task.job.edit.seed).encode()
    return (out / task.id).read_bytes() == wanted and (out / task.id).with_suffix(".json").is_file()
