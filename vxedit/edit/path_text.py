"""The inline form of a path, read with a caret under what is wrong, and written.

    path     = keyframe (space keyframe)*  |  motion (space motion)*
    keyframe = TIME:X,Y[,W[,H]][@EASING]        TIME = 12 (frame) | 50% | 1.5s
    motion   = WORD[:NUMBER[,NUMBER]][@EASING]

The easing shapes the way that ends at its keyframe; a motion is one way, over the whole clip.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

from vxedit.edit.easing import Ease
from vxedit.edit.keyframe import (
    MOTIONS,
    Keyframe,
    Motion,
    Time,
    Unit,
    check_amount,
    check_centre,
    check_ease,
    check_motion,
    check_size,
    plain,
)
from vxedit.edit.path import Path, Problem, keyframe_problem, motion_problem
from vxedit.edit.path_json import read_path_file
from vxedit.errors import UsageError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NOT_FINITE = ("nan", "inf", "infinity")
_TIME = re.compile(rf"({_NUMBER.pattern})(%|s)?", re.ASCII | re.IGNORECASE)
_UNITS: dict[str, Unit] = {"": "frame", "%": "percent", "s": "seconds"}
_SHOWN = 100
"""Characters of a longer text that are shown around the caret: more would wrap and move it."""


class Piece(NamedTuple):
    """A part of the text and where in it it starts."""

    text: str
    start: int

    def split(self, mark: str) -> tuple[Piece, Piece | None]:
        """What is before the first `mark`, and what is after it (None without one)."""
        head, found, tail = self.text.partition(mark)
        after = self.start + len(head) + len(mark)
        return Piece(head, self.start), Piece(tail, after) if found else None

    def split_all(self, mark: str) -> list[Piece]:
        head, tail = self.split(mark)
        return [head, *(tail.split_all(mark) if tail else ())]


class _Misplaced(UsageError):
    """A message and the position in the text that it is about; given to the user only with the caret."""

    def __init__(self, message: str, start: int) -> None:
        super().__init__(message)
        self.start = start


def read_path(text: str) -> Path:
    """See `path.parse_path`."""
    name = text.strip()
    if name.lower().endswith(".json"):
        return read_path_file(pathlib.Path(name))
    try:
        return read_inline(text)
    except UsageError:
        if not _is_file(name):
            raise
    return read_path_file(pathlib.Path(name))


def read_inline(text: str) -> Path:
    """Read the inline form. Raises UsageError: the message, the text, and a caret under the place."""
    try:
        return _read(text)
    except _Misplaced as err:
        raise UsageError(f"{err}\n{_pointed(text, err.start)}") from err


def write_inline(path: Path) -> str:
    """The inline form of a path; `read_inline` reads it back to an equal Path."""
    if path.motions:
        return " ".join(_tail(motion.word, ":", motion.amount, motion.ease) for motion in path.motions)
    return " ".join(
        _tail(str(key.time), ":", (*key.centre, *(side for side in key.size or () if side is not None)), key.ease)
        for key in path.keyframes
    )


def _tail(head: str, mark: str, numbers: tuple[float, ...], ease: str) -> str:
    written = f"{head}{mark}{','.join(map(plain, numbers))}" if numbers else head
    return written if ease == "linear" else f"{written}@{ease}"


def _read(text: str) -> Path:
    pieces = [Piece(match.group(), match.start()) for match in re.finditer(r"\S+", text)]
    if not pieces:
        raise _Misplaced("the path is empty; write TIME:X,Y keyframes or a motion: " + ", ".join(MOTIONS), 0)
    timed = [_is_timed(piece) for piece in pieces]
    if any(timed) and not all(timed):
        other = pieces[timed.index(not timed[0])]
        raise _Misplaced("keyframes and named motions don't mix; use one of them", other.start)
    if timed[0]:
        keyframes = tuple(map(_keyframe, pieces))
        return _whole(pieces, keyframe_problem(keyframes), lambda: Path(keyframes=keyframes))
    motions = tuple(map(_motion, pieces))
    return _whole(pieces, motion_problem(motions), lambda: Path(motions=motions))


def _is_timed(piece: Piece) -> bool:
    """Whether a piece was meant as a keyframe: it starts like a number, or with the colon after a time."""
    return piece.text[0] in "+-.:%0123456789" or piece.text.lower().startswith(_NOT_FINITE)


def _whole(pieces: list[Piece], problem: Problem | None, make: Callable[[], Path]) -> Path:
    if problem:
        raise _Misplaced(problem.message, pieces[problem.at].start)
    return make()


def _keyframe(piece: Piece) -> Keyframe:
    body, ease = piece.split("@")
    when, place = body.split(":")
    if place is None:
        raise _Misplaced("a keyframe is TIME:X,Y[,W[,H]], as in 50%:0.5,0.2, with no spaces in it", piece.start)
    time = _time(when)
    numbers = place.split_all(",")
    if not 2 <= len(numbers) <= 4:
        excess = numbers[4].start if len(numbers) > 4 else place.start + len(place.text)
        raise _Misplaced(f"a keyframe takes X,Y[,W[,H]] with no spaces, got {len(numbers)} of them", excess)
    x, y = (_number(name, number, check_centre) for name, number in zip("XY", numbers, strict=False))
    w, h, *_ = [_number(name, number, check_size) for name, number in zip("WH", numbers[2:], strict=False)] + [None] * 2
    return Keyframe(time, (x, y), None if w is None else (w, h), _ease(ease))


def _motion(piece: Piece) -> Motion:
    body, ease = piece.split("@")
    head, rest = body.split(":")
    word = head.text.lower()
    amounts = rest.split_all(",") if rest else []
    with _at(piece.start):
        check_motion(word, len(amounts))
    values = tuple(_amount(word, position, amount) for position, amount in enumerate(amounts))
    eased = _ease(ease)
    with _at(ease.start if ease else piece.start):
        return Motion(word, values, eased)


def _amount(word: str, position: int, piece: Piece) -> float:
    return _number(MOTIONS[word].names[position], piece, lambda _, value: check_amount(word, position, value))


def _time(piece: Piece) -> Time:
    match = _TIME.fullmatch(piece.text)
    if not match:
        got = f"'{piece.text}'" if piece.text else "nothing"
        raise _Misplaced(f"a time is a frame number (12), per cent (50%) or seconds (1.5s), got {got}", piece.start)
    with _at(piece.start):
        return Time(float(match[1]), _UNITS[(match[4] or "").lower()])


def _number(name: str, piece: Piece, check: Callable[[str, float], None]) -> float:
    known = _NUMBER.fullmatch(piece.text) or piece.text.lower().lstrip("+-") in _NOT_FINITE
    if not known:
        got = f"'{piece.text}'" if piece.text else "nothing (leave no spaces after commas)"
        raise _Misplaced(f"{name} must be a number, as 0.25, got {got}", piece.start)
    value = float(piece.text)
    with _at(piece.start):
        check(name, value)
    return value


def _ease(piece: Piece | None) -> Ease:
    if piece is None:
        return "linear"
    with _at(piece.start):
        check_ease(piece.text.lower())
    return cast(Ease, piece.text.lower())


@contextmanager
def _at(start: int) -> Iterator[None]:
    """Give an error of the checks the place that it is about."""
    try:
        yield
    except UsageError as err:
        raise _Misplaced(str(err), start) from err


def _pointed(text: str, start: int) -> str:
    """The text on one line, cut to a window where long, and a caret under the character at `start`."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    begin = max(0, min(start - _SHOWN // 2, len(shown) - _SHOWN))
    left, right = "..." if begin else "", "..." if begin + _SHOWN < len(shown) else ""
    return f"  {left}{shown[begin : begin + _SHOWN]}{right}\n  {' ' * (len(left) + start - begin)}^"


def _is_file(name: str) -> bool:
    try:
        return pathlib.Path(name).is_file()
    except (OSError, ValueError):  # too long for a name, or a null character in it
        return False
