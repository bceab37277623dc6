"""Cases whose truth is known, and that their figures tell a perfect edit from none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import write_tiny_checkpoint
from vxedit.backbones.registry import load, outline
from vxedit.edit.locate import Located
from vxedit.edit.path import parse_path
from vxedit.edit.real import Parts
from vxedit.edit.recipes.names import NAMES
from vxedit.evaluate.case import FPS, Case, case, crossing
from vxedit.evaluate.edits import (
    ABLATIONS,
    OURS,
    PERFECT,
    RECIPES,
    WAYS,
    brief_of,
    edit_figures,
    evaluate,
    perfect,
    side_ratio,
)
from vxedit.evaluate.report import edit_table, replay_table, sheet_of
from vxedit.job import EditSettings, InvertSettings
from vxedit.make import Clock, Outcome
from vxedit.render.scene import Rendered

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
    flat = (np.ones((len(frames), 8, 8), np.float32),)
    return Outcome(frames, alpha, (found,), (one.targets,), flat, flat, None, one.clip.frames, ())


def test_a_perfect_edit_scores_well_and_none_scores_badly(cases: list[Case]) -> None:
    one = cases[1]
    done = edit_figures(None, one, perfect(one), Clock())  # type: ignore[arg-type]
    assert done["cd"] < 0.01 and done["miou"] > 0.85 and done["ap50"] == 1 and done["coverage"] == 1
    assert done["ghost"] < 0.05 and done["truth_db"] == 100 and done["mask_iou"] == 1 and done["side"] < 0.1
    nothing = edit_figures(None, one, outcome(one, one.clip.frames), Clock())  # type: ignore[arg-type]
    assert nothing["cd"] > 0.1 and nothing["miou"] < 0.4 and nothing["ap50"] < 0.2
    assert nothing["ghost"] > 0.95 and nothing["truth_db"] < 30 and nothing["background_db"] == 100
    assert nothing["likeness"] == pytest.approx(done["likeness"], abs=0.05)


@pytest.fixture(scope="module")
def pair() -> Case:
    return crossing(3)


def thinned(one: Case, step: int) -> Case:
    """Every `step`-th frame of a case."""

    def some(clip: Rendered) -> Rendered:
        return Rendered(
            clip.frames[::step], clip.clean[::step], clip.masks[:, ::step], clip.boxes[:, ::step], clip.caption
        )

    more = tuple((path, targets[::step]) for path, targets in one.more)
    return replace(one, clip=some(one.clip), truth=some(one.truth), targets=one.targets[::step], more=more)


def test_of_two_that_cross_the_second_is_measured_too(pair: Case) -> None:
    few = thinned(pair, 7)
    done = edit_figures(None, few, perfect(few), Clock())  # type: ignore[arg-type]
    assert done["cd"] < 0.01 and done["cd_second"] < 0.01 and done["ap50_second"] == 1 and done["miou_second"] > 0.85
    nothing = edit_figures(None, few, outcome(few, few.clip.frames), Clock())  # type: ignore[arg-type]
    assert nothing["cd"] > 0.1 and nothing["cd_second"] > 0.1 and nothing["miou_second"] < 0.5
    assert done["found_both"] == done["found_shown"] == done["ap50"]  # half of each is to be seen in every frame
    assert nothing["found_both"] <= min(nothing["ap50"], nothing["ap50_second"]) and nothing["found_shown"] < 0.5
    assert nothing["background_db"] == done["background_db"] == 100  # away from both objects' places
    first = replace(few, more=())
    alone = edit_figures(None, first, perfect(first), Clock())  # type: ignore[arg-type]
    assert not [name for name in alone if name.endswith("_second")]
    assert alone["background_db"] < 100  # what the second object did counts as background then


def test_frames_that_hide_an_object_do_not_count_as_those_that_show_both(pair: Case) -> None:
    few = thinned(pair, 7)
    hiding = few.truth.masks.copy()
    hiding[1, 1] |= hiding[0, 1]  # in the second of three frames the one in front covers the one behind
    hidden = replace(few, truth=replace(few.truth, masks=hiding))
    frames = few.truth.frames.copy()
    frames[1] = few.truth.clean[1]
    figures = edit_figures(None, hidden, outcome(hidden, frames), Clock())  # type: ignore[arg-type]
    assert len(frames) == 3 and figures["found_both"] == pytest.approx(2 / 3) and figures["found_shown"] == 1


def test_a_case_s_brief_has_every_moved_object_with_its_own_path(cases: list[Case], pair: Case, hollow: Path) -> None:
    described = outline(str(hollow))
    settings = EditSettings(0.5, 3, "peekaboo")
    one, two = brief_of(described, cases[1], settings), brief_of(described, pair, settings)
    assert [wanted.obj for wanted in one.objects] == [cases[1].scene.actors[0].name]
    assert [wanted.obj for wanted in two.objects] == [actor.name for actor in pair.scene.actors]
    assert [wanted.motion for wanted in two.objects] == [parse_path(path) for path, _ in pair.paths]
    assert not set(two.objects[0].columns) & set(two.objects[1].columns)
    assert two.settings is settings and np.array_equal(two.clip.frames, pair.clip.frames) and two.clip.fps == FPS


def test_the_side_s_error_is_the_mean_over_frames_with_a_detection() -> None:
    target = np.array([[0.0, 0.0, 0.2, 0.2]] * 3)
    found = np.array([[0.1, 0.1, 0.5, 0.2], [np.nan] * 4, [0.0, 0.0, 0.1, 0.1]])  # sides 0.2 and 0.1 of 0.2
    assert side_ratio(target, target) == 0
    assert side_ratio(found, target) == pytest.approx((0 + 0.5) / 2)
    assert np.isnan(side_ratio(found[1:2], target[:1]))


def test_every_way_has_its_name_and_every_recipe_is_one() -> None:
    names = [way.name for way in WAYS]
    assert len(set(names)) == len(names) and names[0] == OURS.name == NAMES[0]
    assert [way.settings.recipe for way in RECIPES] == [way.name for way in RECIPES] == list(NAMES[1:])
    assert all(way.parts != Parts() and way.settings == EditSettings() for way in ABLATIONS)
    assert OURS.settings == EditSettings() and OURS.parts == Parts()


def test_a_run_measures_replay_and_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: list[Case]
) -> None:
    """On random weights, so the figures are poor; what holds whatever the model is must hold."""
    seed = SEEDS[1]
    truth = Located(cases[1].clip.masks[0], cases[1].clip.boxes[0])
    monkeypatch.setattr("vxedit.make.find_objects", lambda *_: [truth])  # random attention finds no object
    folder = str(write_tiny_checkpoint(tmp_path / "tiny", vxedit={"height": 128, "width": 128}))
    told: list[str] = []
    kept: list[tuple[str, Outcome]] = []
    report = evaluate(
        load(folder, device="cpu"),
        outline(folder),
        [seed],
        (OURS, RECIPES[0]),
        InvertSettings("uni", 2, 2.5),
        others=0,
        tell=told.append,
        keep=lambda one, row, made: kept.append((row.name, made)),
    )
    assert set(report) == {"replay", PERFECT, OURS.name, RECIPES[0].name}
    assert [name for name, _ in kept] == [OURS.name] and report[RECIPES[0].name] == []
    (replay,), (best,), (ours,) = (report[name] for name in ("replay", PERFECT, OURS.name))
    assert best["cd"] < 0.01 and best["ghost"] < 0.05
    assert replay["replay_pinned_db"] == pytest.approx(replay["replay_vae_db"], abs=0.01)
    assert abs(replay["replay_honest_db"] - replay["replay_vae_db"]) > 0.01
    assert replay["inversion_forwards"] >= 2
    assert ours["background_db"] == 100 and ours["mask_iou"] == 1
    assert all(
        np.isfinite(value) for name, value in ours.items() if name not in ("cd", "side", "identity_db", "identity_ssim")
    )
    assert ours["background_made_db"] == pytest.approx(ours["background_vae_db"], abs=3)
    assert len(told) == 1 and cases[1].clip.caption in told[0]
    assert OURS.name in edit_table(report).to_text() and "replay_pinned_db" in replay_table(report).to_text()
    assert sheet_of(cases[1], kept[0][1]).ndim == 3
