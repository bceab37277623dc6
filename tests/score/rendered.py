"""Results whose truth is known, as files: a rendered clip, the same with its object elsewhere, and its record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.io.record import write_record
from vxedit.io.write import write_video
from vxedit.render.scene import Rendered, moved, random_scene, render

FPS = Fraction(8)
FRAMES = 4


@dataclass(frozen=True)
class Pair:
    """A clip with a burger on the left, and with it on the right."""

    source: Rendered
    edit: Rendered

    @property
    def before(self) -> np.ndarray:
        return self.source.boxes[0]

    @property
    def after(self) -> np.ndarray:
        return self.edit.boxes[0]


@cache
def pair() -> Pair:
    """4 frames of 128x128. Treat it as read-only, it is shared."""
    scene = random_scene(3, split="test", frames=FRAMES, actors=1, name="burger", place="a meadow")
    left, right = np.full((FRAMES, 2), 0.3), np.full((FRAMES, 2), 0.7)
    return Pair(render(moved(scene, 0, left)), render(moved(scene, 0, right)))


def record_of(source: Path, **changed: Any) -> dict[str, Any]:
    """The record that an edit of `source` leaves, with some of its keys changed; None takes one out."""
    shown = pair()
    boxes = {"source": shown.before, "target": shown.after}
    record = {
        "job": {"obj": "burger", "model": "embedded", "selection": {"start_s": 0.0, "fps": None}},
        "source": {
            "path": source,
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "indices": list(range(FRAMES)),
            "reader": "decord",
        },
        "model": {"name": "embedded"},
        "prompt": {"text": shown.source.caption, "origin": "given"},
        "boxes": boxes,
        "objects": [{"obj": "burger", **boxes}],
    }
    return {key: value for key, value in (record | changed).items() if value is not None}


def write_result(folder: Path, name: str = "out", frames: np.ndarray | None = None, **changed: Any) -> Path:
    """Write a result with its record and, in a folder beside, its source; give the result's path."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder.parent / "sources" / "clip.mp4"
    source.parent.mkdir(exist_ok=True)
    if not source.exists():
        write_video(source, pair().source.frames, FPS)
    result = folder / f"{name}.mp4"
    write_video(result, pair().edit.frames if frames is None else frames, FPS)
    write_record(result.with_suffix(".json"), record_of(source, **changed))
    return result
