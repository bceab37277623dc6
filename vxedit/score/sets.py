"""Public sets of prompts with boxes, read from their JSON files.

Peekaboo (Jain et al., CVPR 2024, arXiv 2312.07509) publishes four in its repository's `eval/`: `imc_inputs.json`,
`ssv2_inputs.json`, `davis_inputs.json` and `lasot_inputs.json`, each a list of

    {"id": 1100, "caption": "A deer standing in a snowy field.", "subject": "Deer", "bboxes": [[x0, y0, x1, y1], ...]}

with a box a frame, as shares of the frame. What the files hold, which differs from what their README says:

- IMC has 126 entries of 16 boxes each, not 102 of 24; ssv2's entries have 7 to 30 boxes.
- A frame without a box, in ssv2 and LaSOT, has one without area, such as [0.5, 0.5, 0.5, 0.5]. Some entries have no
  other; there is nothing to score in them.
- LaSOT's boxes are x0, x1, y0, y1. Read as the others are, nearly all would end before they begin.
- DAVIS's look like y0, x0, y1, x1: as they stand, its standing people are five times as wide as high. That can't be
  told for certain, so they are taken as they stand unless the order is given; score with the order the clips were made
  with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from vxedit.errors import InputError
from vxedit.score.job import SetOrder

ORDERS: dict[str, tuple[int, int, int, int]] = {"xyxy": (0, 1, 2, 3), "xxyy": (0, 2, 1, 3), "yxyx": (1, 0, 3, 2)}
"""Where x0, y0, x1 and y1 stand."""

_NAMES = ("id", "name", "video")
_PROMPTS = ("caption", "prompt", "text")
_WORDS = ("subject", "word", "obj", "object")
_BOXES = ("bboxes", "boxes")
_SHARES = 2.0  # a set with a number above this has its boxes in pixels


@dataclass(frozen=True)
class Entry:
    """One prompt with its boxes (F, 4) xyxy, NaN in the frames that have none; word: the object that they are of.

    The boxes are shares of the frame, or pixels of a `frame` (height, width), where the set says it, or of the clip's
    own size.
    """

    name: str
    prompt: str
    word: str
    boxes: np.ndarray
    in_pixels: bool = False
    frame: tuple[int, int] | None = None

    def shares(self, height: int, width: int) -> np.ndarray:
        """The boxes (F, 4) as shares of the frame, cut at it, for a clip of height x width pixels."""
        rows, columns = (self.frame or (height, width)) if self.in_pixels else (1, 1)
        return np.clip(self.boxes / (columns, rows, columns, rows), 0, 1)


@dataclass(frozen=True)
class PromptSet:
    """A set's entries, and in which order its file's boxes name their ends."""

    entries: tuple[Entry, ...]
    order: SetOrder

    def of_clip(self, stem: str) -> Entry | None:
        """The entry that a clip's name (without its suffix) is of: its own, else the one whose name is a number in it.

        None where there is none. Raises InputError where it holds the numbers of several.
        """
        by_name = {entry.name: entry for entry in self.entries}
        if stem in by_name:
            return by_name[stem]
        numbers = {str(int(run)) for run in re.findall(r"[0-9]+", stem)}
        hits = [entry for entry in self.entries if entry.name.isdigit() and str(int(entry.name)) in numbers]
        if len(hits) > 1:
            raise InputError(
                f"{stem} could be of the set's entries {', '.join(entry.name for entry in hits[:4])}; name the clip "
                "after one of them alone"
            )
        return hits[0] if hits else None


def read_set(path: Path, *, order: SetOrder = "auto") -> PromptSet:
    """A set in Peekaboo's layout, or one like it: a list of entries, or an object of them by name.

    order: how its boxes name their ends; auto is xyxy unless a box then ends before it begins and none does as xxyy.

    An entry has a name (id, name or video; in a list, its number where it has none), a prompt (caption, prompt or
    text), a word (subject, word, obj or object), and bboxes or boxes, one a frame; null or a box without area means
    none. Boxes are pixels where any number in the file is above 2; of the entry's "width" and "height" where it says
    them.

    Raises InputError, with the entry, where the file can't be read or holds something else.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as err:
        raise InputError(f"--set {path} can't be read: {err.strerror}; give a JSON file of prompts and boxes") from err
    except ValueError as err:
        raise InputError(f"--set {path} isn't JSON ({err}); give a file such as Peekaboo's imc_inputs.json") from err
    if isinstance(data, dict):
        named = [(str(name), entry) for name, entry in data.items()]
    elif isinstance(data, list):
        named = [(str(number), entry) for number, entry in enumerate(data)]
    else:
        raise InputError(f"--set {path} holds no list of entries; give a file such as Peekaboo's imc_inputs.json")
    if not named:
        raise InputError(f"--set {path} is empty; give a file such as Peekaboo's imc_inputs.json")
    entries = [_entry(path, name, entry) for name, entry in named]
    found = _order([entry.boxes for entry in entries]) if order == "auto" else order
    in_pixels = any((entry.boxes > _SHARES).any() for entry in entries)
    return PromptSet(tuple(_settled(entry, found, in_pixels) for entry in entries), found)


def _entry(path: Path, name: str, entry: Any) -> Entry:
    """An entry with its boxes' ends as they stand in the file."""
    if not isinstance(entry, Mapping):
        raise _wrong(path, name, "is no JSON object")
    name = str(_first(entry, _NAMES, name))
    prompt, word, boxes = _first(entry, _PROMPTS), _first(entry, _WORDS), _first(entry, _BOXES)
    for keys, value in ((_PROMPTS, prompt), (_WORDS, word)):
        if not isinstance(value, str) or not value.strip():
            raise _wrong(path, name, f'has no "{keys[0]}"')
    if not isinstance(boxes, list) or not boxes:
        raise _wrong(path, name, 'has no "bboxes", a box a frame')
    rows = [[None] * 4 if box is None else box for box in boxes]
    try:
        array = np.array(rows, float)
    except (ValueError, TypeError) as err:
        raise _wrong(path, name, "has boxes that are not four numbers each") from err
    if array.ndim != 2 or array.shape[1] != 4 or np.isinf(array).any():
        raise _wrong(path, name, "has boxes that are not four numbers each")
    height, width = entry.get("height"), entry.get("width")
    known = type(height) is int and type(width) is int and height > 0 and width > 0
    return Entry(
        name, prompt.strip(), word.strip(), array, frame=cast("tuple[int, int]", (height, width)) if known else None
    )


def _first(entry: Mapping[str, Any], keys: Iterable[str], default: Any = None) -> Any:
    return next((entry[key] for key in keys if entry.get(key) is not None), default)


def _wrong(path: Path, name: str, what: str) -> InputError:
    return InputError(f"--set {path}: entry {name} {what}; an entry has id, caption, subject and bboxes")


def _backwards(boxes: np.ndarray, order: str) -> bool:
    ends = boxes[:, ORDERS[order]]
    return bool((ends[:, 2:] < ends[:, :2]).any())


def _order(boxes: list[np.ndarray]) -> SetOrder:
    every = np.concatenate(boxes)
    return "xxyy" if _backwards(every, "xyxy") and not _backwards(every, "xxyy") else "xyxy"


def _settled(entry: Entry, order: SetOrder, in_pixels: bool) -> Entry:
    boxes = entry.boxes[:, ORDERS[order]]
    solid = np.all(boxes[:, 2:] > boxes[:, :2], axis=1, keepdims=True)
    boxes = np.where(solid, boxes, np.nan)
    return Entry(entry.name, entry.prompt, entry.word, boxes, in_pixels, entry.frame)
