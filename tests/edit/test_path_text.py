"""Reading and writing paths: inline and JSON are the same, and what is wrong is pointed at."""

from __future__ import annotations

import json
from pathlib import Path as File

import numpy as np
import pytest

from vxedit.edit.easing import EASES
from vxedit.edit.keyframe import MOTIONS
from vxedit.edit.path import Keyframe, Motion, Path, Time, parse_path
from vxedit.edit.path_json import path_from_json
from vxedit.edit.path_text import write_inline
from vxedit.errors import UsageError


def keyed(*entries: dict) -> dict:
    return {"version": 1, "units": "relative", "keyframes": list(entries)}


def test_the_inline_form_gives_the_keyframes_it_says() -> None:
    assert parse_path("0%:0.3,0.3 1.5s:-.1,0.2,0.25 \n 12:0.7,0.7,0.4,0.3@Ease-In-Out") == Path(
        (
            Keyframe(Time(0, "percent"), (0.3, 0.3)),
            Keyframe(Time(1.5, "seconds"), (-0.1, 0.2), (0.25, None)),
            Keyframe(Time(12, "frame"), (0.7, 0.7), (0.4, 0.3), "ease-in-out"),
        )
    )


def test_motions_are_read_by_name() -> None:
    assert parse_path("by:+0.2,0 SCALE:1.5@ease-out") == Path(
        motions=(Motion("by", (0.2, 0.0)), Motion("scale", (1.5,), "ease-out"))
    )
    assert parse_path("left") == Path(motions=(Motion("left", (0.25,)),))
    assert parse_path("hold").motions == (Motion("hold"),)


@pytest.mark.parametrize(
    "text, blamed, message",
    [
        ("0%:0.3,640", "640", "-0.5 to 1.5, got 640"),
        ("0%:0.3,0.3 50%:nan,0.2", "nan", "X must be a number"),
        ("0%:0.3,0.3 50%:0.3,inf", "inf", "Y must be a number"),
        ("0%:0.3,0.3,0", "0", "W must be more than 0"),
        ("0%:0.3,0.3,0.1,1.2", "1.2", "H must be 0 to 1"),
        ("0%:0.3,zero", "zero", "Y must be a number"),
        ("0%:0.3,0.3 x%:0.3,0.3", "x%", "unknown motion|don't mix"),
        ("0%:0.3,0.3 5h:0.3,0.3", "5h", "a time is a frame number"),
        ("0%:0.3,0.3 -5:0.3,0.3", "-5", "0 or later"),
        ("0%:0.3,0.3 150%:0.3,0.3", "150%", "at most 100%"),
        ("2.5:0.3,0.3", "2.5", "must be whole"),
        ("nan:0.3,0.3", "nan", "a time is a frame number"),
        ("12:0.1,0.3 5:0.2,0.3", "5:", "5 is earlier than 12"),
        ("12:0.1,0.3 12:0.2,0.3", "12:0.2", "12 repeats 12"),
        ("0%:0.1,0.3,0.2,0.2,0.9", "0.9", "got 5 of them"),
        ("0%:0.1,0.1 50%", "50%", "a keyframe is TIME:X,Y"),
        ("0%:0.1,0.1 left", "left", "don't mix"),
        ("left 0%:0.1,0.1", "0%", "don't mix"),
        ("up lefft", "lefft", "did you mean 'left'"),
        ("up zzz", "zzz", "left, right, up, down, to, by, scale, hold"),
        ("by:+0.2,1.5", "1.5", "by's DY must be -1 to 1"),
        ("scale:0", "0", "scale's factor must be 0.05 to 20"),
        ("hold scale", "scale", "written scale:factor, got 0"),
        ("by:0.1", "by", "written by:DX,DY, got 1 number after"),
        ("by:0.1,0.1 to:0.7,0.7", "to", "both say where"),
        ("left:0.1 left:0.2", "left:0.2", "named twice"),
        ("scale:2@ease-inn", "ease-inn", "did you mean 'ease-in'"),
        ("hold@ease-in", "ease-in", "takes no easing"),
        ("0%:0.1,0.1@ease-in 100%:0.2,0.2", "0%:0.1", "no way to ease"),
    ],
)
def test_the_caret_stands_under_what_is_wrong(text: str, blamed: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_path(text)
    _, shown, caret = str(caught.value).split("\n")
    assert shown == f"  {text}" and caret.strip() == "^"
    assert caret.index("^") == shown.rindex(blamed)


def test_a_space_after_a_comma_is_pointed_at_where_the_number_is_missing() -> None:
    with pytest.raises(UsageError, match="no spaces") as caught:
        parse_path("0%:0.3, 0.4")
    _, shown, caret = str(caught.value).split("\n")
    assert caret.index("^") == shown.index(", ") + 1


def test_a_long_text_is_cut_to_a_line_around_the_caret() -> None:
    text = (
        " ".join(f"{i}:0.5,0.5" for i in range(60)) + " 60:0.5,oops " + " ".join(f"{i}:0.5,0.5" for i in range(61, 90))
    )
    with pytest.raises(UsageError) as caught:
        parse_path(text)
    _, shown, caret = str(caught.value).split("\n")
    assert len(shown) < 120 and shown[caret.index("^") :].startswith("oops")


def test_tabs_and_line_ends_do_not_move_the_caret() -> None:
    with pytest.raises(UsageError) as caught:
        parse_path("0%:0.1,0.1\n\t50%:0.1,oops")
    _, shown, caret = str(caught.value).split("\n")
    assert shown[caret.index("^") :] == "oops"


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_path_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match="TIME:X,Y"):
        parse_path(text)


