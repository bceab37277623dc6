"""Results lie in the batch's folder, whatever is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxedit.batch.place import MOST_BYTES, clashes, identity, inside, result_name, shortened
from vxedit.errors import OutputError, UsageError


@pytest.mark.parametrize("name", ["/etc/x.mp4", "../x.mp4", "a/../../x.mp4", "a/..", "", ".", ".hidden.mp4", "a/.b/c"])
def test_nothing_outside_and_nothing_hidden(name: str) -> None:
    with pytest.raises(UsageError):
        identity(name)


def test_names_are_one_way_to_say_a_place() -> None:
    assert identity("./a//b.mp4") == identity("a/b.mp4") == "a/b.mp4"
    assert identity("a:b c\n'ä.mp4") == "a:b c\n'ä.mp4"


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "/", "a", "~", "\\", "\x00", " "])).map("".join))
def test_whatever_is_let_through_lies_inside(name: str) -> None:
    try:
        known = identity(name)
    except UsageError:
        return
    assert os.path.normpath(Path("/out") / known).startswith("/out/") and "\x00" not in known


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "link").symlink_to(elsewhere)
    (out / "file.mp4").symlink_to(elsewhere / "file.mp4")
    (out / "inner").mkdir()
    (out / "short").symlink_to(out / "inner")
    for name in ("link/a.mp4", "link/deeper/a.mp4", "file.mp4"):
        with pytest.raises(OutputError):
            inside(out, name)
    assert inside(out, "short/a.mp4") == out / "short" / "a.mp4"
    assert inside(out, "new/folder/a.mp4") == out / "new" / "folder" / "a.mp4"


def test_a_batch_whose_own_folder_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert inside(tmp_path / "out", "a/b.mp4")


def test_long_names_are_cut_and_stay_apart() -> None:
    one, other = "ä" * 200 + "1", "ä" * 200 + "2"
    assert result_name(one) != result_name(other) and len(result_name(one).encode()) <= MOST_BYTES + len("-edit.mp4")
    assert shortened("burger") == "burger" and result_name("burger") == "burger-edit.mp4"


def test_results_that_would_lie_on_each_other() -> None:
    names = ["a.mp4", "b.mp4", "A.MOV", "a-original.mp4", "c/a.mp4", "x-attention.mp4", "x.mp4"]
    assert clashes(names) == {2: 0, 3: 0, 6: 5}
