"""What an edit needs of a device's memory in each of its phases, by the way in which it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vxedit.backbones.memory.autoencoder import VaeWay

Offload = Literal["none", "model", "sequential"]
"""Weights that are not in use stay in the machine's memory: none, those of whole parts, or all but one stage's."""

Phase = Literal["text", "autoencoder", "forward", "guidance", "null-text"]


@dataclass(frozen=True)
class Way:
    """How an edit is run. `recomputed`: activations are made again for a gradient; `vae`: how much of a clip the
    autoencoder sees at once; `offload`: which weights wait outside the device."""

    recomputed: bool = False
    vae: VaeWay = "chunks"
    offload: Offload = "none"


@dataclass(frozen=True)
class Pass:
    """Bytes of activations of one pass, and of the weights that its gradient holds on to, which can't be sent away
    before it is taken."""

    activations: int
    weights: int = 0


@dataclass(frozen=True)
class Needs:
    """Bytes. `network`, `autoencoder`, `text_encoder`: weights; `stage`: those of the network's largest stage.

    `text` and `forward`: activations of passes without a gradient; `decode`: the autoencoder's, by how much it sees.
    `guidance` and `null_text` by whether activations are recomputed; empty where there is no such pass. `kept`: what is
    there all the time, the inversion above all. `scratch`: what the device's kernels and allocator take besides.
    """

    network: int
    autoencoder: int
    text_encoder: int
    stage: int
    text: int
    forward: int
    decode: Mapping[VaeWay, int]
    guidance: Mapping[bool, Pass] = field(default_factory=dict)
    null_text: Mapping[bool, Pass] = field(default_factory=dict)
    kept: int = 0
    scratch: int = 0

    def phases(self, way: Way) -> dict[Phase, int]:
        """The bytes of each phase that there is."""
        every = self.network + self.autoencoder + self.text_encoder
        here = {"network": every, "autoencoder": every, "text": every}
        if way.offload != "none":
            here = {"network": self.network, "autoencoder": self.autoencoder, "text": self.text_encoder}
        common = self.kept + self.scratch
        found: dict[Phase, int] = {
            "text": here["text"] + self.text + common,
            "autoencoder": here["autoencoder"] + self.decode[way.vae] + common,
        }
        passes: dict[Phase, Pass] = {"forward": Pass(self.forward)}
        if self.guidance:
            passes["guidance"] = self.guidance[way.recomputed]
        if self.null_text:
            passes["null-text"] = self.null_text[way.recomputed]
        for phase, one in passes.items():
            weights = here["network"]
            if way.offload == "sequential":
                weights = min(self.network, self.stage + one.weights)
            found[phase] = weights + one.activations + common
        return found

    def peak(self, way: Way) -> int:
        """The bytes of the phase that needs the most."""
        return max(self.phases(way).values())

    def worst(self, way: Way) -> Phase:
        """The phase that needs the most."""
        phases = self.phases(way)
        return max(phases, key=lambda phase: phases[phase])
