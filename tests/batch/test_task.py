"""What makes two jobs the same: what was asked and what the files hold, and not where they lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.batch.stub import tasks
from vxedit.batch.content import changed, contents
from vxedit.batch.task import Task, key
from vxedit.errors import InputError
from vxedit.job import EditSettings, Extras, GenJob, InvertSettings, ObjectJob, RealJob


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return tasks(tmp_path / "clips", tmp_path / "out", ["ball"])[0]


def job_key(task: Task) -> str:
    return key(task.settings(), {name: one.sha256 for name, one in contents(task.reads()).items()})


def test_where_things_lie_and_run_makes_no_difference(task: Task, tmp_path: Path) -> None:
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(task.job.input.read_bytes())
    other = replace(task.job, input=moved, output=tmp_path / "x.mp4", device="cuda:3", overwrite=True)
    assert job_key(replace(task, job=other, where="b.csv:9")) == job_key(task)


@pytest.mark.parametrize(
    "change",
    [
        {"obj": "duck"},
        {"path": "right"},
        {"prompt": "a duck"},
        {"box": (0.0, 0.0, 1.0, 1.0)},
        {"model": "zeroscope"},
        {"dtype": "bf16"},
        {"invert": InvertSettings(steps=3)},
        {"edit": EditSettings(seed=1)},
        {"extras": Extras(gif=True)},
        {"others": (ObjectJob("duck", "left"),)},
    ],
)
def test_every_setting_makes_a_difference(task: Task, change: dict) -> None:
    assert job_key(replace(task, job=replace(task.job, **change))) != job_key(task)


def test_so_do_the_number_of_seeds_and_every_file_s_content(task: Task, tmp_path: Path) -> None:
    assert job_key(replace(task, best_of=2)) != job_key(task)
    masks, path = tmp_path / "masks", tmp_path / "p.json"
    masks.mkdir()
    (masks / "0.png").write_bytes(b"0")
    path.write_bytes(b"{}")
    given = replace(task, job=replace(task.job, prompt=None, mask=masks, path=str(path)))
    keys = {job_key(given)}
    for file in (task.job.input, task.job.input.with_suffix(".txt"), masks / "0.png", masks / "1.png", path):
        file.write_bytes(b"changed")
        keys.add(job_key(given))
    assert len(keys) == 6


def test_a_generated_job_reads_its_original(tmp_path: Path) -> None:
    job = GenJob("a dog", tmp_path / "a.mp4", original=tmp_path / "o.json")
    assert Task("a.mp4", "r:1", job).reads() == {"original": tmp_path / "o.json"}
    assert Task("a.mp4", "r:1", job).settings() != Task("a.mp4", "r:1", replace(job, prompt="a cat")).settings()


def test_a_drawn_seed_depends_on_the_row_alone(task: Task) -> None:
    first = task.seeded()
    drawn = replace(task, job=replace(task.job, edit=EditSettings(seed=99)))
    assert drawn.seeded() == first and isinstance(first.job, RealJob)
    assert replace(task, id="other.mp4").seeded().job.edit.seed != first.job.edit.seed


def test_a_file_is_read_again_only_where_it_looks_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    known = contents({"input": file})
    assert changed({"input": file}, known) is None

    def never(path: Path) -> str:
        raise AssertionError("it was read")

    monkeypatch.setattr("vxedit.batch.content.sha256", never)
    assert contents({"input": file}, known) == known
    file.write_bytes(b"other")
    with pytest.raises(AssertionError):
        contents({"input": file}, known)
    assert changed({"input": file}, known) == file
    file.unlink()
    with pytest.raises(InputError, match="moved or removed"):
        changed({"input": file}, known)
