"""The JSON form of a path, read; `Path.to_json` writes it.

    {"version": 1, "units": "relative", "keyframes": [
        {"time": "50%", "x": 0.5, "y": 0.2, "w": 0.4, "h": 0.3, "ease": "linear"},
        {"frame": 15, "box": [0.5, 0.5, 0.9, 0.8]}]}

or, instead of "keyframes", "motions": [{"motion": "by", "amount": [0.2, 0], "ease": "linear"}].
"""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from vxedit.edit.easing import Ease
from vxedit.edit.keyframe import Keyframe, Motion, Time, Unit, nearest
from vxedit.edit.path import Path
from vxedit.errors import UsageError

_MAX_BYTES = 4 << 20
_TOP = ("version", "units", "keyframes", "motions")
_KEYFRAME = ("time", "frame", "x", "y", "w", "h", "box", "ease")
_MOTION = ("motion", "amount", "ease")


def read_path_file(file: pathlib.Path) -> Path:
    """Read a JSON path file. Raises UsageError with the file's name and the entry, or the line and column."""
    with _within(f"path file {_shown(file)}: "):
        return path_from_json(_decode(_text(file)))


def path_from_json(data: object) -> Path:
    """The Path that decoded JSON describes. Raises UsageError with the entry's place, as in keyframes[1].x."""
    top = _known(data, _TOP, "a path")
    version = top.get("version")
    if version != 1 or isinstance(version, bool):
        raise UsageError(f'"version" must be 1, got {_json(version)}')
    if top.get("units", "relative") != "relative":
        raise UsageError(f'"units" must be "relative" (shares of the frame), got {_json(top["units"])}')
    if ("keyframes" in top) == ("motions" in top):
        raise UsageError('a path holds either "keyframes" or "motions": give one of them')
    if "motions" in top:
        return Path(motions=tuple(_each(top, "motions", _motion)))
    return Path(keyframes=tuple(_each(top, "keyframes", _keyframe)))


def _each(top: Mapping[str, Any], name: str, read: Any) -> Iterator[Any]:
    entries = top[name]
    if not isinstance(entries, list) or not entries:
        raise UsageError(f'"{name}" must be a list of at least one, got {_json(entries)}')
    for index, entry in enumerate(entries):
        with _within(f"{name}[{index}]: "):
            yield read(entry)


def _keyframe(entry: object) -> Keyframe:
    known = _known(entry, _KEYFRAME, "a keyframe")
    centre, size = _box(known) if "box" in known else _place(known)
    return Keyframe(_time(known), centre, size, _ease(known))


def _motion(entry: object) -> Motion:
    known = _known(entry, _MOTION, "a motion")
    word, amount = known.get("motion"), known.get("amount", [])
    if not isinstance(word, str):
        raise UsageError(f'"motion" must be the name of one, got {_json(word)}')
    if not isinstance(amount, list):
        raise UsageError(f'"amount" must be a list of numbers, got {_json(amount)}')
    return Motion(word, tuple(_number("amount", value) for value in amount), _ease(known))


def _time(known: Mapping[str, Any]) -> Time:
    if ("time" in known) == ("frame" in known):
        raise UsageError('a keyframe needs either "time" ("50%", "1.5s") or "frame" (3)')
    if "frame" in known:
        return Time(_number("frame", known["frame"]), "frame")
    time = known["time"]
    if not isinstance(time, str):
        return Time(_number("time", time), "frame")
    text = time.strip()
    unit: Unit = "percent" if text.endswith("%") else "seconds" if text.endswith("s") else "frame"
    try:
        return Time(float(text.removesuffix("%") if unit == "percent" else text.removesuffix("s")), unit)
    except ValueError as err:
        raise UsageError(f'"time" must be a frame number, "50%" or "1.5s", got {_json(time)}') from err


def _place(known: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float | None] | None]:
    missing = [name for name in "xy" if name not in known]
    if missing:
        raise UsageError(f'a keyframe needs "x" and "y" (the centre), or "box"; "{missing[0]}" is missing')
    if "h" in known and "w" not in known:
        raise UsageError('"h" needs "w" beside it')
    x, y, w, h = (_number(name, known[name]) if known.get(name) is not None else None for name in "xywh")
    if x is None or y is None:
        raise UsageError('"x" and "y" must be numbers, got null')
    return (x, y), None if w is None else (w, h)


def _box(known: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    beside = [name for name in "xywh" if name in known]
    if beside:
        raise UsageError(f'"box" says where and how large already; leave out "{beside[0]}"')
    corners = known["box"]
    if not isinstance(corners, list) or len(corners) != 4:
        raise UsageError(f'"box" must be [x0, y0, x1, y1], got {_json(corners)}')
    x0, y0, x1, y1 = (_number("box", corner) for corner in corners)
    if not (x0 < x1 and y0 < y1):
        raise UsageError(f'"box" must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1, got {_json(corners)}')
    return ((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0)


def _ease(known: Mapping[str, Any]) -> Ease:
    ease = known.get("ease", "linear")
    if not isinstance(ease, str):
        raise UsageError(f'"ease" must be the name of an easing, got {_json(ease)}')
    return cast(Ease, ease)  # Keyframe and Motion check the name


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f'"{name}" must be a number, got {_json(value)}')
    try:
        return float(value)
    except OverflowError:
        return math.inf  # which no range takes, with a message of its own


def _known(data: object, keys: tuple[str, ...], what: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise UsageError(f"{what} must be a JSON object with {', '.join(keys)}, got {_json(data)}")
    for key in data:
        if key not in keys:
            raise UsageError(f"unknown key {_json(key)}{nearest(str(key), keys)}; {what} has {', '.join(keys)}")
    return data


def _text(file: pathlib.Path) -> str:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise UsageError(f"is larger than {_MAX_BYTES >> 20} MiB, so it is no path; check the name")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise UsageError("is not UTF-8 text, so not JSON; save it as UTF-8") from err
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or "not a file's name"
        raise UsageError(f"can't be read ({reason}); check the name") from err


def _decode(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as err:
        raise UsageError(f"is not JSON: {err.msg} at line {err.lineno}, column {err.colno}") from err
    except RecursionError as err:
        raise UsageError("is nested too deeply to be a path") from err
    except ValueError as err:  # Python refuses whole numbers of thousands of digits
        raise UsageError("holds a number that is too long to be meant") from err


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"key {_json(twice)} is given twice in one object; keep one")
    return entry


def _no_constant(name: str) -> float:
    raise UsageError(f"{name} is not a place, a size or a time; write a number")


def _json(value: object) -> str:
    """A value for a message, on one line and short."""
    try:
        text = json.dumps(value, default=repr)
    except (RecursionError, ValueError):  # nested too deeply, or a whole number of thousands of digits
        return type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def _shown(file: pathlib.Path) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(file))


@contextmanager
def _within(place: str) -> Iterator[None]:
    """Put the place in front of an error's message."""
    try:
        yield
    except UsageError as err:
        raise UsageError(f"{place}{err}") from err
