"""What a published recipe is, and each by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vxedit.edit.recipes.names import check_name
from vxedit.edit.task import Edited, Task


@dataclass(frozen=True)
class Published:
    """A published way of moving an object. `run` edits a task with the paper's constants; `paper` cites it; `differs`
    says where it departs from the published code or setting, and why."""

    name: str
    paper: str
    run: Callable[[Task], Edited]
    differs: str


def published(name: str) -> Published:
    """The recipe of that name, vxedit's own excepted. Raises UsageError as `check_name`."""
    from vxedit.edit.recipes import guided, masked

    check_name(name)
    return {one.name: one for one in (*guided.RECIPES, *masked.RECIPES)}[name]
