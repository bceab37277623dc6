"""A run in this process: what is done, what is tried again, what is passed over, and that nothing stops the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.batch.stub import Stubs, begun, tasks, visible, whole
from vxedit.batch.attempt import Bench
from vxedit.batch.executor import InProcess
from vxedit.batch.log import Log
from vxedit.batch.run import RunSettings, Tally, run, shard
from vxedit.batch.task import Task
from vxedit.errors import UsageError


@pytest.fixture
def go(out: Path, notes: Path) -> Callable[..., Tally]:
    def call(given: list[Task], settings: RunSettings | None = None, **named: object) -> Tally:
        return run(given, out, InProcess(Bench(out, Stubs(notes))), settings or RunSettings(), **named)

    return call


def states(out: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in (out / "batch.jsonl").read_text().splitlines()]
    return [(line["job"], line["state"]) for line in lines]


def test_every_job_is_done_and_written_down(out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]) -> None:
    given = tasks(tmp_path / "clips", out, ["ball", "ball"])
    told: list[int] = []
    tally = go(given, told=lambda tally: told.append(tally.done))
    assert (tally.total, tally.done, tally.already, tally.failed) == (2, 2, 0, {}) and told == [0, 1, 2]
    assert all(whole(task, out) for task in given)
    assert visible(out) == {"batch.jsonl", *(f"a0{n}-edit.{kind}" for n in (0, 1) for kind in ("mp4", "json"))}
    assert states(out) == [(f"a0{n}-edit.mp4", state) for n in (0, 1) for state in ("started", "done")]
    record = json.loads((out / "a00-edit.json").read_text())
    assert record["job"]["output"] == str(out / "a00-edit.mp4")
    assert record["batch"]["row"] == "jobs.csv:2" and len(record["batch"]["key"]) == 64
    assert notes.read_text().count("load") == 1, "the model loads once a worker"


def test_what_is_done_is_passed_over(out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 3)
    go(given)
    again = go(given)
    assert (again.total, again.already) == (0, 3) and len(begun(notes)) == 3
    assert go(given, RunSettings(again=True)).done == 3 and len(begun(notes)) == 6


@pytest.mark.parametrize("change", ["setting", "content", "lost result", "cut result", "same bytes"])
def test_what_has_changed_is_done_anew(
    change: str, out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]
) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 2)
    go(given)
    first, clip = given[0], given[0].job.input
    if change == "setting":
        given[0] = replace(first, job=replace(first.job, edit=replace(first.job.edit, strength=0.3)))
    elif change == "content":
        clip.write_bytes(b"other")
    elif change == "lost result":
        (out / first.id).unlink()
    elif change == "cut result":
        (out / first.id).write_bytes(b"ed")
    else:
        os.utime(clip, ns=(1, 1))  # a copy of the same content
    assert go(given).done == (0 if change == "same bytes" else 1)
    assert begun(notes)[2:] == ([] if change == "same bytes" else ["a00.mp4"])
    assert whole(given[0], out)


def test_moving_the_clips_changes_nothing(out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]) -> None:
    go(tasks(tmp_path / "clips", out, ["ball"]))
    (tmp_path / "clips").rename(tmp_path / "moved")
    assert go(tasks(tmp_path / "moved", out, ["ball"])).already == 1


def test_one_failure_never_stops_the_rest(out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]) -> None:
    given = tasks(tmp_path / "clips", out, ["bad", "bug", "hungry", "meaningless", "ball"])
    tally = go(given, RunSettings(retry=1))
    assert tally.done == 1 and whole(given[4], out)
    assert list(tally.failed) == ["a03-edit.mp4", "a00-edit.mp4", "a01-edit.mp4", "a02-edit.mp4"]
    assert tally.failed["a00-edit.mp4"] == f"{tmp_path / 'clips' / 'a00.mp4'} is no video", "one line"
    assert tally.failed["a01-edit.mp4"] == "unexpected RuntimeError: a <b>bug</b>"
    assert "doesn't fit into memory" in tally.failed["a02-edit.mp4"]
    assert begun(notes).count("a00.mp4") == 2 and begun(notes).count("a03.mp4") == 1, "what can't be meant, once"
    assert visible(out) == {"batch.jsonl", "a04-edit.mp4", "a04-edit.json"}


def test_retries(out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]) -> None:
    given = tasks(tmp_path / "clips", out, ["flaky"])
    assert go(given, RunSettings(retry=1)).failed == {"a00-edit.mp4": "not yet"}
    assert go(given).done == 1, "what failed is tried by the next run"


def test_fail_fast(out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]) -> None:
    tally = go(tasks(tmp_path / "clips", out, ["ball", "bad", "ball"]), RunSettings(fail_fast=True))
    assert (tally.done, len(tally.failed), tally.left) == (1, 1, 1)


def test_limit_counts_what_is_to_do(out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 5)
    for done in (2, 4, 5):
        go(given, RunSettings(limit=2))
        assert len(begun(notes)) == done


def test_shards_divide_the_whole(out: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 7)
    parts = [shard(given, index, 3) for index in (1, 2, 3)]
    assert [len(part) for part in parts] == [3, 2, 2]
    assert sorted(task.id for part in parts for task in part) == [task.id for task in given]
    with pytest.raises(UsageError, match="1/3"):
        shard(given, 4, 3)


def test_once_asked_to_stop_the_running_job_is_finished(
    out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]
) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 3)
    tally = go(given, stopping=lambda: bool(begun(notes)))
    assert (tally.done, tally.left) == (1, 2) and whole(given[0], out)


def test_files_that_are_not_the_batch_s_are_left_alone(
    out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]
) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"])
    (out / "a00-edit.mp4").write_bytes(b"precious")
    assert "isn't this batch's" in go(given).failed["a00-edit.mp4"]
    assert (out / "a00-edit.mp4").read_bytes() == b"precious" and begun(notes) == []
    Log(out).path.unlink()
    assert go(given, RunSettings(overwrite=True)).done == 1 and whole(given[0], out)


def test_a_clip_that_changes_or_vanishes_while_it_is_edited(
    out: Path, notes: Path, tmp_path: Path, go: Callable[..., Tally]
) -> None:
    given = tasks(tmp_path / "clips", out, ["grows", "vanishes", "ball"])
    tally = go(given)
    assert "changed while it was edited" in tally.failed["a00-edit.mp4"]
    assert "moved or removed" in tally.failed["a01-edit.mp4"]
    assert tally.done == 1 and visible(out) == {"batch.jsonl", "a02-edit.mp4", "a02-edit.json"}