def random_path(rng: np.random.Generator) -> Path:
    if rng.random() < 0.4:
        words = rng.permutation([word for word in MOTIONS if word != "to"])[: rng.integers(1, 5)]
        return Path(motions=tuple(random_motion(str(word), rng) for word in words))
    unit = ("frame", "percent", "seconds")[rng.integers(3)]
    times = np.sort(rng.choice(100, size=rng.integers(1, 6), replace=False)) + (0 if unit == "frame" else rng.random())
    keys = [random_keyframe(Time(float(t), unit), rng, first=i == 0) for i, t in enumerate(times)]
    return Path(tuple(keys))


def random_motion(word: str, rng: np.random.Generator) -> Motion:
    form = MOTIONS[word]
    amount = tuple(float(v) for v in rng.uniform(form.low, form.high, len(form.names)))
    return Motion(word, amount, "linear" if word == "hold" else EASES[rng.integers(len(EASES))])


def random_keyframe(time: Time, rng: np.random.Generator, *, first: bool) -> Keyframe:
    w, h = (float(v) for v in rng.uniform(1e-6, 1, 2))
    size = (None, (w, None), (w, h))[rng.integers(3)]
    x, y = (float(v) for v in rng.uniform(-0.5, 1.5, 2))
    return Keyframe(time, (x, y), size, "linear" if first else EASES[rng.integers(len(EASES))])


@pytest.mark.parametrize("seed", range(60))
def test_inline_and_json_say_the_same_to_the_last_bit(seed: int, tmp_path: File) -> None:
    path = random_path(np.random.default_rng(seed))
    file = tmp_path / "path.json"
    file.write_text(json.dumps(path.to_json()), encoding="utf-8")
    assert parse_path(write_inline(path)) == path
    assert parse_path(str(file)) == path
    assert path_from_json(path.to_json()) == path


