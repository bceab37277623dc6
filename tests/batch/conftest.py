"""A folder for results, and what the stub workers leave their notes in."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"
