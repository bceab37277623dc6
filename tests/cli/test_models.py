"""`vxedit models`."""

from __future__ import annotations

import json

import pytest

from vxedit.backbones.registry import NAMES
from vxedit.cli.main import main


def test_every_short_name_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["name", "family"]
    assert [line.split()[0] for line in lines[1 : 1 + len(NAMES)]] == list(NAMES)
    row = next(line for line in lines if line.startswith("modelscope "))
    assert "16 x 256x256" in row
    assert "CC-BY-NC-4.0" in row
    assert row.endswith("damo-vilab/text-to-video-ms-1.7b")


def test_the_rows_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(NAMES)
    assert rows["embedded"]["frames"] == 16
    assert 0.02 < rows["embedded"]["disk_gb"] < 0.04
    assert rows["opensora-1.2"]["hub"][0] == "hpcai-tech/OpenSora-STDiT-v3"
    assert all(row["memory_gb"] is None or row["memory_gb"] > 1 for row in rows.values())
