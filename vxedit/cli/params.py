"""Structured values of the command line, parsed here so that the library never sees their text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

Value = TypeVar("Value")


class Parsed(click.ParamType):
    """A value whose text `parse` reads; `parse` raises ValueError where it can't. `expects` ends the error's line."""

    def __init__(self, name: str, parse: Callable[[str], Any], expects: str) -> None:
        self.name = name
        self.parse = parse
        self.expects = expects

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is not {self.expects}", param, ctx)


class Number(click.FloatRange):
    """A finite number in a range; click's own lets NaN through, which compares false with both ends."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def parse_box(text: str) -> tuple[float, float, float, float]:
    """ "x0,y0,x1,y1" as shares of the frame, 0 <= x0 < x1 <= 1 and the same for y. Raises ValueError."""
    x0, y0, x1, y1 = (float(part) for part in text.split(","))
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(text)
    return x0, y0, x1, y1


def parse_size(text: str) -> tuple[int, int]:
    """ "WxH" or "W,H" in pixels as (width, height). Raises ValueError."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×,]\s*(\d{1,5})\s*", text, re.IGNORECASE)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (width and height):
        raise ValueError(text)
    return width, height


def parse_fps(text: str) -> Fraction:
    """Frames a second, "30000/1001" or "29.97", exactly as written. Raises ValueError or ZeroDivisionError."""
    rate = Fraction(text)
    if rate <= 0:
        raise ValueError(text)
    return rate


def parse_device(text: str) -> str:
    """ "auto", "cpu", "cuda" or "cuda:N"; whether it is there is found out when the model loads. Raises ValueError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise ValueError(text)
    return text


BOX = Parsed("X0,Y0,X1,Y1", parse_box, 'a box "x0,y0,x1,y1" of shares of the frame, 0 <= x0 < x1 <= 1 and y alike')
SIZE = Parsed("WxH", parse_size, 'a size in pixels such as "512x320"')
FPS = Parsed("FPS", parse_fps, 'a rate above 0 such as "24", "29.97" or "30000/1001"')
DEVICE = Parsed("auto|cpu|cuda|cuda:N", parse_device, "auto, cpu, cuda or cuda:N")
DTYPE = click.Choice(["auto", "fp32", "fp16", "bf16"])
FILE = click.Path(path_type=Path)
