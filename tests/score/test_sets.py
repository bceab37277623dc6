"""Sets of prompts with boxes, in Peekaboo's layout and ones like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vxedit.errors import InputError
from vxedit.score.sets import PromptSet, read_set

BOXES = [[0.1, 0.2, 0.5, 0.6], [0.2, 0.2, 0.6, 0.6]]


def entry(name: Any = 7, boxes: Any = BOXES, **more: Any) -> dict[str, Any]:
    return {"id": name, "caption": "A deer in snow.", "subject": "Deer", "bboxes": boxes, "metadata": {}, **more}


def reading(tmp_path: Path, data: Any, **options: Any) -> PromptSet:
    file = tmp_path / "set.json"
    file.write_text(json.dumps(data))
    return read_set(file, **options)


def test_peekaboo_s_layout(tmp_path: Path) -> None:
    found = reading(tmp_path, [entry(), entry("125199", [[0.5] * 4, BOXES[0]])])
    first, second = found.entries
    assert (first.name, first.prompt, first.word) == ("7", "A deer in snow.", "Deer")
    assert first.shares(320, 576).tolist() == BOXES
    assert second.name == "125199"
    assert np.isnan(second.boxes).all(1).tolist() == [True, False]  # a box without area is none
    assert found.order == "xyxy"


def test_other_layouts(tmp_path: Path) -> None:
    named = {"deer-1": {"prompt": "a deer", "word": "deer", "boxes": [None, BOXES[1]]}}
    (only,) = reading(tmp_path, named).entries
    assert (only.name, only.prompt, only.word) == ("deer-1", "a deer", "deer")
    assert np.isnan(only.boxes[0]).all() and only.boxes[1].tolist() == BOXES[1]
    numbered = [{"text": "a deer", "object": "deer", "boxes": BOXES}] * 2
    assert [one.name for one in reading(tmp_path, numbered).entries] == ["0", "1"]


def test_boxes_in_pixels(tmp_path: Path) -> None:
    pixels = [[64, 32, 128, 96], [0, 0, 700, 400]]
    whole, own = reading(tmp_path, [entry(1, pixels, width=640, height=320), entry(2, pixels)]).entries
    assert whole.shares(10, 10)[0] == pytest.approx([0.1, 0.1, 0.2, 0.3])
    assert whole.shares(10, 10)[1].tolist() == [0, 0, 1, 1]  # cut at the frame
    assert own.shares(128, 256)[0] == pytest.approx([0.25, 0.25, 0.5, 0.75])


def test_ends_in_another_order_are_noticed(tmp_path: Path) -> None:
    tall = [[0.1, 0.5, 0.2, 0.3], [0.1, 0.2, 0.5, 0.9]]  # x0, x1, y0, y1: the first would end before it begins
    found = reading(tmp_path, [entry(1, tall), entry(2, [[0.1, 0.2, 0.3, 0.4]])])
    assert found.order == "xxyy"
    assert found.entries[0].boxes.tolist() == [[0.1, 0.2, 0.5, 0.3], [0.1, 0.5, 0.2, 0.9]]
    assert found.entries[1].boxes.tolist() == [[0.1, 0.3, 0.2, 0.4]]


def test_the_order_can_be_said(tmp_path: Path) -> None:
    found = reading(tmp_path, [entry()], order="yxyx")
    assert found.entries[0].boxes[0].tolist() == [0.2, 0.1, 0.6, 0.5]


def test_a_clip_s_entry(tmp_path: Path) -> None:
    found = reading(tmp_path, [entry(3), entry(12), entry("deer 3 of 12")])
    names = {stem: hit.name if (hit := found.of_clip(stem)) else None for stem in ("12", "imc-0003", "seed_5", "deer")}
    assert names == {"12": "12", "imc-0003": "3", "seed_5": None, "deer": None}
    assert (own := found.of_clip("deer 3 of 12")) and own.name == "deer 3 of 12"
    with pytest.raises(InputError, match="could be of the set's entries 3, 12"):
        found.of_clip("3-12")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("text", "holds no list"),
        ([], "is empty"),
        ([entry(), 5], "entry 1 is no JSON object"),
        ([{"id": 4, "subject": "deer", "bboxes": BOXES}], 'entry 4 has no "caption"'),
        ([{"id": 4, "caption": "a deer", "bboxes": BOXES}], 'entry 4 has no "subject"'),
        ([entry(4, [])], 'entry 4 has no "bboxes"'),
        ([entry(4, [[0, 0, 1]])], "not four numbers"),
        ([entry(4, [[0, 0, 1, "x"]])], "not four numbers"),
        ([entry(4, 3)], 'entry 4 has no "bboxes"'),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        reading(tmp_path, data)
    assert "--set" in str(raised.value) and "\n" not in str(raised.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--set .* can't be read"):
        read_set(tmp_path / "nowhere.json")
    (tmp_path / "broken.json").write_text("[{")
    with pytest.raises(InputError, match="isn't JSON"):
        read_set(tmp_path / "broken.json")
