"""What a clip should show, from every place that can say it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.score.rendered import pair, write_result
from vxedit.clip import Clip
from vxedit.errors import InputError, UsageError, VxeditError
from vxedit.score.asked import from_boxes, from_entry, from_record
from vxedit.score.sets import Entry

CLIP = Clip(np.zeros((4, 50, 100, 3), np.uint8), np.arange(4) / 8, Fraction(8))
ONE = [[0.1, 0.2, 0.3, 0.4]] * 4
TWO = [[0.5, 0.6, 0.7, 0.8]] * 4


def test_the_record_of_one_object(tmp_path: Path) -> None:
    asked = from_record(write_result(tmp_path / "results"))
    (one,) = asked.objects
    assert one.word == "burger" and asked.embedded and not asked.cuts and asked.margin == 0.1
    assert one.target(CLIP) == pytest.approx(pair().after, abs=1e-6)
    assert one.source is not None and one.source(CLIP) == pytest.approx(pair().before, abs=1e-6)
    assert asked.prompt == pair().source.caption
    assert asked.source is not None and asked.source.path.is_file() and asked.source.indices == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"objects": [{"obj": "cat", "source": TWO, "target": ONE}, {"obj": "dog", "source": None, "target": TWO}]},
        {"objects": None, "boxes": {"target": {"cat": ONE, "dog": TWO}, "source": {"cat": TWO}}},
    ],
)
def test_the_record_of_several_objects(tmp_path: Path, changed: dict[str, Any]) -> None:
    asked = from_record(write_result(tmp_path / "results", **changed))
    assert [one.word for one in asked.objects] == ["cat", "dog"]
    assert [one.target(CLIP).tolist() for one in asked.objects] == [ONE, TWO]
    assert asked.objects[0].source is not None and asked.objects[0].source(CLIP).tolist() == TWO
    assert asked.objects[1].source is None
    (dog,) = asked.looking_for("Dog").objects
    assert dog.word == "dog"
    with pytest.raises(UsageError, match="no object 'cow'; --obj can be cat, dog"):
        asked.looking_for("cow")


def test_boxes_alone_are_of_the_job_s_object(tmp_path: Path) -> None:
    asked = from_record(write_result(tmp_path / "results", objects=None))
    assert [one.word for one in asked.objects] == ["burger"]
    generated = {"objects": [{"obj": "duck"}], "generate": {}, "model": "zeroscope"}
    changed: dict[str, Any] = {"objects": None, "job": generated, "model": {"name": "zeroscope"}}
    asked = from_record(write_result(tmp_path / "results", "gen", **changed))
    assert [one.word for one in asked.objects] == ["duck"] and not asked.embedded


def test_one_object_may_be_called_by_another_word(tmp_path: Path) -> None:
    (one,) = from_record(write_result(tmp_path / "results")).looking_for("hamburger").objects
    assert one.word == "hamburger" and one.target(CLIP) == pytest.approx(pair().after, abs=1e-6)


def test_a_word_that_became_another_is_looked_for(tmp_path: Path) -> None:
    job = {"obj": "burger", "words": {"replace": [["burger", "cake"]]}}
    asked = from_record(write_result(tmp_path / "results", job=job, new_prompt="a cake in a meadow", margin=0.25))
    assert asked.objects[0].word == "cake" and asked.prompt == "a cake in a meadow" and asked.margin == 0.25


def test_a_frame_without_a_box(tmp_path: Path) -> None:
    boxes = {"target": [*ONE[:3], None], "source": [*ONE[:3], [0.5, 0.5, 0.5, 0.9]]}
    (one,) = from_record(write_result(tmp_path / "results", boxes=boxes, objects=None)).objects
    assert np.isnan(one.target(CLIP)).all(1).tolist() == [False, False, False, True]
    assert one.source is not None and np.isnan(one.source(CLIP)).all(1).tolist() == [False, False, False, True]


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out\.mp4 has no record out\.json beside it; .*--boxes and --obj"):
        from_record(tmp_path / "out.mp4")


@pytest.mark.parametrize(
    "changed",
    [
        {"boxes": None, "objects": None},
        {"boxes": {"source": ONE}, "objects": None},
        {"objects": [{"obj": "cat", "target": ONE}, {"obj": "dog"}]},
        {"objects": [{"target": ONE}]},
    ],
)
def test_a_record_without_boxes(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"out\.json has no boxes .*--boxes"):
        from_record(write_result(tmp_path / "results", **changed))


def boxes_file(folder: Path, data: Any) -> Path:
    file = folder / "boxes.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return file


def test_a_file_of_boxes(tmp_path: Path) -> None:
    asked = from_boxes(tmp_path / "clip.mp4", boxes_file(tmp_path, {"boxes": [*ONE[:3], None]}), word="cat", prompt="x")
    (one,) = asked.objects
    assert (one.word, asked.prompt, asked.source) == ("cat", "x", None)
    assert one.target(CLIP)[:3].tolist() == ONE[:3] and np.isnan(one.target(CLIP)[3]).all()


def test_a_file_of_keyframes(tmp_path: Path) -> None:
    frames = [
        {"time": "0%", "box": [0.0, 0.0, 0.25, 0.5]},
        {"time": "100%", "x": 0.875, "y": 0.75, "w": 0.25, "h": 0.5},
    ]
    file = boxes_file(tmp_path, {"version": 1, "units": "relative", "keyframes": frames})
    (one,) = from_boxes(tmp_path / "clip.mp4", file, word="cat").objects
    expected = [[0.25 * i, 0.5 / 3 * i, 0.25 * i + 0.25, 0.5 / 3 * i + 0.5] for i in range(4)]
    assert one.target(CLIP) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("[", "isn't JSON"),
        ([], 'neither "boxes", one a frame, nor "keyframes"'),
        ({"boxes": []}, "not .x0, y0, x1, y1. each"),
        ({"boxes": [[0, 0, 1]]}, "not .x0, y0, x1, y1. each"),
        ({"boxes": 3}, "not .x0, y0, x1, y1. each"),
        ({"boxes": [[0, 0, 64, 64]]}, "give shares of the frame"),
        ({"version": 1, "keyframes": [{"time": "0%", "x": 0.5, "y": 0.5}]}, "a keyframe says no size"),
        ({"version": 1, "keyframes": [{"time": "0%", "x": 5, "y": 0.5}]}, "share of the frame"),
    ],
)
def test_boxes_that_cannot_be_read_are_said_in_a_line(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(VxeditError, match=said) as raised:
        from_boxes(tmp_path / "clip.mp4", boxes_file(tmp_path, data), word="cat")
    assert "boxes.json" in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_of_boxes_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--boxes .* can't be read"):
        from_boxes(tmp_path / "clip.mp4", tmp_path / "nowhere.json", word="cat")


def test_an_entry_of_a_set(tmp_path: Path) -> None:
    entry = Entry("1", "a cat", "cat", np.array([[25, 10, 50, 20]], float), in_pixels=True)
    asked = from_entry(tmp_path / "1.mp4", entry)
    assert asked.cuts and asked.prompt == "a cat" and not asked.embedded
    assert asked.objects[0].target(CLIP).tolist() == [[0.25, 0.2, 0.5, 0.4]]
