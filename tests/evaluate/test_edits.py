"""Cases whose truth is known, and that their figures tell a perfect edit from none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import write_tiny_checkpoint
from vxedit.backbones.registry import load, outline
from vxedit.edit.locate import Located
from vxedit.edit.path import parse_path
from vxedit.evaluate.edits import FPS, OURS, PAPER, PERFECT, Case, case, edit_figures, evaluate
from vxedit.evaluate.report import edit_table, replay_table, sheet_of
from vxedit.job import InvertSettings
from vxedit.real import Clock, Outcome

SEEDS = range(6)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case(seed) for seed in SEEDS]


def centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def test_a_case_is_its_seed_s(cases: list[Case]) -> None:
    again = case(SEEDS[1])
    assert np.array_equal(again.clip.frames, cases[1].clip.frames)
    assert np.array_equal(again.truth.frames, cases[1].truth.frames)
    assert again.path == cases[1].path and np.array_equal(again.targets, cases[1].targets)
    assert len({one.path for one in cases}) == len(cases)


def test_a_path_is_far_from_the_source_and_keeps_the_object_in_the_frame(cases: list[Case]) -> None:
    for one in cases:
        source = one.clip.boxes[0]
        assert one.targets.min() >= 0 and one.targets.max() <= 1
        assert np.linalg.norm(centres(one.targets) - centres(source), axis=1).mean() > 1 / 8
        assert one.targets[:, 2:] - one.targets[:, :2] == pytest.approx(source[:, 2:] - source[:, :2])


def test_the_path_as_written_gives_the_targets(cases: list[Case]) -> None:
    """Keyframes without a size keep the source's, which is the truth's."""
    for one in cases:
        times = np.arange(len(one.targets)) / float(FPS)
        sampled = parse_path(one.path).sample(times, start_boxes=one.clip.boxes[0])
        assert np.abs(sampled.boxes - one.targets).max() < 1e-3 and sampled.warnings == ()


def test_the_truth_has_the_object_at_its_targets(cases: list[Case]) -> None:
    for one in cases:
        side = one.clip.frames.shape[1]
        assert np.abs(one.truth.boxes[0] - one.targets).max() * side < 1.5
        assert np.array_equal(one.truth.clean, one.clip.clean)  # the same background under the same camera
        apart = (one.truth.frames != one.clip.frames).any(-1)
        near = one.truth.masks[0] | one.clip.masks[0]
        assert apart[near].mean() > 0.9 and (one.truth.frames != one.clip.frames).any(-1)[~near].mean() < 0.1


def outcome(one: Case, frames: np.ndarray) -> Outcome:
    """An edit whose region is the object's old and new place."""
    alpha = (one.clip.masks[0] | one.truth.masks[0]).astype(np.float32)
    found = Located(one.clip.masks[0], one.clip.boxes[0])
    flat = np.ones((len(frames), 8, 8), np.float32)
    return Outcome(frames, alpha, found, one.targets, flat, flat, None, one.clip.frames, ())


def test_a_perfect_edit_scores_well_and_none_scores_badly(cases: list[Case]) -> None:
    one = cases[1]
    perfect = edit_figures(None, one, outcome(one, one.truth.frames), Clock())  # type: ignore[arg-type]
    assert perfect["cd"] < 0.01 and perfect["miou"] > 0.85 and perfect["ap50"] == 1 and perfect["coverage"] == 1
    assert perfect["ghost"] < 0.05 and perfect["truth_db"] == 100 and perfect["mask_iou"] == 1
    nothing = edit_figures(None, one, outcome(one, one.clip.frames), Clock())  # type: ignore[arg-type]
    assert nothing["cd"] > 0.1 and nothing["miou"] < 0.4 and nothing["ap50"] < 0.2
    assert nothing["ghost"] > 0.95 and nothing["truth_db"] < 30 and nothing["background_db"] == 100
    assert nothing["likeness"] == pytest.approx(perfect["likeness"], abs=0.05)


def test_a_run_measures_replay_and_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: list[Case]
) -> None:
    """On random weights, so the figures are poor; what holds whatever the model is must hold."""
    seed = SEEDS[1]
    truth = Located(cases[1].clip.masks[0], cases[1].clip.boxes[0])
    monkeypatch.setattr("vxedit.real.find_object", lambda *_: truth)  # random attention finds no object
    folder = str(write_tiny_checkpoint(tmp_path / "tiny", vxedit={"height": 128, "width": 128}))
    told: list[str] = []
    kept: list[tuple[str, Outcome]] = []
    report = evaluate(
        load(folder, device="cpu"),
        outline(folder),
        [seed],
        (OURS, PAPER),
        InvertSettings("uni", 2, 2.5),
        others=0,
        tell=told.append,
        keep=lambda one, row, made: kept.append((row.name, made)),
    )
    assert set(report) == {"replay", PERFECT, OURS.name, PAPER.name}
    assert [name for name, _ in kept] == [OURS.name] and report[PAPER.name] == []
    (replay,), (perfect,), (ours,) = (report[name] for name in ("replay", PERFECT, OURS.name))
    assert perfect["cd"] < 0.01 and perfect["ghost"] < 0.05
    assert replay["replay_pinned_db"] == pytest.approx(replay["replay_vae_db"], abs=0.01)
    assert abs(replay["replay_honest_db"] - replay["replay_vae_db"]) > 0.01
    assert replay["inversion_forwards"] >= 2
    assert ours["background_db"] == 100 and ours["mask_iou"] == 1
    assert all(np.isfinite(value) for name, value in ours.items() if name not in ("cd", "identity_db", "identity_ssim"))
    assert ours["background_made_db"] == pytest.approx(ours["background_vae_db"], abs=3)
    assert len(told) == 1 and cases[1].clip.caption in told[0]
    assert OURS.name in edit_table(report).to_text() and "replay_pinned_db" in replay_table(report).to_text()
    assert sheet_of(cases[1], kept[0][1]).ndim == 3
