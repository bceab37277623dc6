"""Manifests: CSV, JSON Lines or TOML with a row a job, read into rows and faults with their lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vxedit.batch.row import Fault, Row, Rows, Value, column, value
from vxedit.errors import InputError, UsageError

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".toml")
MOST_BYTES = 256 << 20

Read = Iterator[tuple[int, "Mapping[str, Any] | str"]]
"""Of every job its line, counted from 1, and its settings, or what is wrong with it."""


def read_manifest(path: Path) -> Rows:
    """Every job of the manifest, in order, and everything in it that can't be read.

    Files in it are named from its own folder. Empty cells and nulls say nothing. Raises InputError where the file
    itself can't be read, UsageError where its kind is unknown.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(f"{path} is no manifest: give a folder, or a file that ends in {', '.join(SUFFIXES)}")
    text, faults = _decoded(path)
    read = {".csv": _csv, ".toml": _toml}.get(kind, _json_lines)
    rows: list[Row] = []
    for line, found in () if faults else read(text):
        where = f"{path.name}:{line}"
        if isinstance(found, str):
            faults.append(Fault(where, found))
            continue
        try:
            rows.append(Row(where, _values(found), path.absolute().parent))
        except InputError as err:
            faults.append(Fault(where, str(err)))
    if not rows and not faults:
        faults.append(Fault(path.name, "it holds no job"))
    return Rows(tuple(rows), tuple(faults))


def _decoded(path: Path) -> tuple[str, list[Fault]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} is larger than {MOST_BYTES >> 20} MiB: split it, with a part a run")
        data = path.read_bytes()
    except OSError as err:
        raise InputError(f"{path} can't be read: {err.strerror}; give a manifest or a folder of clips") from err
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        return "", [Fault(f"{path.name}:{line}", "it isn't UTF-8 text; save the manifest as UTF-8")]


def _values(found: Mapping[str, Any]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, given in found.items():
        try:
            known = value(given)
        except InputError as err:
            raise InputError(f"{name}: {err}") from err
        if known is None:
            continue
        if column(name) in values:
            raise InputError(f"{name} is given twice")
        values[column(name)] = known
    return values


def _csv(text: str) -> Read:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as err:
            yield line, f"it isn't CSV: {err}; are its quotes closed?"
            return
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [column(cell) for cell in cells]
            if not all(header):
                yield line, "a column has no name: the first line names the settings, such as input,obj,path"
                return
        elif len(cells) > len(header):
            yield line, f"it has {len(cells)} cells and the first line names {len(header)}: quote what holds a comma"
        else:
            yield line, _together(header, cells)


def _together(header: list[str], cells: list[str]) -> dict[str, Any]:
    """One line's cells by column. A column that stands several times (obj, path, obj, path) is given several times."""
    found: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=False):
        if not cell.strip():
            continue
        if header.count(name) == 1:
            found[name] = cell
        else:
            found.setdefault(name, []).append(cell)
    return found


def _json_lines(text: str) -> Read:
    # Not splitlines: JSON's strings may hold other characters that it splits at.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line, object_pairs_hook=_once)
        except InputError as err:
            yield number, str(err)
        except (ValueError, RecursionError) as err:
            yield number, f"it isn't JSON: {err}"
        else:
            yield number, found if isinstance(found, dict) else 'it isn\'t an object such as {"input": "a.mp4"}'


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise InputError(f"{twice} is given twice")
    return found


def _toml(text: str) -> Read:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        try:
            import tomli as tomllib  # type: ignore[import-not-found, no-redef]
        except ModuleNotFoundError as err:
            raise InputError("TOML needs Python 3.11 or the package tomli; write the manifest as CSV or JSONL") from err
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        at = re.search(r"at line (\d+)", str(err))
        yield int(at[1]) if at else 1, f"it isn't TOML: {err}"
        return
    jobs = found.pop("job", [])
    if found:
        yield 1, f"it holds {next(iter(found))!r} beside its jobs: give every job as [[job]] and its settings"
    elif not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        yield 1, "its jobs aren't tables: give every job as [[job]] and its settings"
    else:
        heads = [n for n, line in enumerate(text.split("\n"), 1) if re.match(r"\s*\[\[\s*[\"']?job[\"']?\s*\]\]", line)]
        # jobs written otherwise, as an inline list, are counted instead
        yield from zip(heads if len(heads) == len(jobs) else range(1, len(jobs) + 1), jobs, strict=True)
