"""Where a backbone's parts are kept, and how much its autoencoder sees at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from vxedit.backbones import autoencoder
from vxedit.backbones.family import Facts
from vxedit.backbones.memory.autoencoder import VaeWay
from vxedit.backbones.memory.needs import Offload
from vxedit.backbones.memory.offload import Shelf, stage_by_stage
from vxedit.backbones.protocol import Parameterization, Size, Text

NETWORK = "network"
"""What the names of the networks begin with."""

PROMPTS = 8
"""How many prompts' embeddings are kept."""


def part_of(index: int) -> str:
    """The name of a network: of experts there are several."""
    return f"{NETWORK}_{index}" if index else NETWORK


class Parts:
    """What every Backbone here has: what its `facts` say, its `parts`, modules by name ("vae", "text_encoder",
    "network", "network_1", …), and the `device` on which they do their work. `at_once`: pixels that an autoencoder of
    single frames sees at once, a frame at least."""

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        facts: Facts,
        *,
        name: str,
        identity: str,
        checkpoint_activations: bool | None,
    ) -> None:
        network: Any = parts[NETWORK]
        self.name, self.identity = name, identity
        self.native: Size = facts.sizes.native
        self.max_frames = facts.sizes.max_frames
        self.device: torch.device = network.device
        self.dtype: torch.dtype = network.dtype
        self.parameterization: Parameterization = facts.levels.parameterization
        self.shared_noise, self.guidance_scale = facts.shared_noise, facts.guidance_scale
        self.steps, self.eta, self.steady = facts.steps, facts.eta, facts.steady
        self.per_frame = facts.per_frame
        self.checkpoint_activations = checkpoint_activations
        self.parts = dict(parts)
        self._facts = facts
        self.at_once = autoencoder.PIXELS_AT_ONCE
        self._shelf: Shelf | None = None
        self._texts: dict[tuple[str, str], Text] = {}

    def remembered(self, prompt: str, embed: Callable[[str], Text], *, kind: str = "") -> Text:
        """The prompt embedded, if it was among the last few: an edit asks for them many times, and the encoder is
        large. `kind` tells apart what several ways of embedding give."""
        key = (kind, prompt)
        if key not in self._texts:
            self.use("text_encoder")
            if len(self._texts) == PROMPTS:
                del self._texts[next(iter(self._texts))]
            self._texts[key] = embed(prompt)
        return self._texts[key]

    def use(self, name: str) -> None:
        """Have a part ready for work."""
        if self._shelf is not None:
            self._shelf.use(name)

    def keep_off(self, device: torch.device, offload: Offload) -> None:
        """Keep the parts, which are in the machine's memory, off `device` when they aren't in use: as whole parts
        ("model"), or networks stage by stage ("sequential")."""
        waiting = dict(self.parts)
        if offload == "sequential":
            for name in [name for name in waiting if name.startswith(NETWORK)]:
                stage_by_stage(waiting.pop(name), device)
        self._shelf, self.device = Shelf(waiting, device), device

    def see_at_once(self, way: VaeWay) -> None:
        """How much of a clip the autoencoder sees at once, as far as it can be told."""
        self.at_once = 1 if way == "frames" else autoencoder.PIXELS_AT_ONCE
        for module in self.parts["vae"].modules():
            tiled: Any = module
            if way == "tiles" and hasattr(module, "enable_tiling"):
                tiled.enable_tiling()