def test_a_json_file_is_known_by_its_ending_or_by_being_there(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = json.dumps(keyed({"frame": 3, "box": [0.2, 0.3, 0.4, 0.7]}))
    for name in ("path.json", "keyframes", "left"):
        File(name).write_text(text)
    expected = Path((Keyframe(Time(3, "frame"), (0.3, 0.5), (0.2, 0.4)),))
    for name in ("path.json", " keyframes "):
        key, wanted = parse_path(name).keyframes[0], expected.keyframes[0]
        assert key.time == wanted.time and key.centre == pytest.approx(wanted.centre)
        assert key.size == pytest.approx(wanted.size)
    assert parse_path("left") == Path(motions=(Motion("left"),))  # a file of that name doesn't change the motion


def test_the_documented_json_is_read() -> None:
    full = {"time": "50%", "x": 0.5, "y": 0.2, "w": 0.4, "h": 0.3, "ease": "linear"}
    assert path_from_json(keyed(full, {"time": "1.5s", "x": 0, "y": 1, "w": 0.2}, {"time": 9, "x": 0, "y": 1})) == Path(
        (
            Keyframe(Time(50, "percent"), (0.5, 0.2), (0.4, 0.3)),
            Keyframe(Time(1.5, "seconds"), (0, 1), (0.2, None)),
            Keyframe(Time(9, "frame"), (0, 1)),
        )
    )


@pytest.mark.parametrize(
    "data, message",
    [
        ([], "must be a JSON object"),
        ({}, '"version" must be 1'),
        ({"version": 2, "keyframes": []}, '"version" must be 1, got 2'),
        ({"version": True, "keyframes": []}, '"version" must be 1'),
        ({"version": 1, "units": "px", "keyframes": []}, '"units" must be "relative"'),
        ({"version": 1, "keyframs": []}, "unknown key \"keyframs\" .did you mean 'keyframes'"),
        ({"version": 1, "keyframes": [], "motions": []}, "either"),
        ({"version": 1}, "either"),
        (keyed(), "at least one"),
        (
            keyed({"time": "0%", "x": 0.1, "y": 0.1, "easing": "hold"}),
            r"keyframes\[0\].*\"easing\" .did you mean 'ease'",
        ),
        (keyed({"time": "0%", "x": 0.1}), '"y" is missing'),
        (keyed({"x": 0.1, "y": 0.1}), '"time"'),
        (keyed({"time": "0%", "frame": 1, "x": 0.1, "y": 0.1}), "either"),
        (keyed({"time": "half", "x": 0.1, "y": 0.1}), 'got "half"'),
        (keyed({"time": "nan%", "x": 0.1, "y": 0.1}), "0 or later"),
        (keyed({"time": True, "x": 0.1, "y": 0.1}), '"time" must be a number'),
        (keyed({"frame": 1.5, "x": 0.1, "y": 0.1}), "whole"),
        (keyed({"frame": 1, "x": "0.1", "y": 0.1}), '"x" must be a number'),
        (keyed({"frame": 1, "x": 10**400, "y": 0.1}), "X must be"),
        (keyed({"frame": 1, "x": None, "y": 0.1}), "got null"),
        (keyed({"frame": 1, "x": 0.1, "y": 0.1, "h": 0.2}), '"h" needs "w"'),
        (keyed({"frame": 1, "x": 0.1, "y": 0.1, "ease": 3}), '"ease" must be'),
        (keyed({"frame": 1, "x": 0.1, "y": 0.1, "box": [0, 0, 1, 1]}), 'leave out "x"'),
        (keyed({"frame": 1, "box": [0, 0, 1]}), "x0, y0, x1, y1"),
        (keyed({"frame": 1, "box": [0.5, 0, 0.5, 1]}), "x0 < x1"),
        (keyed({"frame": 2, "x": 0.1, "y": 0.1}, {"frame": 1, "x": 0.1, "y": 0.1}), "must rise in time"),
        ({"version": 1, "motions": [{"motion": "lefft"}]}, r"motions\[0\]: unknown motion 'lefft'"),
        ({"version": 1, "motions": [{"motion": "by", "amount": 3}]}, "list of numbers"),
        ({"version": 1, "motions": [{"motion": 3}]}, '"motion" must be'),
    ],
)
def test_json_that_cannot_be_meant_is_refused_with_its_place(data: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        path_from_json(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not JSON"),
        (b'{"version": 1,\n "keyframes": [}', "line 2, column 16"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b'{"version": NaN}', "NaN is not a place"),
        (b'{"version": 1, "version": 1}', "given twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"version": ' + b"1" * 5000 + b"}", "too long|must be 1"),
        (b" " * (5 << 20), "larger than"),
    ],
)
def test_a_file_that_is_no_path_is_refused_by_its_name(content: bytes, message: str, tmp_path: File) -> None:
    file = tmp_path / "path.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        parse_path(str(file))
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["none.json", "x" * 5000 + ".json", "a\0b.json"])
def test_a_file_that_is_not_there_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        parse_path(name)


def test_a_folder_is_not_a_path(tmp_path: File) -> None:
    (tmp_path / "a.json").mkdir()
    for name in (tmp_path, tmp_path / "a.json"):
        with pytest.raises(UsageError):
            parse_path(str(name))


PARTS = (
    "0%",
    "50%",
    "100%",
    "1.5s",
    "3",
    ":",
    ",",
    "@",
    " ",
    "0.5",
    "-1",
    "1e9",
    "1e999",
    "nan",
    "inf",
    ".",
    "+",
    "\0",
    "%",
)
WORDS = (
    *MOTIONS,
    *EASES,
    "lef",
    "é",
    "٣",
    "１",
    "\u2028",
    "\ud800",
    "_",
    "/",
    "~",
    "'",
    '"',
    "{",
    "%s",
    "\\",
    "\t",
    "1_0",
)


@pytest.mark.parametrize("seed", range(20))
def test_no_text_raises_anything_else(seed: int, tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(seed)
    for _ in range(200):
        text = "".join(rng.choice(PARTS + WORDS, size=rng.integers(1, 14)))
        try:
            path = parse_path(text)
        except UsageError as err:
            assert "^" in str(err)
        else:
            assert parse_path(write_inline(path)) == path


@pytest.mark.parametrize("seed", range(10))
def test_no_damaged_path_raises_anything_else(seed: int, tmp_path: File) -> None:
    rng = np.random.default_rng(seed)
    file = tmp_path / "path.json"
    for _ in range(25):
        path = random_path(rng)
        for whole, name in ((write_inline(path), None), (json.dumps(path.to_json()), str(file))):
            chars = list(whole)
            for _ in range(rng.integers(1, 4)):
                chars[rng.integers(len(chars))] = str(rng.choice(PARTS + WORDS))
            file.write_text("".join(chars), encoding="utf-8", errors="surrogatepass")
            try:
                parse_path(name or "".join(chars))
            except UsageError as err:
                assert str(err)
