"""How Open-Sora 1.2 packs time: in chunks, each by itself. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from vxedit.backbones.sizes import Length


@dataclass(frozen=True)
class Chunks(Length):
    """Chunks of `step` frames, which is also the `first`. Within one, latents are of `factor` frames each, counted from
    its end; its first latent has what is left, one frame of 17."""

    first: int = 17
    step: int = 17
    factor: int = 4

    def latents(self, frames: int) -> int:
        return self.legal(frames) // self.step * len(self._starts())

    def spans(self, frames: int) -> tuple[tuple[int, ...], ...]:
        found = []
        for chunk in range(0, self.legal(frames), self.step):
            starts = [chunk + start for start in self._starts()]
            for start, end in zip(starts, [*starts[1:], chunk + self.step], strict=True):
                found.append(tuple(range(start, min(end, frames))) or (frames - 1,))
        return tuple(found)

    def _starts(self) -> tuple[int, ...]:
        """Where a chunk's latents begin, in frames from the chunk's own beginning."""
        return tuple(max(0, start) for start in range(-(-self.step % self.factor), self.step, self.factor))
