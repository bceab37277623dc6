"""The recipes' names: each stands for its own, and what is none is told the nearest."""

from __future__ import annotations

import pytest

from vxedit.edit.recipes import guided, masked
from vxedit.edit.recipes.names import NAMES, OURS, check_name
from vxedit.edit.recipes.published import published
from vxedit.errors import UsageError
from vxedit.job import EditSettings


def test_every_name_but_our_own_is_a_published_recipe_s() -> None:
    assert NAMES[0] == OURS == EditSettings.recipe and len(set(NAMES)) == len(NAMES)
    assert NAMES[1:] == tuple(one.name for one in (*guided.RECIPES, *masked.RECIPES))
    for name in NAMES[1:]:
        check_name(name)
        assert published(name).name == name
    check_name(OURS)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("freetraaj", "freetraj"),
        ("Peekaboo", "peekaboo"),
        ("self-guidence", "self-guidance"),
        ("trailblazr", "trailbl"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name: str, near: str) -> None:
    for ask in (check_name, published):
        with pytest.raises(UsageError) as caught:
            ask(name)
        said = str(caught.value)
        assert said.startswith(f"unknown recipe {name!r}; did you mean {near}") and ", ".join(NAMES) in said


def test_a_name_like_no_other_is_told_all() -> None:
    with pytest.raises(UsageError, match=f"unknown recipe 'qqq'; there are {', '.join(NAMES)}"):
        check_name("qqq")
