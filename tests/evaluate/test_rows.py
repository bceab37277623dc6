"""Measurements as a table: nothing is lost on the way there and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from vxedit.errors import InputError
from vxedit.evaluate.rows import FACTS, read_rows, row_file, to_csv, unpack, write_row

FACTS_OF_ONE = {"identity": "m", "dtype": "bfloat16", "steps": 20, "kind": "real", "seed": 3, "way": "a perfect edit"}


def rows(folder: Path) -> list[dict[str, Any]]:
    return list(read_rows(folder))


def test_a_table_brings_all_measurements_back(tmp_path: Path) -> None:
    ours = {**FACTS_OF_ONE, "way": "vxedit", "figures": {"miou": 0.875, "cd": float("nan")}}
    words = {**FACTS_OF_ONE, "kind": "words", "seed": 12, "figures": {"became": 0.25, "cd": 1 / 3}}
    for row in (ours, words):
        write_row(tmp_path / "made", row)
    table = tmp_path / "measurements.csv"
    table.write_text(to_csv(tmp_path / "made"))
    assert table.read_text().splitlines()[0] == ",".join([*FACTS, "miou", "cd", "became"])
    unpack(table, tmp_path / "again")
    first, second = rows(tmp_path / "again")
    assert {fact: first[fact] for fact in FACTS} == {fact: ours[fact] for fact in FACTS}
    assert first["figures"].keys() == {"miou", "cd"} and first["figures"]["miou"] == 0.875
    assert math.isnan(first["figures"]["cd"])
    assert second["figures"].keys() == {"became", "cd"} and second["figures"]["cd"] == pytest.approx(1 / 3, abs=1e-6)
    assert to_csv(tmp_path / "again") == table.read_text()


def test_what_was_measured_here_is_not_overwritten(tmp_path: Path) -> None:
    write_row(tmp_path / "made", {**FACTS_OF_ONE, "figures": {"miou": 0.5}})
    table = tmp_path / "measurements.csv"
    table.write_text(to_csv(tmp_path / "made"))
    write_row(tmp_path / "here", {**FACTS_OF_ONE, "figures": {"miou": 0.75}})
    unpack(table, tmp_path / "here")
    assert [row["figures"] for row in rows(tmp_path / "here")] == [{"miou": 0.75}]
    assert row_file(tmp_path / "here", "real", 3, "a perfect edit").exists()


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "identity,dtype,steps,kind,seed,way\nm,f,twenty,real,1,vxedit\n"])
def test_another_table_is_refused(tmp_path: Path, text: str) -> None:
    table = tmp_path / "other.csv"
    table.write_text(text)
    with pytest.raises(InputError, match="can't be read as a table of measurements"):
        unpack(table, tmp_path / "work")
    with pytest.raises(InputError, match="takes the measurements"):
        unpack(tmp_path / "missing.csv", tmp_path / "work")
