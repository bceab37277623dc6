"""How sharply a model looks at words, in figures, and what to tell a user of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vxedit.edit.locate import concentration

Verdict = Literal["sharp", "usable", "diffuse"]

SHARP = 5.0
"""From this concentration on half of the word's attention or more lies in a tenth of the frame. A word whose object
fills a fifth of the frame or more can't reach it, however well it is seen."""

DIFFUSE = 2.5
"""Below this concentration the word's attention says little about where the object is."""

SAME_PLACE = 0.9
"""Two words that can steer and whose maps' cosine is this or more can't be told apart by where they look."""


@dataclass(frozen=True)
class WordFigures:
    """How one word looks.

    `concentration`: how much more of its attention lies in the tenth of the frame where it is strongest than if it were
    flat, about 1 to 10, mean over frames; `share` (0..1): the part that lies there. `moves`: the distance between the
    two frames whose peaks lie farthest apart, the frame's diagonal = 1. `overlap`: the cosine (0..1) of its maps with
    every other word's. `verdict`: "sharp" from SHARP on, "diffuse" below DIFFUSE, "usable" between.
    """

    word: str
    share: float
    concentration: float
    moves: float
    verdict: Verdict
    overlap: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.word}: {self.verdict}, {self.share:.0%} in its peak, moves {self.moves:.2f}"


def measure(words: Sequence[str], maps: np.ndarray, frame: tuple[int, int]) -> tuple[WordFigures, ...]:
    """The figures of `words` from their maps (W, F, h, w) over frames of (height, width) pixels, in the same order."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    cosines = np.clip(unit @ unit.T, 0, 1)
    found = []
    for i, (word, own) in enumerate(zip(words, maps, strict=True)):
        level = float(concentration(own).mean())
        overlap = {other: float(cosines[i, k]) for k, other in enumerate(words) if k != i}
        found.append(WordFigures(word, min(1.0, level / 10), level, moves(own, frame), verdict(level), overlap))
    return tuple(found)


def verdict(level: float) -> Verdict:
    """What a concentration comes to: "sharp" from SHARP on, "usable" from DIFFUSE on, else "diffuse"."""
    return "sharp" if level >= SHARP else "usable" if level >= DIFFUSE else "diffuse"


def moves(maps: np.ndarray, frame: tuple[int, int]) -> float:
    """How far apart the peaks of maps (F, h, w) lie in the two frames where they are farthest, over frames of (height,
    width) pixels with the diagonal as unit."""
    height, width = frame
    at = peaks(maps) * (width, height) / math.hypot(width, height)
    return float(np.linalg.norm(at[:, None] - at[None], axis=-1).max())


def peaks(maps: np.ndarray) -> np.ndarray:
    """The centre of mass (F, 2), x and y as shares of the frame, of the tenth of each map (F, h, w) where it is
    strongest; the middle where it is flat."""
    count, height, width = maps.shape
    flat = np.maximum(maps.reshape(count, -1).astype(np.float64), 1e-12)
    tenth = max(1, flat.shape[1] // 10)
    least = np.partition(flat, -tenth, axis=1)[:, -tenth, None]
    mass = np.where(flat >= least, flat, 0)
    y, x = (np.indices((height, width)) + 0.5).reshape(2, -1)
    return np.stack([mass @ x / width, mass @ y / height], 1) / mass.sum(1, keepdims=True)


def diffuse_warning(attention: np.ndarray, obj: str) -> str | None:
    """What to tell a user who edits `obj` by its attention (F, h, w) where that is below DIFFUSE, else None."""
    spread = float(concentration(attention).mean())
    if spread < DIFFUSE:
        return (
            f"the model's attention on {obj!r} is diffuse (its strongest tenth holds {spread / 10:.0%}): "
            "look at the picture, and say where the object is with --box or --mask"
        )
    return None


def word_warnings(figures: Sequence[WordFigures]) -> tuple[str, ...]:
    """A line for every word that is too diffuse to steer an edit, and for every two that look at one place."""
    lines = [
        f"{one.word!r} is too diffuse to steer (its strongest tenth holds {one.share:.0%}): name another word, or say "
        "where its object is with --box or --mask of vxedit-real"
        for one in figures
        if one.verdict == "diffuse"
    ]
    clear = [one for one in figures if one.verdict != "diffuse"]
    for i, one in enumerate(clear):
        lines += [
            f"{one.word!r} and {other.word!r} look at the same place (overlap {one.overlap[other.word]:.2f}): "
            "an edit by either moves what both see"
            for other in clear[i + 1 :]
            if one.overlap[other.word] >= SAME_PLACE
        ]
    return tuple(lines)
