"""What is measured, in which order, and that what is kept is not measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vxedit.edit.locate import Located
from vxedit.evaluate import trials as measured
from vxedit.evaluate.case import crossing
from vxedit.evaluate.edits import OURS, PERFECT, RECIPES, WAYS, Way, side_ratio
from vxedit.evaluate.trials import Trial, run, trials
from vxedit.job import InvertSettings
from vxedit.make import Outcome


def test_every_way_is_measured_on_the_first_clips_and_vxedit_on_all() -> None:
    todo = list(trials(3, 2, 1, 2, 1, 10))
    assert [(t.kind, t.seed) for t in todo[:5]] == [
        ("real", 10), ("generated", 10), ("crossing", 10), ("half", 10), ("larger", 10),
    ]  # fmt: skip
    assert todo[0].ways == WAYS and todo[1].ways == (OURS, *RECIPES)
    assert all(t.ways == (OURS,) for t in todo[2:])
    assert sum(t.kind == "real" for t in todo) == 3 and sum(t.kind == "half" for t in todo) == 2


class Bench:
    """Stands for the model and the editing; counts what it was asked for."""

    identity = "model"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.edits: list[str] = []
        self.inversions = 0
        monkeypatch.setattr(measured, "invert", self.invert)
        monkeypatch.setattr(measured, "measure", self.measure)
        monkeypatch.setattr(measured, "forward_flops", lambda *_: 1e9)
        monkeypatch.setattr(measured, "replay_figures", lambda *_: {"replay_vae_db": 40.0})

    def encode(self, frames: np.ndarray) -> None:
        return None

    def invert(self, *_: Any) -> Any:
        self.inversions += 1
        return type("Inverted", (), {"forwards": 5, "backwards": 0, "clean": None})()

    def measure(
        self, _: Any, __: Any, one: Any, ___: Any, way: Way, *, flops: float
    ) -> tuple[Outcome, dict[str, float]]:
        self.edits.append(way.name)
        if way.name == "breaks":
            raise KeyboardInterrupt
        found = Located(one.clip.masks[0], one.clip.boxes[0])
        flat = (np.zeros((16, 1, 1), np.float32),)
        frames = one.clip.frames
        made = Outcome(frames, np.ones(frames.shape[:3]), (found,), (one.targets,), flat, flat, None, frames, ())
        return made, {"miou": 0.5, "cd": float("nan")}


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Any = Bench(monkeypatch)
    todo = [Trial("real", 1, (OURS, Way("breaks")))]
    with pytest.raises(KeyboardInterrupt):
        run(bench, None, todo, InvertSettings(steps=2), tmp_path, lambda _: None)  # type: ignore[arg-type]
    kept = {file.stem for file in tmp_path.glob("*/*/*.json")}
    assert kept == {OURS.name, "replay", PERFECT.replace(" ", "-")}
    row = json.loads((tmp_path / "real" / "0001" / f"{OURS.name}.json").read_text())
    assert row["identity"] == "model" and row["steps"] == 2 and row["figures"] == {"miou": 0.5, "cd": None}
    assert (tmp_path / "real" / "0001" / f"{OURS.name}.png").exists()
    told: list[str] = []
    again = [Trial("real", 1, (OURS, Way("other")))]
    run(bench, None, again, InvertSettings(steps=2), tmp_path, told.append)  # type: ignore[arg-type]
    assert bench.edits == [OURS.name, "breaks", "other"] and bench.inversions == 2
    run(bench, None, again, InvertSettings(steps=2), tmp_path, told.append)  # type: ignore[arg-type]
    assert bench.inversions == 2 and len(told) == 1


def test_crossing_objects_change_places() -> None:
    one = crossing(0)
    assert len(one.paths) == 2 and len(one.scene.actors) == 2
    assert not (one.clip.masks[0] & one.clip.masks[1]).any()
    before = [(boxes[0, 0] + boxes[0, 2]) / 2 for boxes in one.clip.boxes]
    after = [(targets[-1, 0] + targets[-1, 2]) / 2 for _, targets in one.paths]
    assert (before[0] < before[1]) == (after[0] > after[1])
    for k, (_, targets) in enumerate(one.paths):
        assert np.abs(one.truth.boxes[k] - targets).max() < 0.02
    assert (one.truth.masks[0] & one.truth.masks[1]).any()  # on the way they meet


def test_a_box_half_as_wide_and_high_is_off_by_a_half() -> None:
    target = np.array([[0.2, 0.2, 0.6, 0.6]] * 2)
    found = np.array([[0.3, 0.3, 0.5, 0.5], [np.nan] * 4])
    assert side_ratio(found, target) == pytest.approx(0.5)
    assert np.isnan(side_ratio(found[1:], target[1:]))
