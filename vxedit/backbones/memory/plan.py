"""Which way of running an edit fits the device: the quickest that does, or what to ask for instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

from vxedit.backbones.memory.autoencoder import VaeWay
from vxedit.backbones.memory.device import DeviceMemory
from vxedit.backbones.memory.needs import Needs, Offload, Way
from vxedit.backbones.protocol import Size
from vxedit.errors import ModelError

LADDER = tuple(
    Way(recomputed=recomputed, vae=vae, offload=offload)
    for offload in get_args(Offload)
    for ways_to_decode in (("chunks", "frames"), ("tiles",))
    for recomputed in (False, True)
    for vae in ways_to_decode
)
"""Ways to run an edit, the quickest first: one frame at a time costs the autoencoder little, recomputing a third of a
gradient; tiles leave faint seams; moving weights costs time in every step."""

EASED = 0.95
"""After memory ran out, a way is tried if it needs less than this share of what the last one did."""

NARROW = "bf16"


@dataclass(frozen=True)
class Wishes:
    """What the user decided, None where the plan may. `offload`: as --offload says."""

    offload: Offload | None = None
    recomputed: bool | None = None
    vae: VaeWay | None = None


@dataclass(frozen=True)
class Asked:
    """What memory depends on: the clip as the model sees it, the network's format (fp32, fp16 or bf16), and the pixels
    that a side is a multiple of."""

    size: Size
    dtype: str
    multiple: int = 8


@dataclass(frozen=True)
class MemoryPlan:
    """A `way` that is thought to fit, and what is known of it. `needs` says what another size would take."""

    asked: Asked
    needs: Callable[[Asked], Needs]
    memory: DeviceMemory
    wishes: Wishes
    way: Way

    @property
    def peak(self) -> int:
        """Bytes in the phase that needs the most."""
        return self.needs(self.asked).peak(self.way)

    def line(self) -> str:
        """What was chosen and why, for people."""
        needs = self.needs(self.asked)
        did = ", ".join(_words(self.way)) or "nothing spared"
        if not self.memory.apart and self.wishes.offload not in (None, "none"):
            did += f" (--offload does nothing on {self.memory.kind}, where weights are in the same memory anyway)"
        return (
            f"memory: about {spoken(needs.peak(self.way))} of {spoken(self.memory.free_bytes)} free, "
            f"most in {needs.worst(self.way)}; {did}"
        )

    def next(self) -> MemoryPlan | None:
        """The plan to try where this one ran out of memory: the quickest that needs less. None: there is none."""
        needs = self.needs(self.asked)
        enough = EASED * needs.peak(self.way)
        below = (way for way in ways(self.memory, self.wishes) if needs.peak(way) < enough)
        return next((replace(self, way=way) for way in below), None)

    def remedy(self, *, below: int | None = None) -> str:
        """The flags with which it would fit into `below` bytes; None: into what the device has free."""
        room = self.memory.free_bytes if below is None else below
        found = []
        if self.memory.apart and self.wishes.offload in ("none", "model"):
            free = replace(self, wishes=replace(self.wishes, offload="sequential"))
            found += ["--offload sequential"] if free._fits(self.asked, room) else []
        if self.needs(self.asked).null_text and self._fits(self.asked, room, null_text=False):
            found.append("--inversion uni")
        for kinds in _smaller(self.asked):
            firsts = (next((flags for flags, asked in kind if self._fits(asked, room)), None) for kind in kinds)
            found += [flags for flags in firsts if flags]
            if found:
                return " or ".join(found)
        return "another --model or --device: no size of this one fits"

    def _fits(self, asked: Asked, room: int, *, null_text: bool = True) -> bool:
        needs = self.needs(asked)
        needs = needs if null_text else replace(needs, null_text={})
        return any(needs.peak(way) <= room for way in ways(self.memory, self.wishes))


def plan_memory(
    asked: Asked, needs: Callable[[Asked], Needs], memory: DeviceMemory, wishes: Wishes | None = None
) -> MemoryPlan:
    """The quickest way that fits `memory` and the wishes.

    Raises ModelError, with the flags that would fit, where there is none.
    """
    wishes = wishes or Wishes()
    own, possible = needs(asked), ways(memory, wishes)
    for way in possible:
        if own.peak(way) <= memory.free_bytes:
            return MemoryPlan(asked, needs, memory, wishes, way)
    size, last = asked.size, MemoryPlan(asked, needs, memory, wishes, min(possible, key=own.peak))
    raise ModelError(
        f"{size.frames} frames of {size.width}x{size.height} in {asked.dtype} need about {spoken(last.peak)} "
        f"({', '.join(_words(last.way)) or 'nothing spared'}), and the device has {spoken(memory.free_bytes)} "
        f"free: pass {last.remedy()}"
    )


def ways(memory: DeviceMemory, wishes: Wishes) -> tuple[Way, ...]:
    """LADDER as the wishes leave it; where the device has no memory of its own, nothing is kept outside it."""
    found: dict[Way, None] = {}
    for way in LADDER:
        offload = wishes.offload or way.offload
        made = Way(
            recomputed=way.recomputed if wishes.recomputed is None else wishes.recomputed,
            vae=wishes.vae or way.vae,
            offload=offload if memory.apart else "none",
        )
        found[made] = None
    return tuple(found)


def spoken(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _words(way: Way) -> list[str]:
    words = ["activations recomputed"] if way.recomputed else []
    if way.vae != "chunks":
        words.append("frames decoded one by one" if way.vae == "frames" else "frames decoded in tiles")
    if way.offload != "none":
        words.append("parts moved in when used" if way.offload == "model" else "weights moved in stage by stage")
    return words


Choice = tuple[str, Asked]
"""Flags, and what is asked for with them."""


def _smaller(asked: Asked) -> tuple[tuple[list[Choice], ...], ...]:
    """What less could be asked for, in groups to be tried one after another; of each kind in a group the most first."""
    alone = (_sizes(asked), _lengths(asked))
    if asked.dtype != "fp32":
        return (alone,)
    flags, narrow = f"--dtype {NARROW}", replace(asked, dtype=NARROW)
    both = tuple([(f"{flags} {more}", one) for more, one in kind] for kind in (_sizes(narrow), _lengths(narrow)))
    return (([(flags, narrow)], *alone), both)


def _sizes(asked: Asked) -> list[Choice]:
    frames, height, width = asked.size
    found: dict[Size, None] = {}
    for tenths in range(9, 1, -1):
        tall, wide = (max(1, side * tenths // 10 // asked.multiple) * asked.multiple for side in (height, width))
        if tall <= height and wide <= width and (tall, wide) != (height, width):
            found[Size(frames, tall, wide)] = None
    return [(f"--size {size.width}x{size.height}", replace(asked, size=size)) for size in found]


def _lengths(asked: Asked) -> list[Choice]:
    frames, height, width = asked.size
    lengths = sorted({frames * tenths // 10 for tenths in range(2, 10)} - {0, 1}, reverse=True)
    return [(f"--num-frames {fewer}", replace(asked, size=Size(fewer, height, width))) for fewer in lengths]
