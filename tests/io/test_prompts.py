"""Where the prompt comes from, in which order, and what is passed over."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from vxedit.errors import UsageError
from vxedit.io.prompts import EDITED, Prompt, find_prompt


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return tmp_path / "burger.mp4"


def test_order(clip: Path) -> None:
    comment = "a burger in a comment"
    assert find_prompt(clip, "burger", None, None) == Prompt("a burger", "made from --obj")
    assert find_prompt(clip, "burger", None, comment) == Prompt(comment, "comment")
    clip.with_suffix(".txt").write_text("a burger\n on a  table\n")
    assert find_prompt(clip, "burger", None, comment) == Prompt("a burger on a table", "burger.txt")
    assert find_prompt(clip, "burger", " a burger, given ", comment) == Prompt("a burger, given", "given")


def test_an_empty_prompt_was_not_meant(clip: Path) -> None:
    with pytest.raises(UsageError, match="--prompt"):
        find_prompt(clip, "burger", "  ", None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b" \n", "empty"),
        (b"burger\x00\x01", "isn't text"),
        (b"burger \xff\xfe", "isn't text"),
        (b"burger " * 58, "longer than 400"),
        ("ä burger ".encode() * 300, "longer than 400"),
        (b'{"prompt": "a burger"}', "JSON"),
        (b'["a burger"]', "JSON"),
    ],
)
def test_sidecars_that_are_no_caption(clip: Path, caplog: pytest.LogCaptureFixture, data: bytes, reason: str) -> None:
    caplog.set_level(logging.INFO, "vxedit")
    clip.with_suffix(".txt").write_bytes(data)
    assert find_prompt(clip, "burger", None, "the burger falls") == Prompt("the burger falls", "comment")
    assert reason in caplog.text and "burger.txt" in caplog.text


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("", "empty"),
        ('{"burger": 1}', "JSON"),
        ("burger " * 58, "longer than 400"),
        ("Cropped with a tool", "doesn't name 'burger'"),
    ],
)
def test_comments_that_are_no_caption(clip: Path, caplog: pytest.LogCaptureFixture, comment: str, reason: str) -> None:
    caplog.set_level(logging.INFO, "vxedit")
    assert find_prompt(clip, "burger", None, comment).origin == "made from --obj"
    assert reason in caplog.text


def test_the_longest_caption(clip: Path) -> None:
    clip.with_suffix(".txt").write_text("x" * 400)
    assert find_prompt(clip, "x", None, None).origin == "burger.txt"


@pytest.mark.parametrize(
    ("obj", "sentence"),
    [
        ("burger", "a burger"),
        ("apple", "an apple"),
        ("Orange ball", "an Orange ball"),
        ("hourglass", "an hourglass"),
        ("unicorn", "a unicorn"),
        ("umbrella", "an umbrella"),
        ("the burger", "the burger"),
        (" red  car ", "a red car"),
    ],
)
def test_sentence(clip: Path, obj: str, sentence: str) -> None:
    assert find_prompt(clip, obj, None, None).text == sentence


def test_what_an_edit_noted_in_its_video_is_no_caption(tmp_path: Path) -> None:
    found = find_prompt(tmp_path / "out.mp4", "burger", None, f"{EDITED}: burger along left")
    assert found.origin == "made from --obj" and found.text == "a burger"


def test_a_sentence_made_for_several_objects_names_them_all(tmp_path: Path) -> None:
    found = find_prompt(tmp_path / "out.mp4", "car", None, None, others=["apple"])
    assert found.text == "a car and an apple"
