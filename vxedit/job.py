"""What one edit of a real clip is asked to do: the settings of every stage, plain and frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

Progress = Callable[[str, int, int], None]
"""Called with a stage's name ("invert", "edit", "decode"), the steps done and the steps in all."""

InversionKind = Literal["null-text", "uni", "ddim"]


@dataclass(frozen=True)
class Selection:
    """Which part of the input is edited, and at what size and rate the model sees it.

    `start_s` seconds into the clip; `num_frames` at most this many frames (None: as many as there are, within the
    model's range); `fps` resamples by time (None: the clip's own rate); `size` (width, height) in pixels for the model
    (None: chosen from the clip's aspect and the model's native area).
    """

    start_s: float = 0.0
    num_frames: int | None = None
    fps: Fraction | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class InvertSettings:
    """`kind`: null-text (Uni-Inv, then null-text optimisation), uni (Uni-Inv alone) or ddim (the plain rule).
    `guidance_scale` is the one that null-text optimisation prepares the replay for. `per_frame`: one null embedding a
    frame."""

    kind: InversionKind = "null-text"
    steps: int = 20
    guidance_scale: float = 2.5
    per_frame: bool = False


@dataclass(frozen=True)
class EditSettings:
    """`strength` 0..1 is the one dial: how long and how hard the path is enforced. 0 changes nothing. `seed` for the
    fill."""

    strength: float = 0.7
    seed: int = 0


@dataclass(frozen=True)
class Extras:
    """Files written beside the result: before | path | after side by side, the same as a GIF, the attention as a
    video."""

    side_by_side: bool = False
    gif: bool = False
    attention: bool = False


@dataclass(frozen=True)
class RealJob:
    """One edit of a real clip.

    `obj` is the word or phrase that names the object; `path` an inline path, a named motion, or a JSON file of
    keyframes.
    `box` (x0, y0, x1, y1) as shares of the frame, or `mask` (PNG, or a folder of PNGs), say where the object is in the
    source; without them the model's attention does. `prompt` None: found beside or in the input, or made from `obj`.
    `allow_pickle` lets weights that are pickles (.bin) be read: only for files that are trusted. `device` and `dtype`
    may be "auto".
    """

    input: Path
    output: Path
    obj: str
    path: str
    prompt: str | None = None
    box: tuple[float, float, float, float] | None = None
    mask: Path | None = None
    model: str = "embedded"
    allow_pickle: bool = False
    device: str = "auto"
    dtype: str = "auto"
    selection: Selection = field(default_factory=Selection)
    invert: InvertSettings = field(default_factory=InvertSettings)
    edit: EditSettings = field(default_factory=EditSettings)
    extras: Extras = field(default_factory=Extras)
    overwrite: bool = False
