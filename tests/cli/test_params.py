"""Structured values of the command line, and the progress bars."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import click
import pytest

from vxedit.cli.params import BOX, DEVICE, FPS, SIZE, Number
from vxedit.cli.progress import bars


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (BOX, "0.1,0.2,0.5,1", (0.1, 0.2, 0.5, 1.0)),
        (BOX, " 0, 0, 1, 1 ", (0.0, 0.0, 1.0, 1.0)),
        (SIZE, "512x320", (512, 320)),
        (SIZE, "512X320", (512, 320)),
        (SIZE, "512, 320", (512, 320)),
        (FPS, "30000/1001", Fraction(30000, 1001)),
        (FPS, "29.97", Fraction(2997, 100)),
        (FPS, "24", Fraction(24)),
        (DEVICE, "cuda:3", "cuda:3"),
        (Number(0, 1), "1", 1.0),
    ],
)
def test_values_are_read(kind: click.ParamType, text: str, value: Any) -> None:
    read = kind.convert(text, None, None)
    assert read == value and type(read) is type(value)
    assert kind.convert(read, None, None) == value, "a value that is parsed already passes"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (BOX, text)
        for text in ("", "0,0,1", "0,0,1,1,1", "0,0,1,2", "-0.1,0,1,1", "0.5,0,0.5,1", "0,0.9,1,0.1", "nan,0,1,1")
    ]
    + [(SIZE, text) for text in ("", "512", "512x", "0x320", "512x-320", "1.5x2", "512x320x3", "999999x2")]
    + [(FPS, text) for text in ("", "0", "-24", "24/0", "nan", "inf", "fast")]
    + [(DEVICE, text) for text in ("", "gpu", "cuda:", "cuda:x", "cpu ")]
    + [(Number(0, 1), text) for text in ("nan", "inf", "1.01", "-0.01", "half")],
)
def test_values_that_can_t_be_meant_are_refused(kind: click.ParamType, text: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert "\n" not in caught.value.message and repr(text)[1:-1] in caught.value.message


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, use: Callable[..., None], *, quiet: bool) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with bars(quiet=quiet) as progress:
        use(progress)
    return stream.getvalue()


def stages(progress: Callable[[str, int, int], None]) -> None:
    for stage in ("invert", "edit", "decode"):
        for done in range(1, 5):
            progress(stage, done, 4)


def test_a_terminal_gets_a_bar_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(monkeypatch, Terminal(), stages, quiet=False)
    last = [line.split("\r")[-1] for line in shown.split("\n")]
    assert [line.split()[0].rstrip(":") for line in last if line] == ["invert", "edit", "decode"]
    assert all("100%" in line and "4/4" in line for line in last if line)


def windowed(progress: Callable[[str, int, int], None]) -> None:
    """Three windows, each of which goes through all stages."""
    for window in range(3):
        for stage in ("invert", "edit", "decode"):
            for done in range(1, 5):
                progress(stage, 4 * window + done, 12)


def test_a_stage_that_is_gone_on_with_keeps_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(monkeypatch, Terminal(), windowed, quiet=False)
    last = screen(shown)
    assert [line.split()[0].rstrip(":") for line in last] == ["invert", "edit", "decode"]
    assert all("100%" in line and "12/12" in line for line in last)


def screen(shown: str) -> list[str]:
    """The lines that a terminal is left with."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[A|\r|\n|[^\x1b\r\n]+", shown):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[A":
            row = max(0, row - 1)
        elif part != "\r":  # a bar is always written from the left, over the whole of the one before
            lines[row] = part
    return [line for line in lines if line.strip()]


def test_quiet_and_files_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, Terminal(), stages, quiet=True) == ""
    assert drawn(monkeypatch, io.StringIO(), stages, quiet=False) == ""


def test_a_bar_is_closed_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(RuntimeError), bars(quiet=False) as progress:
        progress("edit", 1, 4)
        # Held on to, or it would be closed by being collected; tqdm marks a closed bar as disabled.
        bar = vars(progress)["bar"]
        raise RuntimeError
    assert bar.disable and stream.getvalue().endswith("\n") and "1/4" in stream.getvalue()
