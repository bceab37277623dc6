"""What both readers of video files offer: a file opened once, its frames taken as they are needed."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vxedit.io.timeline import Timeline


class Reader(Protocol):
    """An open file. Between two calls it holds no frames, or a few that don't grow in number."""

    line: Timeline

    def take(self, picks: np.ndarray) -> np.ndarray:
        """The frames uint8 (F, H, W, 3) RGB of `picks` (F,), which are indices into `line`, at least one, ascending.

        Rotation is applied. Whatever was taken before, the same frames come. Raises what the decoder raises, and
        ValueError or FfmpegError where it gave other frames than were asked for; it can be asked again then.
        """
        ...

    def decode(self, picks: np.ndarray) -> tuple[int, int]:
        """Decode all of `picks` as `take` does, but keep none of them; returns the frames' height and width."""
        ...

    def close(self) -> None:
        """Let go of the file; a later `take` would open it again."""
        ...
