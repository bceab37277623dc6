"""Kept measurements: a file each while they are made, and all of them as one CSV table to publish and to go on from."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vxedit.errors import InputError
from vxedit.io.atomic import write_bytes
from vxedit.io.record import plain

FACTS = ("identity", "dtype", "steps", "kind", "seed", "way")
"""What a measurement is of; the rest of it are figures."""

_DIGITS = 6


def row_file(folder: Path, kind: str, seed: int, way: str) -> Path:
    """Where the measurement of one clip edited in one way is kept."""
    return folder / kind / f"{seed:04d}" / f"{way.replace(' ', '-')}.json"


def write_row(folder: Path, row: dict[str, Any]) -> None:
    """Keep a measurement, FACTS and `figures`."""
    file = row_file(folder, row["kind"], row["seed"], row["way"])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, json.dumps(plain(row)).encode(), overwrite=True)


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Every measurement kept in a folder; a figure that is not a number is NaN."""
    for file in sorted(folder.glob("*/*/*.json")):
        row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        row["figures"] = {name: math.nan if value is None else float(value) for name, value in row["figures"].items()}
        yield row


def to_csv(folder: Path) -> str:
    """Every measurement kept in a folder as a table with a row each; what wasn't measured is empty."""
    rows = list(read_rows(folder))
    names = list(dict.fromkeys(name for row in rows for name in row["figures"]))
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*FACTS, *names])
    for row in rows:
        figures = row["figures"]
        told = [f"{figures[name]:.{_DIGITS}g}" if name in figures else "" for name in names]
        table.writerow([*(row[fact] for fact in FACTS), *told])
    return text.getvalue()


def unpack(file: Path, folder: Path) -> None:
    """Keep in a folder the measurements of a table that it lacks. Raises InputError for what `to_csv` didn't write."""
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            for cells in csv.DictReader(opened, strict=True):
                row: dict[str, Any] = {fact: cells.pop(fact) for fact in FACTS}
                row |= {"steps": int(row["steps"]), "seed": int(row["seed"])}
                row["figures"] = {name: float(value) for name, value in cells.items() if value}
                if not row_file(folder, row["kind"], row["seed"], row["way"]).exists():
                    write_row(folder, row)
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as err:
        raise InputError(
            f"{file} can't be read as a table of measurements ({err}); it takes the measurements.csv that "
            "scripts/results writes"
        ) from err
