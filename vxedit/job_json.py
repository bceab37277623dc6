"""A job as JSON and back: what the sidecar keeps, so that a result can be made again."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from fractions import Fraction
from pathlib import Path
from typing import Any

from vxedit.errors import InputError
from vxedit.job import GenJob, RealJob

LATER = ("others", "words", "recipe", "energies", "fit", "keep_letterbox", "window", "loading")
"""Fields that the first version's records lack, whose defaults say what it did."""

BEFORE: dict[str, Any] = {"eta": 0.0, "steady": []}
"""Fields that earlier records lack and whose defaults are not what was done then."""

EXPECTED = {
    Path: "a file's name",
    Fraction: 'a fraction such as "30000/1001"',
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}


def job_to_json(job: RealJob | GenJob) -> dict[str, Any]:
    """The job's fields, nested as it nests them. Files as text, fractions as "num/den", tuples as lists."""
    from vxedit.io.record import plain

    return typing.cast("dict[str, Any]", plain(job))


def job_from_json(record: dict[str, Any]) -> RealJob:
    """The job that `job_to_json` made `record` of. Raises InputError, naming the field, where one is missing, unknown
    or holds what it can't hold. Only what LATER and BEFORE list may be missing: an older record's result was made
    without it."""
    return typing.cast(RealJob, _dataclass(RealJob, record, where="job"))


def gen_job_from_json(record: dict[str, Any]) -> GenJob:
    """`job_from_json` for the job of a generated clip."""
    return typing.cast(GenJob, _dataclass(GenJob, record, where="job"))


def _dataclass(kind: Any, value: Any, *, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object with the job's settings")
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    unknown = [name for name in value if name not in names]
    if unknown:
        raise InputError(f"the record's {where} has the unknown field {unknown[0]!r}; it can have {', '.join(names)}")
    value = {name: BEFORE[name] for name in names if name in BEFORE} | value
    missing = [name for name in names if name not in value and name not in LATER]
    if missing:
        raise InputError(f"the record's {where} lacks {', '.join(missing)}; was it written by another vxedit?")
    there = [name for name in names if name in value]
    return kind(**{name: _read(hints[name], value[name], where=f"{where}.{name}") for name in there})


def _read(kind: Any, value: Any, *, where: str) -> Any:
    """`value` as the annotated type `kind`: dataclass, union with None, Literal, tuple of known length, plain type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return None if value is None else _read(inner[0], value, where=where)
    if origin is typing.Literal:
        if value not in arguments:
            raise _wrong(where, value, " or ".join(map(repr, arguments)))
        return value
    if origin is tuple:
        if arguments[1:] == (Ellipsis,):
            if not isinstance(value, list):
                raise _wrong(where, value, "a list")
            return tuple(_read(arguments[0], item, where=f"{where}[{i}]") for i, item in enumerate(value))
        if not isinstance(value, list) or len(value) != len(arguments):
            raise _wrong(where, value, f"a list of {len(arguments)}")
        return tuple(_read(part, item, where=where) for part, item in zip(arguments, value, strict=True))
    return _dataclass(kind, value, where=where) if dataclasses.is_dataclass(kind) else _scalar(kind, value, where=where)


def _scalar(kind: type, value: Any, *, where: str) -> Any:
    if kind in (Path, Fraction):
        if not isinstance(value, str):
            raise _wrong(where, value, EXPECTED[kind])
        try:
            return kind(value)
        except (ValueError, ZeroDivisionError) as err:
            raise _wrong(where, value, EXPECTED[kind]) from err
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise _wrong(where, value, EXPECTED[kind])
    return value


def _wrong(where: str, value: Any, expected: str) -> InputError:
    return InputError(f"the record's {where} is {value!r}; it must be {expected}")
