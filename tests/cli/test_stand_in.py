"""The library takes the calls that the commands make, so that what is shown with the stand-in holds for the library."""

from __future__ import annotations

import importlib
import inspect

import pytest

from tests.cli.stand_in import Library


@pytest.mark.parametrize(
    ("module", "name", "keywords"),
    [
        ("vxedit.real", "edit_real", {"progress": None}),
        ("vxedit.real", "plan", {}),
        ("vxedit.real", "preview", {}),
        ("vxedit.gen", "edit_generated", {"progress": None}),
        ("vxedit.gen", "plan_gen", {}),
        ("vxedit.io.pictures", "write_png", {"overwrite": True}),
    ],
)
def test_the_library_takes_the_commands_calls(module: str, name: str, keywords: dict[str, object]) -> None:
    positional = 2 if name == "write_png" else 1
    for function in (getattr(Library(), name), getattr(importlib.import_module(module), name)):
        inspect.signature(function).bind(*[None] * positional, **keywords)


def test_results_have_what_the_commands_read() -> None:
    from vxedit.gen import GenPlan
    from vxedit.plan import Plan
    from vxedit.results import Result

    assert {"output", "record", "warnings"} <= set(Result.__dataclass_fields__)
    for planned in (Plan, GenPlan):
        assert "warnings" in planned.__dataclass_fields__ and callable(planned.describe)
