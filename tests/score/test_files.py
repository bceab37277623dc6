"""From files to figures: which clips are scored, and what becomes of one."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.score.rendered import FPS, pair, write_result
from tests.score.tiny_judges import write_judge
from vxedit.errors import InputError, ModelError, UsageError
from vxedit.io.write import write_video
from vxedit.score.detector import Detectors, Found
from vxedit.score.files import ClipScore, Judges, Scores, collect, score, score_clip
from vxedit.score.job import ScoreJob


class Told:
    """A detector that finds boxes that it was told, whatever it is shown."""

    name = "told"

    def __init__(self, **boxes: np.ndarray) -> None:
        self.boxes = boxes

    def find(self, frames: np.ndarray, word: str) -> Found:
        return Found(self.boxes[word][: len(frames)], np.ones(len(frames)))


class Bench(Detectors):
    """One detector under every name."""

    def __init__(self, one: Told) -> None:
        super().__init__(device=torch.device("cpu"))
        self.one = one

    def __getitem__(self, name: str) -> Any:
        return self.one


def judged(job: ScoreJob, **boxes: np.ndarray) -> list[ClipScore]:
    """Every clip of the job, scored with boxes told for each word."""
    judges = Judges(Bench(Told(**boxes)), None, None)
    return [score_clip(each, judges, ["told"] * len(each.objects)) for each in collect(job)[0]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one result, and a clip that has no record."""
    folder = tmp_path_factory.mktemp("scored") / "results"
    write_result(folder)
    write_video(folder / "other.mp4", pair().source.frames, FPS)
    return folder


@pytest.fixture(scope="module")
def real(results: Path) -> Scores:
    """The folder, scored with the template."""
    return score(ScoreJob((results,)))


def test_a_good_edit_scores_well(real: Scores) -> None:
    (one,) = real.clips
    figures = one.figures
    assert figures["cd"] < 0.02 and figures["miou"] > 0.8 and figures["ap50"] == figures["coverage"] == 1
    assert figures["residue"] < 0.1 and figures["background_db"] > 35 and 0.5 < figures["flicker"] < 1.6
    assert figures["identity_db"] > 15 and not one.warnings
    assert one.objects[0].seen.detector == "template"


def test_a_clip_without_a_record_is_skipped_in_a_folder(real: Scores, results: Path) -> None:
    ((clip, reason),) = real.skipped
    assert clip == results / "other.mp4" and "no record other.json" in reason
    with pytest.raises(InputError, match=r"no record other\.json"):
        collect(ScoreJob((results / "other.mp4",)))


def test_an_unedited_clip_scores_badly(results: Path, tmp_path: Path) -> None:
    shown = pair()
    undone = write_result(tmp_path / "results", frames=shown.source.frames)
    (figures,) = (one.figures for one in judged(ScoreJob((undone,)), burger=shown.before))
    assert figures["miou"] == figures["ap50"] == 0
    assert figures["cd"] == pytest.approx(0.4, abs=0.02)  # 0.4 of both sides is 0.4 of the diagonal
    assert figures["residue"] > 0.9 and figures["background_db"] > 40


def test_an_altered_background_scores_lower(real: Scores, tmp_path: Path) -> None:
    altered = pair().edit.frames.copy()
    altered[:, :20] //= 2
    worse = write_result(tmp_path / "results", frames=altered)
    (figures,) = (one.figures for one in judged(ScoreJob((worse,)), burger=pair().after))
    good = real.clips[0].figures
    assert figures["background_db"] < good["background_db"] - 10
    assert figures["background_ssim"] < good["background_ssim"]


def test_without_the_source_only_the_place_is_measured(results: Path) -> None:
    (one,) = judged(ScoreJob((results / "out.mp4",), use_source=False), burger=pair().after)
    assert one.figures["miou"] > 0.99 and "background_db" not in one.figures and "residue" not in one.figures


def test_several_objects_are_scored_each_and_averaged(tmp_path: Path) -> None:
    shown = pair()
    objects = [
        {"obj": "burger", "source": shown.before, "target": shown.after},
        {"obj": "duck", "source": None, "target": shown.before},
    ]
    clip = write_result(tmp_path / "results", objects=objects)
    (one,) = judged(ScoreJob((clip,)), burger=shown.after, duck=shown.after)
    burger, duck = one.objects
    assert burger.figures["miou"] == 1 and duck.figures["miou"] == 0
    assert one.figures["miou"] == pytest.approx(0.5)
    # a source box that nobody knows is the detector's in the source
    assert duck.seen.source is not None and (duck.seen.source == shown.after).all()
    (only,) = judged(ScoreJob((clip,), obj="duck"), duck=shown.before)
    assert [part.seen.word for part in only.objects] == ["duck"] and only.figures["miou"] == 1


