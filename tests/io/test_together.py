"""Several files that appear together or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from vxedit.errors import OutputError
from vxedit.io.atomic import replacing_together


def names(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_all_appear_at_the_end_and_none_before(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.txt", "b.txt")]
    with replacing_together(paths) as places:
        assert [place.name for place in places] == ["a.txt", "b.txt"]
        for place, text in zip(places, "ab", strict=True):
            place.write_text(text)
        assert not any(path.exists() for path in paths)
    assert names(tmp_path) == {"a.txt": "a", "b.txt": "b"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no")])
def test_after_an_error_all_is_as_it_was(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a.txt").write_text("old")
    with (
        pytest.raises(type(error)),
        replacing_together([tmp_path / "a.txt", tmp_path / "b.txt"], overwrite=True) as places,
    ):
        places[0].write_text("new")
        raise error
    assert names(tmp_path) == {"a.txt": "old"}


def test_a_place_left_empty_publishes_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with (
        pytest.raises(FileNotFoundError),
        replacing_together([tmp_path / "a.txt", tmp_path / "b.txt"], overwrite=True) as p,
    ):
        p[1].write_text("new")
    assert names(tmp_path) == {"a.txt": "old"}


def test_one_that_exists_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"), replacing_together([tmp_path / "a.txt", tmp_path / "b.txt"]):
        raise AssertionError("the block was entered")
    assert names(tmp_path) == {"b.txt": "old"}


def test_errors_name_the_user_s_files(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, replacing_together([tmp_path / "a.txt"]) as places:
        raise OutputError(f"{places[0]} can't be written")
    assert str(caught.value) == f"{tmp_path / 'a.txt'} can't be written"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real.txt").write_text("old")
    (tmp_path / "a.txt").symlink_to(tmp_path / "far" / "real.txt")
    with replacing_together([tmp_path / "a.txt"], overwrite=True) as places:
        places[0].write_text("new")
    assert (tmp_path / "a.txt").is_symlink() and (tmp_path / "far" / "real.txt").read_text() == "new"
