"""The worker that edits, on a tiny model of random weights: it loads once, shares inversions, and survives a poisoned
one; and the best of several seeds."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.batch.stub import visible
from tests.footage import PROMPT
from vxedit.backbones import registry
from vxedit.batch.attempt import Bench
from vxedit.batch.executor import InProcess
from vxedit.batch.run import RunSettings, Tally, run
from vxedit.batch.task import Task
from vxedit.batch.work import Editors, Made, tried
from vxedit.io.read import read_video
from vxedit.io.record import read_record
from vxedit.job import EditSettings, GenerateSettings, GenJob, InvertSettings, RealJob


@pytest.fixture
def given(out: Path, footage: Path, checkpoint: Path) -> list[Task]:
    job = RealJob(
        footage,
        out / "a.mp4",
        "ball",
        "by:+0.25,0",
        prompt=PROMPT,
        box=(0.15, 0.3, 0.45, 0.7),
        model=str(checkpoint),
        device="cpu",
        invert=InvertSettings("uni", 2, 2.5),
        edit=EditSettings(0.7, 5),
    )
    other = replace(job, output=out / "b.mp4", path="by:-0.1,0")
    return [Task("a.mp4", "m:1", job), Task("deep/b.mp4", "m:2", replace(other, output=out / "deep/b.mp4"))]


def go(tasks: list[Task], out: Path, store: Path, **settings: bool) -> Tally:
    return run(tasks, out, InProcess(Bench(out, Editors(store), judge=lambda file: 1.0)), RunSettings(**settings))


def test_the_model_loads_once_inversions_are_shared_and_a_poisoned_one_is_made_again(
    given: list[Task], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loads: list[str] = []
    load = registry.load
    monkeypatch.setattr("vxedit.model.load", lambda model, **how: (loads.append(model), load(model, **how))[1])
    store = tmp_path / "store"
    assert go(given, out, store).failed == {}
    assert len(loads) == 1 and len(list(store.iterdir())) == 1
    assert visible(out) == {
        *("batch.jsonl", "deep"),
        *(f"{name}.{kind}" for name in ("a", "deep/b") for kind in ("mp4", "json", "png")),
    }
    records = [read_record(out / name) for name in ("a.json", "deep/b.json")]
    assert [record["cost"]["inversion_from_store"] for record in records] == [False, True]
    assert records[1]["job"]["output"] == str(out / "deep/b.mp4") and records[1]["batch"]["row"] == "m:2"
    (entry,) = store.iterdir()
    data = bytearray(entry.read_bytes())
    data[-20] ^= 255
    entry.write_bytes(data)
    before = read_video(out / "a.mp4").frames
    with caplog.at_level(logging.WARNING, "vxedit"):
        assert go(given[:1], out, store, again=True).failed == {}
    assert "damaged" in caplog.text and (read_video(out / "a.mp4").frames == before).all()


def test_a_generated_job_and_a_damaged_clip(given: list[Task], out: Path, tmp_path: Path, checkpoint: Path) -> None:
    settings = GenerateSettings(steps=2, num_frames=2, size=(64, 64))
    made = GenJob("a red ball", out / "g.mp4", model=str(checkpoint), device="cpu", generate=settings)
    (tmp_path / "text.mp4").write_text("no video")
    bad = replace(given[0], id="bad.mp4", job=replace(given[0].job, input=tmp_path / "text.mp4"))
    tally = go([bad, Task("g.mp4", "m:3", made)], out, tmp_path / "store")
    assert tally.done == 1 and "isn't a video" in tally.failed["bad.mp4"]
    assert visible(out) == {"batch.jsonl", "g.mp4", "g.json", "g.png"}


def test_the_best_of_several_seeds_is_kept_and_said(given: list[Task], out: Path, notes: Path) -> None:
    def work(job: RealJob | GenJob) -> Made:
        job.output.write_text(str(job.edit.seed))
        return Made({"seed": float(job.edit.seed)})

    def judge(file: Path) -> float:
        return {5: 0.1, 6: float("nan"), 7: 0.9, 8: 0.9}[int(file.read_text())]

    job = replace(given[0].job, output=notes / "a.mp4")
    notes.mkdir()
    made, scores, folder = tried(work, job, 4, judge)
    assert made.figures == {"seed": 7.0} and (folder / "a.mp4").read_text() == "7"
    assert scores == [
        {"seed": 5, "score": 0.1},
        {"seed": 6, "score": float("-inf")},
        {"seed": 7, "score": 0.9},
        {"seed": 8, "score": 0.9},
    ]


def test_the_record_says_which_seeds_were_tried(given: list[Task], out: Path, tmp_path: Path) -> None:
    scores = iter([0.2, 0.8])
    bench = Bench(out, Editors(tmp_path / "store"), judge=lambda file: next(scores))
    assert run([replace(given[0], best_of=2)], out, InProcess(bench), RunSettings()).failed == {}
    record = read_record(out / "a.json")
    assert record["job"]["edit"]["seed"] == record["batch"]["best_of"]["kept_seed"] == 6
    assert record["batch"]["best_of"]["tried"] == [{"seed": 5, "score": 0.2}, {"seed": 6, "score": 0.8}]
    assert record["job"]["output"] == str(out / "a.mp4")
    assert visible(out) == {"batch.jsonl", "a.mp4", "a.json", "a.png"}
