"""The recipes' names, which need nothing heavy."""

from __future__ import annotations

import difflib

from vxedit.errors import UsageError

OURS = "vxedit"
NAMES = (OURS, "x-attention", "layout-guidance", "self-guidance", "peekaboo", "trailblazer", "freetraj")

BY_CONTROL = ("peekaboo", "trailblazer", "freetraj")
"""Those that replace what attention gives, which not every family of models lets them."""


def check_name(name: str) -> None:
    """Raises UsageError, with the nearest names, where there is no such recipe."""
    if name not in NAMES:
        near = difflib.get_close_matches(name.lower(), NAMES, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"unknown recipe {name!r}; {hint}there are {', '.join(NAMES)}")
