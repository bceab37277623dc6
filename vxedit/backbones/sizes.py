"""Which clip sizes a model can do, and the nearest one to what is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vxedit.backbones.protocol import Size
from vxedit.errors import UsageError

ASPECT_WEIGHT = 16.0
"""A wrong aspect distorts what the model sees; a wrong area only strays from what it was trained on."""


@dataclass(frozen=True)
class Length:
    """How an autoencoder packs time: the `first` frames become one frame of the latents, then every `step` frames one
    more. `least`: the fewest frames it takes. A clip of another length is continued to the next that it takes."""

    first: int = 1
    step: int = 1
    least: int = 1

    def legal(self, frames: int) -> int:
        """The smallest length that isn't less than `frames`."""
        frames = max(frames, self.least)
        return self.first + self.step * math.ceil(max(frames - self.first, 0) / self.step)

    def latents(self, frames: int) -> int:
        """The latents' frames for a clip of `frames` frames, continued to a legal length."""
        return 1 + (self.legal(frames) - self.first) // self.step

    def spans(self, frames: int) -> tuple[tuple[int, ...], ...]:
        """For each of them, which of the clip's frames it covers; one that covers what was added alone has the last."""
        starts = [0, *range(self.first, self.legal(frames), self.step)]
        ends = [*starts[1:], self.legal(frames)]
        pairs = zip(starts, ends, strict=True)
        return tuple(tuple(range(start, min(end, frames))) or (frames - 1,) for start, end in pairs)


@dataclass(frozen=True)
class Sizes:
    """`native`: what the model was trained on. `multiple`: pixels that both sides are a multiple of.
    `max_frames`: the longest clip in one piece. `length`: how time is packed."""

    native: Size
    multiple: int
    max_frames: int
    length: Length = field(default_factory=Length)

    def fit(self, frames: int, height: int, width: int) -> Size:
        """The nearest size to a clip of `frames` frames of `height` x `width` pixels: both sides multiples, the area
        near the native one, the aspect kept as well as that allows, no more than `max_frames`.

        Raises UsageError where a side or the number of frames is less than 1.
        """
        _positive(frames, height, width)
        area = self.native.height * self.native.width

        def misfit(candidate: tuple[int, int]) -> float:
            tall, wide = candidate
            aspect = math.log(wide * height / (tall * width))
            return ASPECT_WEIGHT * aspect**2 + math.log(tall * wide / area) ** 2

        ideal = math.sqrt(area * height / width)
        best = min(((h, w) for h in self._near(ideal) for w in self._near(area / ideal)), key=misfit)
        return Size(min(frames, self.max_frames), *best)

    def check(self, frames: int, height: int, width: int) -> Size:
        """The size as it is asked for. Raises UsageError, with the nearest possible, where the model can't do it."""
        _positive(frames, height, width)
        if frames > self.max_frames:
            raise UsageError(
                f"{frames} frames are too many for this model, it takes 1 to {self.max_frames}: pass --num-frames "
                f"{self.max_frames}, or a lower --fps"
            )
        if height % self.multiple or width % self.multiple:
            nearest = "x".join(str(max(1, round(side / self.multiple)) * self.multiple) for side in (width, height))
            raise UsageError(
                f"this model can't do {width}x{height} pixels, its sides are multiples of {self.multiple}: "
                f"pass --size {nearest}"
            )
        return Size(frames, height, width)

    def check_generated(self, frames: int, height: int, width: int) -> Size:
        """`check` for a clip that is to be made, whose length has to be one that the model makes."""
        if 0 < frames <= self.max_frames and (legal := self.length.legal(frames)) != frames:
            nearest = (legal - self.length.step, legal)
            possible = [n for n in nearest if self.length.legal(1) <= n <= self.max_frames] or [legal]
            choice = " or ".join(map(str, possible))
            raise UsageError(f"this model doesn't make clips of {frames} frames: pass --num-frames {choice}")
        return self.check(frames, height, width)

    def _near(self, side: float) -> tuple[int, ...]:
        below = max(1, math.floor(side / self.multiple))
        return tuple(self.multiple * times for times in (below, below + 1))


def pixels_a_cell(config: Mapping[str, Any]) -> int:
    """Pixels a latent cell is wide, from the autoencoder's configuration."""
    widths = config.get("encoder_block_out_channels") or config["block_out_channels"]
    return 2 ** (len(widths) - 1)


def _positive(frames: int, height: int, width: int) -> None:
    if min(frames, height, width) < 1:
        raise UsageError(
            f"a clip needs at least one frame and one pixel a side, got {frames} frames of {width}x{height}: "
            "choose another part or another size of the input"
        )
