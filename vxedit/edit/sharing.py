"""The source's own keys and values lent to the edited clip, each place those of what stands there.

Mutual self-attention (Cao et al., "MasaCtrl", ICCV 2023, arXiv 2304.08465, section 3.3, with masks): in a pass of the
edited clip, a place of the object looks at the object in the source, a place of the background at the source's
background, besides at the edited frame itself. What was vacated has no source of its own: it is background.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall, Backbone
from vxedit.edit.region import Spans, to_cells


@dataclass(frozen=True)
class SharingSettings:
    """`start`: the share of all steps after which keys and values are shared; at 1 never. `layers`: the part of the
    attentions over space, counted from the last to run, that share them; the first ones hold where things are."""

    start: float = 0.2
    layers: float = 0.5


@dataclass(frozen=True)
class Cover:
    """What is where, float32 (n, F, H, W) in [0, 1], an object each: its cover in the source, whatever may be its own
    included, and at its target."""

    source: np.ndarray
    target: np.ndarray
    spans: Spans

    def owners(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Whose each cell of a token grid is in the source and in the edited clip, long (f, height, width): 0 for the
        background, k for the k-th object, -1 for a source cell that is part object and part background."""
        source, target = (
            torch.stack([to_cells(one, height, width, self.spans) for one in covers])
            for covers in (self.source, self.target)
        )
        most, whose = target.max(0)
        asked = torch.where(most > 0.5, whose + 1, 0)
        most, whose = source.max(0)
        there = torch.where(most > 0.5, whose + 1, torch.where(most > 0.05, -1, 0))
        return there, asked


@dataclass
class Lent:
    """A control that changes nothing and keeps the keys and values of the attentions named, over one pass."""

    names: Collection[str]
    calls: dict[str, AttentionCall] = field(default_factory=dict)

    def __call__(self, call: AttentionCall) -> None:
        if call.attention.name in self.names:
            self.calls[call.attention.name] = call


@dataclass(frozen=True)
class Borrowing:
    """A control under which places look at what was `lent` as well, as far as it is of what they are."""

    lent: Lent
    cover: Cover

    def __call__(self, call: AttentionCall) -> Tensor | None:
        source = self.lent.calls.get(call.attention.name)
        if source is None:
            return None
        there, asked = (one.flatten(1).to(call.query.device) for one in self.cover.owners(call.height, call.width))
        same = (asked[:, :, None] == there[:, None, :]).repeat(call.batch, 1, 1)
        allowed = torch.cat([torch.ones_like(same), same], 2)[:, None]
        key, value = (
            torch.cat([own, other.repeat(call.batch // source.batch, 1, 1, 1)], 2)
            for own, other in ((call.key, source.key), (call.value, source.value))
        )
        return F.scaled_dot_product_attention(call.query, key, value, attn_mask=allowed)


def sharing_layers(backbone: Backbone, part: float) -> tuple[str, ...]:
    """The names of the attentions over space that share keys and values: the last `part` of them. None in models whose
    attention can't be controlled."""
    names = [attention.name for attention in backbone.attentions() if attention.kind == "space"]
    return tuple(names[len(names) - round(part * len(names)) :])
