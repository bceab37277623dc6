"""The package as a whole: all of it imports, the public names resolve, the library is silent, the pins are complete."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vxedit

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vxedit"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("name", [module_of(path) for path in SOURCES])
def test_every_module_imports(name: str) -> None:
    assert importlib.import_module(name).__doc__, f"{name} does not say what it is for"


def test_every_folder_with_code_is_a_package() -> None:
    """A folder without __init__.py imports from a checkout but is left out of what is installed."""
    assert [str(path.parent) for path in SOURCES if not (path.parent / "__init__.py").exists()] == []


def test_at_most_ten_public_names_and_each_resolves() -> None:
    assert len(vxedit.__all__) <= 10
    for name in vxedit.__all__:
        assert getattr(vxedit, name) is not None
        assert name in dir(vxedit)
    from vxedit.backbones.registry import load
    from vxedit.clip import Clip

    assert vxedit.Clip is Clip and vxedit.load_backbone is load
    with pytest.raises(AttributeError, match="no_such_name"):
        vxedit.no_such_name  # noqa: B018


def test_importing_loads_nothing_and_resolves_in_any_order() -> None:
    code = "import sys, vxedit; vxedit.VxeditError; print(sorted(m for m in sys.modules if m.startswith('vxedit')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "['vxedit', 'vxedit.errors']"


def calls(tree: ast.AST, name: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


@pytest.mark.parametrize("path", SOURCES, ids=[module_of(path) for path in SOURCES])
def test_the_library_prints_nothing(path: Path) -> None:
    assert calls(ast.parse(path.read_text(encoding="utf-8")), "print") == []


def test_nobody_in_the_library_uses_the_commands() -> None:
    """The rooms' rule: `cli` uses the public API and nobody uses it."""
    outside = [path for path in SOURCES if "cli" not in path.relative_to(PACKAGE).parts]
    assert [path for path in outside if re.search(r"(from|import) vxedit\.cli\b", path.read_text("utf-8"))] == []


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_constraints_are_exact_and_pin_torch() -> None:
    assert all(re.match(r"[a-z0-9-]+==[\w.]+(; .+)?$", pin) for pin in pins())
    assert "torch==2.13.0" in pins()


def test_everything_that_setup_asks_for_is_pinned() -> None:
    strings = [
        node.value
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    asked = {found[1] for text in strings if (found := re.match(r"([a-z][a-z0-9-]+)>=[\d.]+", text))}
    assert {"torch", "diffusers", "decord", "pytest"} <= asked
    assert asked - {pin.split("==")[0] for pin in pins()} == set()


def test_every_command_that_is_installed_is_there() -> None:
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    entries = re.findall(r'"(vxedit[a-z-]*) = ([\w.]+):(\w+)"', text)
    assert {"vxedit", "vxedit-real", "vxedit-gen", "vxedit-look", "vxedit-score"} <= {name for name, _, _ in entries}
    for _, module, function in entries:
        assert callable(getattr(importlib.import_module(module), function))


def test_the_version_stands_in_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", vxedit.__version__)
    assert vxedit.__version__ not in (ROOT / "setup.py").read_text(encoding="utf-8")
