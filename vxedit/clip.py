"""Decoded video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Source:
    """Where a clip came from: the file, its content's hash, and which of its frames were taken."""

    path: Path
    sha256: str
    indices: tuple[int, ...]
    has_audio: bool
    reader: str


@dataclass(frozen=True)
class Clip:
    """Decoded video: `frames` uint8 (F, H, W, 3) RGB, `times_s` (F,) from the file's first frame, `fps` exact."""

    frames: np.ndarray
    times_s: np.ndarray
    fps: Fraction
    source: Source | None = None

    def __post_init__(self) -> None:
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[3] != 3:
            raise ValueError(f"frames must be uint8 (F, H, W, 3), got {self.frames.dtype} {self.frames.shape}")
        if self.times_s.shape != self.frames.shape[:1]:
            raise ValueError(f"times_s must be ({len(self.frames)},), got {self.times_s.shape}")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def height(self) -> int:
        return self.frames.shape[1]

    @property
    def width(self) -> int:
        return self.frames.shape[2]
