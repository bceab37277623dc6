"""The stand-in for the library, in its modules' places."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stand_in import Library


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    """The modules that the commands import late, replaced; the current folder is a fresh one."""
    monkeypatch.chdir(tmp_path)
    stand_in = Library()
    modules: dict[str, dict[str, Any]] = {
        "vxedit.real": {"edit_real": stand_in.edit_real, "plan": stand_in.plan, "preview": stand_in.preview},
        "vxedit.io.pictures": {"write_png": stand_in.write_png},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return stand_in


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    """What vxedit-gen hands its work to, replaced; records are read by the library itself. The current folder is a
    fresh one."""
    monkeypatch.chdir(tmp_path)
    stand_in = Library()
    monkeypatch.setattr("vxedit.gen.edit_generated", stand_in.edit_generated)
    monkeypatch.setattr("vxedit.gen.plan_gen", stand_in.plan_gen)
    return stand_in
