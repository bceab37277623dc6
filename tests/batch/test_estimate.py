"""How long a batch takes: from its own jobs, by their steps, divided among the workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.batch.stub import tasks
from vxedit.batch.estimate import EMBEDDED_S, estimate, spoken
from vxedit.batch.log import Entry
from vxedit.job import InvertSettings


def test_by_the_median_pace_of_what_is_done(out: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path / "clips", out, ["ball"] * 5)
    ten = [replace(task, job=replace(task.job, invert=InvertSettings(steps=10))) for task in given]
    last = {task.id: Entry(task.id, "done", seconds=s) for task, s in zip(ten[:3], (20.0, 30.0, 500.0), strict=True)}
    assert estimate(ten[3:], ten, last, workers=1).seconds == 2 * 30
    assert estimate(ten[3:], ten, last, workers=2).seconds == 30
    assert estimate([replace(ten[3], best_of=4)], ten, last, workers=1).seconds == 120


def test_before_anything_is_done(out: Path, tmp_path: Path) -> None:
    (task,) = tasks(tmp_path / "clips", out, ["ball"])
    assert estimate([task], [task], {}, workers=1).seconds == 20 * EMBEDDED_S
    other = replace(task, job=replace(task.job, model="zeroscope"))
    assert estimate([other], [other], {}, workers=1).seconds is None


def test_times_are_spoken_in_two_units() -> None:
    assert [spoken(s) for s in (0, 4.2, 60, 3725, 90000)] == ["0 s", "5 s", "1 min 0 s", "1 h 2 min", "1 d 1 h"]
