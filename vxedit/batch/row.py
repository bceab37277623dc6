"""One line of a manifest, before it is understood."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxedit.errors import InputError

Value = str | bool | tuple[str, ...]
"""A setting as text, a switch, or the texts of one that is given several times."""


@dataclass(frozen=True)
class Row:
    """One job as its source says it: `where` ("jobs.csv:3", or the clip's name), `values` by the flags' names with
    underscores, and `base`, the folder that its files are named from. `output`: where its result goes unless it says
    so itself, relative to the batch's folder."""

    where: str
    values: Mapping[str, Value]
    base: Path
    output: str | None = None


@dataclass(frozen=True)
class Fault:
    """What is wrong with a manifest, and where."""

    where: str
    message: str

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.message}")


@dataclass(frozen=True)
class Rows:
    """What a source holds: `rows`, its `faults`, which nothing is started with, and `passed`, clips of a folder that
    are passed over, each with the reason."""

    rows: tuple[Row, ...]
    faults: tuple[Fault, ...] = ()
    passed: tuple[Fault, ...] = ()


def one_line(text: str) -> str:
    """`text` without line ends and other characters that would break a line of a log or a terminal."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).split())


def column(name: str) -> str:
    """A column's name as the settings are named: "--Guidance-Scale " is guidance_scale."""
    return name.strip().lstrip("-").lower().replace("-", "_")


def value(given: Any) -> Value | None:
    """What a manifest says of one setting, as text; None where it says nothing.

    Numbers in a list are one value ([0.1, 0.2] is "0.1,0.2"), texts and lists several. Raises InputError.
    """
    if given is None or given == "":
        return None
    if isinstance(given, bool):
        return given
    if isinstance(given, str | int | float):
        return _text(given)
    if isinstance(given, list | tuple):
        if not given:
            return None
        if all(_is_number(one) for one in given):
            return ",".join(_text(one) for one in given)
        return tuple(_item(one) for one in given)
    raise InputError(f"a setting is text, a number, true, false or a list, not {type(given).__name__}")


def _item(given: Any) -> str:
    if isinstance(given, list | tuple) and given and all(_is_number(one) for one in given):
        return ",".join(_text(one) for one in given)
    if isinstance(given, str) or _is_number(given):
        return _text(given)
    raise InputError(f"a list of settings holds texts, numbers or lists of numbers, not {given!r:.60}")


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _text(given: Any) -> str:
    if isinstance(given, float) and not math.isfinite(given):
        raise InputError(f"{given} is no number that a setting can have")
    text = str(given)
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise InputError(f"{text!r} is no text: half a character stands in it") from err
    if "\x00" in text:
        raise InputError("a setting holds a zero byte")
    return text
