"""Finds the prompt that describes a clip."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vxedit.errors import UsageError

logger = logging.getLogger(__name__)

EDITED = "edited with vxedit"
"""How the comment that an edit leaves in its video begins; it is no caption."""

MOST_CHARACTERS = 400
"""Longer text is a description or a log, not a caption; text encoders read some 77 tokens."""


@dataclass(frozen=True)
class Prompt:
    """The caption, and where it is from: "given", the sidecar's name, "comment" or "made from --obj"."""

    text: str
    origin: str


def find_prompt(input: Path, obj: str, given: str | None, comment: str | None, *, others: Sequence[str] = ()) -> Prompt:
    """The prompt for the clip `input`: `given`; else a .txt beside it with the same stem; else the container's
    `comment`; else a plain sentence with `obj` and the `others`.

    A sidecar or comment that is empty, not text, JSON or longer than 400 characters is passed over, as is a comment
    that doesn't name `obj`: editors leave all sorts of notes there. The reason is logged. Raises UsageError if
    `given` is empty.
    """
    if given is not None:
        if not given.strip():
            raise UsageError("--prompt is empty; describe the clip, or leave --prompt out")
        return Prompt(_one_line(given), "given")
    sidecar = input.with_suffix(".txt")
    beside = sidecar != input and sidecar.is_file()
    if beside and (text := _usable(_start_of(sidecar), sidecar.name)) is not None:
        return Prompt(text, sidecar.name)
    if comment is not None and (text := _usable(comment, "the comment in the video")) is not None:
        if _names(text, obj):
            return Prompt(text, "comment")
        logger.info("the comment in the video is ignored: it doesn't name %r", obj)
    return Prompt(" and ".join(_sentence(one) for one in (obj, *others)), "made from --obj")


def _start_of(sidecar: Path) -> str | None:
    """Enough of the file to tell whether it is a caption; None if it isn't text."""
    try:
        with sidecar.open(encoding="utf-8-sig") as file:
            return file.read(2 * MOST_CHARACTERS)
    except (OSError, UnicodeDecodeError) as err:
        logger.debug("%s: %s", sidecar, err)
        return None


def _usable(text: str | None, name: str) -> str | None:
    reason = _fault(text)
    if text is None or reason is not None:
        logger.info("%s is ignored: %s", name, reason)
        return None
    return _one_line(text)


def _fault(text: str | None) -> str | None:
    if text is None or re.search(r"[\x00-\x08\x0e-\x1f\x7f\ufffd]", text):
        return "it isn't text"
    if not text.strip():
        return "it is empty"
    if text.strip().startswith(EDITED):
        return "it says what an edit did"
    if len(text.strip()) > MOST_CHARACTERS:
        return f"it is longer than {MOST_CHARACTERS} characters"
    return "it is JSON" if _is_json(text) else None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), (dict, list))
    except ValueError:
        return False


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _names(text: str, obj: str) -> bool:
    return re.search(rf"\b{re.escape(_one_line(obj))}", text, re.IGNORECASE) is not None


def _sentence(obj: str) -> str:
    words = _one_line(obj)
    if re.match(r"(a|an|the|some|my|his|her|its|our|their|two|three)\b", words, re.IGNORECASE):
        return words
    # By sound, not by letter: an hour, a unicorn.
    vowel = re.match(r"[aeiou]|hour|honest|heir", words, re.IGNORECASE)
    spoken_as_consonant = re.match(r"uni[cfqtv]|us[aeiu]|eu|one\b|ufo|ute", words, re.IGNORECASE)
    return f"{'an' if vowel and not spoken_as_consonant else 'a'} {words}"
