"""Scores as tables and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vxedit.io.record import plain
from vxedit.score.files import ClipScore, ObjectScore, Scores
from vxedit.score.measure import Seen, mean_figures, place_figures
from vxedit.score.tables import means, tables, to_json, to_text

BOX = np.array([0.0, 0.0, 0.5, 0.5])
ASIDE = np.array([0.25, 0.0, 0.75, 0.5])
NOTHING = np.full(4, np.nan)


def scored(word: str, *found: np.ndarray, **more: float) -> ObjectScore:
    boxes, target = np.stack(found), np.tile(BOX, (len(found), 1))
    figures, theirs = place_figures(boxes, target, frame=(300, 400))
    return ObjectScore(Seen(word, "template", boxes, np.ones(len(found)), target), figures | more, theirs)


def clip(name: str, *objects: ObjectScore, **more: float) -> ClipScore:
    return ClipScore(Path("results") / name, objects, mean_figures([one.figures for one in objects]) | more, ())


@pytest.fixture
def scores() -> Scores:
    right = clip("right.mp4", scored("cat", BOX, BOX, residue=0.25), background_db=40.0)
    both = clip("both.mp4", scored("cat", BOX, ASIDE), scored("dog", NOTHING, NOTHING), background_db=30.0)
    return Scores((right, both), ((Path("x.mp4"), "no record"),))


def test_a_row_a_clip_a_row_an_object_and_the_mean(scores: Scores) -> None:
    place = tables(scores, ["ours"])["Place"]
    assert [row.label for row in place.rows] == ["right.mp4", "both.mp4", "  cat", "  dog", "mean"]
    assert [row.figures["mIoU"] for row in place.rows[:4]] == pytest.approx([1, 1 / 3, 2 / 3, 0])
    mean = means(scores)["miou"]
    assert (mean.mean, mean.count) == (pytest.approx(2 / 3), 2) and mean.low < mean.mean < mean.high
    assert place.rows[-1].figures["mIoU"] == mean


def test_one_clip_needs_no_mean(scores: Scores) -> None:
    shown = tables(Scores(scores.clips[:1], ()), ["ours"])
    assert [row.label for row in shown["Place"].rows] == ["right.mp4"]


def test_columns_that_nobody_has_are_left_out(scores: Scores) -> None:
    titles = tables(scores, ["ours"])
    assert titles["Background, object and motion, against the source"].columns == ("background dB", "residue")
    bare = Scores((clip("right.mp4", scored("cat", BOX)),), ())
    assert list(tables(bare, ["ours"])) == ["Place"]


def test_every_protocol_has_its_table(scores: Scores) -> None:
    shown = tables(scores, ["peekaboo", "trailblazer"])
    assert list(shown) == ["Peekaboo, as its code computes it", "Peekaboo, repaired", "TrailBlazer"]
    code = shown["Peekaboo, as its code computes it"]
    assert code.rows[-1].label == "weighted"
    # AP50: 4 frames found, of them 3 well: 2 of 2, and 1 of 2; the dog has no detection at all
    assert code.rows[-1].figures["AP50"] == pytest.approx(3 / 4)
    assert shown["TrailBlazer"].rows[0].figures["mIoU of its code"] == 1


def test_the_text_has_titles_over_tables(scores: Scores) -> None:
    text = to_text(tables(scores, ["ours", "trailblazer"]))
    assert text.startswith("Place\n") and "\n\nTrailBlazer\n" in text and "right.mp4" in text


def test_json_has_everything_and_is_valid(scores: Scores) -> None:
    data = json.loads(json.dumps(plain(to_json(scores)), allow_nan=False))
    right, both = data["clips"]
    assert right["clip"] == "results/right.mp4" and right["figures"]["residue"] == 0.25
    assert both["objects"][1]["found"] == [None, None] and both["objects"][0]["found"][1] == ASIDE.tolist()
    assert both["objects"][1]["figures"]["cd"] is None and both["objects"][1]["obj"] == "dog"
    assert data["means"]["background_db"]["mean"] == 35 and data["means"]["background_db"]["count"] == 2
    assert data["peekaboo_code"]["weighted"]["ap50"] == pytest.approx(3 / 4)
    assert data["peekaboo_code"]["unweighted"]["coverage"] == pytest.approx(2 / 3)
    assert data["skipped"] == [{"clip": "x.mp4", "reason": "no record"}]
