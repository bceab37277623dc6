"""Words of the prompt and the columns they take."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from vxedit.backbones.registry import outline
from vxedit.backbones.tokens import columns
from vxedit.backbones.unet3d import UNet3D
from vxedit.errors import UsageError


def words(tiny: UNet3D, prompt: str, obj: str) -> list[str]:
    """What the columns of `obj` cover, piece by piece."""
    pieces = tiny.tokens(prompt)
    return [prompt[p.start : p.end] for p in pieces if p.column in columns(pieces, prompt, obj)]


def test_pieces_cover_the_prompt_from_column_one(tiny: UNet3D) -> None:
    prompt = "A red  burger!"
    pieces = tiny.tokens(prompt)
    assert [p.column for p in pieces] == [1, 2, 3, 4, 5]
    assert [prompt[p.start : p.end] for p in pieces] == ["A", "red", "bur", "ger", "!"]
    assert tiny.tokens("") == ()


def test_outline_sees_the_same_pieces_without_weights(tiny: UNet3D, tiny_folder: Path) -> None:
    assert outline(str(tiny_folder)).tokens("a burger") == tiny.tokens("a burger")


@pytest.mark.parametrize(
    ("prompt", "obj", "expected"),
    [
        ("the burger on the red ball", "burger", ["bur", "ger"]),
        ("the Burger on the red ball", "bURGER", ["Bur", "ger"]),
        ("the burger on the red  ball", "Red Ball", ["red", "ball"]),
        ("a cat", "cat", ["c", "a", "t"]),
        ("on the bus a bu", "bu", ["b", "u"]),
        ("the burger's ball", "burger", ["bur", "ger"]),
        ("the hot-ball", "ball", ["ball"]),
        ("the burgers", "burger", ["bur", "ge", "r", "s"]),
        ("the ball", "balls", ["ball"]),
        ("the ball", "ball's", ["ball"]),
    ],
)
def test_a_word_takes_every_piece_of_its_own_and_no_other(
    tiny: UNet3D, prompt: str, obj: str, expected: list[str]
) -> None:
    assert words(tiny, prompt, obj) == expected


def test_the_first_of_several_is_taken_and_the_exact_word_before_its_plural(tiny: UNet3D) -> None:
    prompt = "balls on a ball on the ball"
    pieces = tiny.tokens(prompt)
    (column,) = columns(pieces, prompt, "ball")
    assert next(p for p in pieces if p.column == column).start == prompt.index("ball on")


def test_taking_a_plural_is_said(tiny: UNet3D, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        words(tiny, "two burgers", "burger")
    assert "'burgers'" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        words(tiny, "two burgers", "burgers")
    assert not caplog.text


def test_a_word_that_is_not_there_is_answered_with_those_that_are(tiny: UNet3D) -> None:
    prompt = "a red burger on the table"
    with pytest.raises(UsageError, match=r"did you mean 'burger'.*a, red, burger, on, the, table"):
        words(tiny, prompt, "bugrer")
    for part_of_a_word in ("urge", "tab", "red table"):
        with pytest.raises(UsageError, match="not in the prompt"):
            words(tiny, prompt, part_of_a_word)
    with pytest.raises(UsageError, match="empty"):
        words(tiny, prompt, " ")


def test_a_prompt_that_is_too_long_names_what_is_cut(tiny: UNet3D, tiny_folder: Path) -> None:
    fits = "the " * 74 + "ball"  # 75 tokens, and start and end
    assert len(tiny.tokens(fits)) == 75
    for ask in (tiny.tokens, tiny.text, outline(str(tiny_folder)).tokens):
        with pytest.raises(UsageError, match=r"76 tokens and the model takes 75: these words don't fit: ball;"):
            ask("the " * 75 + "ball")
    with pytest.raises(UsageError, match=r"don't fit: burger, red;"):
        tiny.text("the " * 74 + "burger red")