def test_two_objects_of_one_name_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes = {"source": pair().before, "target": pair().after}
    clip = write_result(tmp_path / "results", objects=[{"obj": "burger", **boxes}, {"obj": "Burger", **boxes}])
    with caplog.at_level(logging.WARNING, "vxedit"):
        (one,) = judged(ScoreJob((clip,)), burger=pair().after, Burger=pair().after)
    assert "of one name" in one.warnings[0] and one.warnings[0] in caplog.messages


def test_any_clip_with_boxes(results: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"boxes": pair().after.tolist()}))
    job = ScoreJob((results / "other.mp4",), boxes=boxes, obj="burger", detector="template")
    (one,) = judged(job, burger=pair().after)
    assert one.figures["miou"] == 1 and "residue" not in one.figures
    # with the source, its own boxes are the detector's
    clip = results.parent / "sources" / "clip.mp4"
    (one,) = judged(replace(job, targets=(results / "out.mp4",), source=clip), burger=pair().after)
    assert one.figures["background_db"] > 20
    with pytest.raises(UsageError, match="--obj"):
        collect(ScoreJob((results,), boxes=boxes))
    with pytest.raises(UsageError, match="--boxes and --set"):
        collect(ScoreJob((results,), boxes=boxes, obj="burger", prompt_set=boxes))


def test_boxes_for_every_frame_are_needed(results: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"boxes": pair().after[:3].tolist()}))
    with pytest.raises(InputError, match="has 4 frames, and there are boxes for 3"):
        judged(ScoreJob((results / "other.mp4",), boxes=boxes, obj="burger"), burger=pair().after)
    boxes.write_text(json.dumps({"boxes": [None] * 4}))
    with pytest.raises(InputError, match="'burger' has no box in any frame"):
        judged(ScoreJob((results / "other.mp4",), boxes=boxes, obj="burger"), burger=pair().after)


def test_a_set_says_the_boxes_by_the_clip_s_name(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("imc-1100", "1102", "unknown", "9"):
        write_video(folder / f"{name}.mp4", pair().edit.frames, Fraction(8))
    entries = [
        {"id": 1100, "caption": "A burger.", "subject": "burger", "bboxes": pair().after[:3].tolist()},
        {"id": 1102, "caption": "A burger.", "subject": "burger", "bboxes": [*pair().before.tolist(), [0, 0, 1, 1]]},
        {"id": 9, "caption": "A burger.", "subject": "burger", "bboxes": [[0.5] * 4] * 4},
    ]
    file = tmp_path / "set.json"
    file.write_text(json.dumps(entries))
    job = ScoreJob((folder,), prompt_set=file)
    asked, skipped = collect(job)
    assert [each.clip.name for each in asked] == ["1102.mp4", "imc-1100.mp4"]
    assert {clip.name: reason for clip, reason in skipped}.keys() == {"9.mp4", "unknown.mp4"}
    second, first = judged(job, burger=pair().after)
    assert first.figures["miou"] == 1 and first.objects[0].seen.found.shape == (3, 4)
    assert "4 frames and 3 boxes: the first 3 are scored" in first.warnings[0]
    assert second.figures["miou"] == 0 and "the first 4" in second.warnings[0]
    with pytest.raises(InputError, match="named after none of the set's entries"):
        collect(replace(job, targets=(folder / "unknown.mp4",)))


def test_clip_and_lpips_are_measured_where_they_are_asked_for(results: Path, tmp_path: Path) -> None:
    job = ScoreJob((results / "out.mp4",), clip=str(write_judge(tmp_path / "clip", "clip")))
    figures = score(job).clips[0].figures
    assert -1 <= figures["clip_text"] <= 1 and 0.5 < figures["clip_frames"] <= 1
    (asked,), _ = collect(job)
    judges = Judges(Bench(Told(burger=pair().after)), None, lambda a, b: (a - b).abs().mean(1, keepdim=True))
    assert 0 < score_clip(asked, judges, ["told"]).figures["background_lpips"] < 0.05


def test_owl_finds_what_it_is_asked_for(results: Path, tmp_path: Path) -> None:
    owl = str(write_judge(tmp_path / "owl", "owlvit"))
    job = ScoreJob((results / "out.mp4",), detector="owl", owl=owl, obj="zebra")
    (one,) = score(job).clips
    assert one.objects[0].seen.detector == f"owlvit {owl}" and one.objects[0].seen.word == "zebra"


def test_what_is_missing_is_said_before_any_work(results: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.mp4 isn't there"):
        score(ScoreJob((tmp_path / "nowhere.mp4",)))
    with pytest.raises(InputError, match="nothing to score"):
        score(ScoreJob((tmp_path,)))
    with pytest.raises(ModelError, match="--detector"):
        score(ScoreJob((results,), obj="zebra", owl="owner/nothing"))
    with pytest.raises(UsageError, match="no 'zebra'"):
        score(ScoreJob((results,), obj="zebra", detector="template"))


def test_the_progress_is_told(results: Path) -> None:
    told: list[tuple[str, int, int]] = []
    score(ScoreJob((results,), use_source=False), progress=lambda *step: told.append(step))
    assert told == [("score", 1, 1)]
