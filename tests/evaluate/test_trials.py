"""What is measured, in which order, and that what is kept is not measured again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vxedit.edit.locate import Located
from vxedit.evaluate import trials as measured
from vxedit.evaluate.case import case, crossing
from vxedit.evaluate.edits import OURS, PERFECT, RECIPES, WAYS, Way, side_ratio
from vxedit.evaluate.page import read_kept, unpictured
from vxedit.evaluate.trials import Trial, forget, run, shard, trials
from vxedit.job import InvertSettings
from vxedit.make import Outcome


def test_every_way_is_measured_on_the_first_clips_and_vxedit_on_all() -> None:
    todo = list(trials(3, 2, 2, 1, 2, 1, 1, 10))
    assert [(t.kind, t.seed) for t in todo[:6]] == [
        ("real", 10), ("half", 10), ("larger", 10), ("words", 10), ("generated", 10), ("crossing", 10),
    ]  # fmt: skip
    ways = {(t.kind, t.seed): t.ways for t in todo}
    assert ways["real", 10] == WAYS
    assert ways["real", 11] == ways["generated", 10] == ways["generated", 11] == (OURS, *RECIPES)
    assert all(t.ways == (OURS,) for t in todo if t.kind not in ("real", "generated") or t.seed == 12)
    assert sum(t.kind == "real" for t in todo) == 3 and sum(t.kind == "half" for t in todo) == 2


def test_shares_of_the_work_leave_nothing_out_and_part_no_seed() -> None:
    todo = list(trials(5, 4, 1, 1, 3, 2, 2, 7))
    shares = [shard(todo, part, 3) for part in (1, 2, 3)]
    assert sorted(repr(trial) for share in shares for trial in share) == sorted(map(repr, todo))
    seeds = [{trial.seed for trial in share} for share in shares]
    assert not (seeds[0] & seeds[1] or seeds[1] & seeds[2] or seeds[0] & seeds[2]) and all(seeds)
    assert shard(todo, 1, 1) == todo


class Bench:
    """Stands for the model and the editing; counts what it was asked for."""

    identity, dtype, steps = "model", torch.bfloat16, 9

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
        return _standing(one), {"miou": 0.5, "cd": float("nan")}


def _standing(one: Any) -> Outcome:
    """A case's clip as it is, for an outcome."""
    found = Located(one.clip.masks[0], one.clip.boxes[0])
    flat = (np.zeros((16, 1, 1), np.float32),)
    frames = one.clip.frames
    return Outcome(frames, np.ones(frames.shape[:3]), (found,), (one.targets,), flat, flat, None, frames, ())


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Any = Bench(monkeypatch)
    todo = [Trial("real", 1, (OURS, Way("breaks")))]
    with pytest.raises(KeyboardInterrupt):
        run(bench, None, todo, InvertSettings(steps=2), tmp_path, lambda _: None)  # type: ignore[arg-type]
    kept = {file.stem for file in tmp_path.glob("*/*/*.json")}
    assert kept == {OURS.name, "replay", PERFECT.replace(" ", "-")}
    row = json.loads((tmp_path / "real" / "0001" / f"{OURS.name}.json").read_text())
    assert row["identity"] == "model" and row["dtype"] == "bfloat16" and row["steps"] == 2
    assert row["figures"] == {"miou": 0.5, "cd": None}
    assert (tmp_path / "real" / "0001" / f"{OURS.name}.png").exists()
    told: list[str] = []
    again = [Trial("real", 1, (OURS, Way("other")))]
    run(bench, None, again, InvertSettings(steps=2), tmp_path, told.append)  # type: ignore[arg-type]
    assert bench.edits == [OURS.name, "breaks", "other"] and bench.inversions == 2
    run(bench, None, again, InvertSettings(steps=2), tmp_path, told.append)  # type: ignore[arg-type]
    assert bench.inversions == 2 and len(told) == 1


def test_what_came_without_a_picture_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Any = Bench(monkeypatch)
    todo = [Trial("real", 1, (OURS,)), Trial("real", 2, (OURS,))]
    run(bench, None, todo, InvertSettings(steps=2), tmp_path, lambda _: None)  # type: ignore[arg-type]
    for name in ("0001/vxedit.png", "0002/a-perfect-edit.png"):
        (tmp_path / "real" / name).unlink()
    lacking = unpictured(read_kept(tmp_path))
    assert lacking == {("real", 1, OURS.name), ("real", 2, PERFECT)}
    forget(todo[:1], tmp_path, lacking)  # another's share of the work stays
    assert (tmp_path / "real" / "0002" / "a-perfect-edit.json").exists()
    forget(todo, tmp_path, lacking)
    run(bench, None, todo, InvertSettings(steps=2), tmp_path, lambda _: None)  # type: ignore[arg-type]
    assert not unpictured(read_kept(tmp_path)) and bench.edits == [OURS.name] * 3


def test_trials_of_one_clip_share_its_inversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Any = Bench(monkeypatch)
    monkeypatch.setattr(measured, "measure_word", lambda *a, **k: (_standing(a[2]), {"became": 1.0}))
    todo = [Trial(kind, seed, (OURS,)) for seed in (1, 2) for kind in ("real", "half", "words")]  # type: ignore[arg-type]
    run(bench, None, todo, InvertSettings(steps=2), tmp_path, lambda _: None)  # type: ignore[arg-type]
    assert bench.inversions == 2 and len(bench.edits) == 4
    word = json.loads((tmp_path / "words" / "0002" / f"{OURS.name}.json").read_text())
    assert word["figures"] == {"became": 1.0} and not (tmp_path / "words" / "0002" / "replay.json").exists()
    assert (tmp_path / "real" / "0002" / "replay.json").exists()
    run(bench, None, [Trial("crossing", 2, (OURS,))], InvertSettings(steps=2), tmp_path, lambda _: None)  # type: ignore[arg-type]
    assert bench.inversions == 3  # a crossing is another clip


def test_a_generated_clip_takes_the_model_s_own_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Any = Bench(monkeypatch)
    one = SimpleNamespace(made=SimpleNamespace(clean=None), frames=case(3).clip.frames)
    monkeypatch.setattr(measured, "drawn", lambda backbone, seed: one)
    monkeypatch.setattr(measured, "drawn_figures", lambda drawn: {"found": 1.0})
    monkeypatch.setattr(measured, "measure_twin", lambda *a, **k: (_standing(case(3)), {"miou": 0.5}))
    run(bench, None, [Trial("generated", 3, (OURS,))], InvertSettings(steps=2), tmp_path, lambda _: None)  # type: ignore[arg-type]
    for name in (OURS.name, "original"):
        assert json.loads((tmp_path / "generated" / "0003" / f"{name}.json").read_text())["steps"] == 9


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
