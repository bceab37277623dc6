"""Frames that can be gone through, whether they are held in memory or lie in a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from vxedit.io.frames import OpenClip
from vxedit.io.pictures import spread


class Reel(Protocol):
    """Frames uint8 (H, W, 3) of one size."""

    def __len__(self) -> int: ...

    def pieces(self, length: int) -> Iterator[np.ndarray]:
        """All of them in order, (n, H, W, 3) with n up to `length`."""
        ...

    def sample(self, count: int) -> np.ndarray:
        """`count` of them at most, those that `pictures.spread` chooses."""
        ...

    def close(self) -> None:
        """Let go of the file, where there is one."""
        ...


class Held:
    """A Reel in memory: frames uint8 (F, H, W, 3)."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def pieces(self, length: int) -> Iterator[np.ndarray]:
        for begin in range(0, len(self), length):
            yield self.frames[begin : begin + length]

    def sample(self, count: int) -> np.ndarray:
        return self.frames[spread(len(self), count)]

    def close(self) -> None:
        """There is none."""


class Filed:
    """A Reel in a file, of which no more is held than a piece. `size` (width, height) in pixels: that of its frames
    before they were padded to the even sides of a codec."""

    def __init__(self, clip: OpenClip, size: tuple[int, int] | None = None) -> None:
        self.clip = clip
        self.width, self.height = size or (clip.width, clip.height)

    def __len__(self) -> int:
        return len(self.clip)

    def pieces(self, length: int) -> Iterator[np.ndarray]:
        return (self._own(piece.frames) for piece in self.clip.pieces(length))

    def sample(self, count: int) -> np.ndarray:
        return self._own(self.clip.sample(count))

    def close(self) -> None:
        self.clip.close()

    def _own(self, frames: np.ndarray) -> np.ndarray:
        return frames[:, : self.height, : self.width]
