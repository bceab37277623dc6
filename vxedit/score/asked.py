"""What a clip should show: its objects' boxes, from its record, from a file of boxes, or from a public set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.clip import Clip
from vxedit.edit.path_json import path_from_json
from vxedit.errors import InputError, UsageError
from vxedit.io.record import read_record
from vxedit.score.background import MARGIN
from vxedit.score.sets import Entry
from vxedit.score.source import SourceFile, recorded_source

Boxes = Callable[[Clip], np.ndarray]
"""Boxes (F, 4) xyxy in [0, 1] for a clip that has been read, NaN in the frames without one."""


@dataclass(frozen=True)
class Expected:
    """One object: the `word` that names it, where it should be, and where it is in the source, if that is known."""

    word: str
    target: Boxes
    source: Boxes | None = None


@dataclass(frozen=True)
class Asked:
    """What `clip` should show. `source`: the unedited clip, if there is one; `margin`: how far the edit reaches beyond
    the boxes, as a share of the frame's shorter side; `embedded`: whether the embedded model made it; `cuts`: whether
    the longer of clip and boxes is cut to the shorter."""

    clip: Path
    objects: tuple[Expected, ...]
    prompt: str | None = None
    source: SourceFile | None = None
    margin: float = MARGIN
    embedded: bool = False
    cuts: bool = False

    def looking_for(self, word: str) -> Asked:
        """The same, with `word` as what is looked for: of several objects the one it names, of one that one.

        Raises UsageError where it names none of several.
        """
        if len(self.objects) == 1:
            return replace(self, objects=(replace(self.objects[0], word=word),))
        named = tuple(one for one in self.objects if one.word.lower() == word.lower())
        if not named:
            there = ", ".join(one.word for one in self.objects)
            raise UsageError(f"{self.clip}'s record has no object {word!r}; --obj can be {there}")
        return replace(self, objects=named)


def sidecar(clip: Path) -> Path:
    """Where a result's record lies."""
    return clip.with_suffix(".json")


def from_record(clip: Path) -> Asked:
    """What the record beside a result says.

    The record holds `objects`, each with "obj", "source" and "target", or `boxes` with "source" and "target": boxes of
    the job's object, or an object of boxes by word. "margin", where it has one, is a share of the frame's shorter side.

    Raises InputError where there is no record, or none with boxes.
    """
    file = sidecar(clip)
    if not file.is_file():
        raise InputError(
            f"{clip} has no record {file.name} beside it; say where its object should be with --boxes and --obj"
        )
    record = read_record(file)
    job, model = _mapping(record.get("job")), _mapping(record.get("model"))
    margin = record.get("margin")
    return Asked(
        clip,
        _recorded_objects(record, job, file),
        prompt=record.get("new_prompt") or _mapping(record.get("prompt")).get("text"),
        source=recorded_source(record, clip),
        margin=float(margin) if isinstance(margin, (int, float)) else MARGIN,
        embedded="embedded" in (model.get("name"), job.get("model")),
    )


def from_boxes(clip: Path, file: Path, *, word: str, prompt: str | None = None) -> Asked:
    """What a file of boxes says: {"boxes": [[x0, y0, x1, y1], ...]}, shares of the frame, one a frame and null for
    none; or keyframes as a path file has them, each with a size.

    Raises InputError where it can't be read, UsageError where its boxes or keyframes can't be meant.
    """
    try:
        data = json.loads(file.read_bytes())
    except OSError as err:
        raise InputError(f"--boxes {file} can't be read: {err.strerror}; give a JSON file of boxes") from err
    except ValueError as err:
        raise InputError(f'--boxes {file} isn\'t JSON ({err}); give {{"boxes": [[x0, y0, x1, y1], ...]}}') from err
    return Asked(clip, (Expected(word, _from_json(data, file)),), prompt=prompt)


def from_entry(clip: Path, entry: Entry) -> Asked:
    """What a public set's entry says. Its boxes may be more or fewer than the clip's frames."""
    expected = Expected(entry.word, lambda shown: entry.shares(shown.height, shown.width))
    return Asked(clip, (expected,), prompt=entry.prompt, cuts=True)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _recorded_objects(record: Mapping[str, Any], job: Mapping[str, Any], file: Path) -> tuple[Expected, ...]:
    swaps = _mapping(job.get("words")).get("replace") or ()
    renamed = {str(old): str(new) for old, new in swaps}
    objects = []
    for entry in record.get("objects") or _by_word(_mapping(record.get("boxes")), job):
        known = _mapping(entry)
        word, target, source = known.get("obj"), known.get("target"), known.get("source")
        if not target or not isinstance(word, str):
            raise InputError(f"{file} has no boxes of where its object should be; say it with --boxes and --obj")
        before = _listed(source, file) if source else None
        objects.append(Expected(renamed.get(word, word), _listed(target, file), before))
    return tuple(objects)


def _by_word(boxes: Mapping[str, Any], job: Mapping[str, Any]) -> list[dict[str, Any]]:
    target, source = boxes.get("target"), boxes.get("source")
    if isinstance(target, dict):
        there = _mapping(source)
        return [{"obj": word, "target": own, "source": there.get(word)} for word, own in target.items()]
    first: Any = next(iter(job.get("objects") or ()), {})
    return [{"obj": job.get("obj") or _mapping(first).get("obj"), "target": target, "source": source}]


def _from_json(data: Any, file: Path) -> Boxes:
    if isinstance(data, dict) and "boxes" in data:
        return _listed(data["boxes"], file)
    if isinstance(data, dict) and "keyframes" in data:
        try:
            path = path_from_json(data)
        except UsageError as err:
            raise UsageError(f"--boxes {file}: {err}") from err
        if path.needs_start:
            raise UsageError(f'--boxes {file}: a keyframe says no size; give each "w" and "h", or "box"')
        return lambda clip: path.sample(clip.times_s).boxes
    raise UsageError(f'--boxes {file} has neither "boxes", one a frame, nor "keyframes"; give one of them')


def _listed(boxes: Any, file: Path) -> Boxes:
    try:
        array = np.array([[np.nan] * 4 if box is None else box for box in boxes], float)
    except (TypeError, ValueError) as err:
        raise UsageError(f"{file} has boxes that are not [x0, y0, x1, y1] each; give four shares of the frame") from err
    if array.ndim != 2 or array.shape[1] != 4 or not len(array):
        raise UsageError(f"{file} has boxes that are not [x0, y0, x1, y1] each; give four shares of the frame")
    if (np.abs(array) > 2).any():
        raise UsageError(
            f"{file} has a box {array[(np.abs(array) > 2).any(1)][0].tolist()}; give shares of the frame, 0 to 1"
        )
    solid = np.all(array[:, 2:] > array[:, :2], axis=1, keepdims=True)
    array = np.where(solid, array, np.nan)
    return lambda clip: array
