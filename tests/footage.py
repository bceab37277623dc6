"""Rendered clips as files with sound, and folders compared byte for byte."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.io.clips import add_sound
from vxedit.io.write import write_video
from vxedit.render.scene import random_scene, render

RATE = Fraction(30000, 1001)
PROMPT = "a red ball on the grass"


def ball(*, frames: int = 6, width: int = 96, height: int = 64) -> np.ndarray:
    """A ball over grass: uint8 (frames, height, width, 3), cut from the middle of a square."""
    side = max(width, height)
    scene = random_scene(3, frames=frames, size=side, split="test", actors=1, name="ball", place="grass")
    top, left = (side - height) // 2, (side - width) // 2
    return render(scene).frames[:, top : top + height, left : left + width]


def write_footage(path: Path, *, frames: int = 6, width: int = 96, height: int = 64, sound: bool = True) -> Path:
    """`ball` as a file, with a tone that sounds from its start to its end."""
    shown = ball(frames=frames, width=width, height=height)
    if not sound:
        write_video(path, shown, RATE)
        return path
    silent = path.with_name(f"silent-{path.name}")
    write_video(silent, shown, RATE)
    add_sound(silent, path, tone_from_s=0.0, length_s=float(frames / RATE))
    silent.unlink()
    return path


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, hidden files too: names and bytes, None for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
