"""STDiT3's attentions under somebody else's rule for the length of a pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from vxedit.backbones.opensora.layers import attend
from vxedit.backbones.opensora.stdit3 import STDiT3
from vxedit.backbones.protocol import Attention, AttentionCall, AttentionKind, Control


class Grid(NamedTuple):
    """The tokens of a pass: clips, and of each its frames, rows and columns."""

    batch: int
    frames: int
    height: int
    width: int


def attentions(network: STDiT3) -> tuple[Attention, ...]:
    """Every attention, first to run first: in every block within frames or along time, then to the text."""
    stride = network.config.patch_size[1]
    found = []
    for name, block in network.blocks():
        kind: AttentionKind = "time" if block.temporal else "space"
        found.append(Attention(f"{name}.attn", kind, block.attn, stride))
        found.append(Attention(f"{name}.cross_attn", "text", block.cross_attn, stride))
    return tuple(found)


@contextlib.contextmanager
def attention_control(found: Sequence[Attention], control: Control, grid: Grid) -> Iterator[None]:
    """Have `control` decide, in every pass over tokens of `grid`, what these attentions give.

    The modules are as before when the context ends, whatever happens inside.
    """
    before = [attention.module.attend for attention in found]
    for attention in found:
        attention.module.attend = _Controlled(attention, control, grid)
    try:
        yield
    finally:
        for attention, own in zip(found, before, strict=True):
            attention.module.attend = own


class _Controlled:
    """What an attention computes with queries, keys and values (layers.Attend), asked of `control` first."""

    def __init__(self, attention: Attention, control: Control, grid: Grid) -> None:
        self.attention, self.control, self.grid = attention, control, grid

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        given, batch, frames = (query, key, value, bias), self.grid.batch, self.grid.frames
        if self.attention.kind != "text":
            out = self.control(AttentionCall(self.attention, *given, *self.grid))
            return attend(*given) if out is None else out
        # The network lets all of a clip's tokens ask at once; a call has those of one frame.
        asking = query.unflatten(2, (frames, -1)).transpose(1, 2).flatten(0, 1)  # (B * f, heads, h * w, d)
        key, value = (each.repeat_interleave(frames, 0) for each in (key, value))
        bias = None if bias is None else bias.repeat_interleave(frames, 0)
        out = self.control(AttentionCall(self.attention, asking, key, value, bias, *self.grid))
        if out is None:
            return attend(*given)
        return out.unflatten(0, (batch, frames)).transpose(1, 2).flatten(2, 3)
