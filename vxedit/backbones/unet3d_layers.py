"""The parts of a UNet3DConditionModel or UNetMotionModel in the order in which they run, and the attentions in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import nn

from vxedit.backbones.protocol import Attention, AttentionKind, Layer
from vxedit.backbones.text_attention import query_key

OVER_TIME = ("temp_attentions", "motion_modules")
"""What the parts that look over time are called, in either network."""


class Part(NamedTuple):
    """A module that runs as a whole, and how many times it has halved the latents' sides."""

    name: str
    module: nn.Module
    level: int


def text_layers(unet: nn.Module) -> tuple[Layer, ...]:
    """The text attentions, first to run first. `share` is estimated from the weights: a convolution or linear layer
    costs its weights times the positions it runs at. The attention products themselves are left out.

    Order of running, not of registration: `mid_block` is registered after `up_blocks`.
    """
    parts = tuple(_parts(unet))
    total = sum(_cost(part) for part in parts)
    spent, found = 0.0, []
    for part in parts:
        spent += _cost(part)
        for name, module in part.module.named_modules():
            # temp_attentions', motion_modules' and transformer_in's attn2 are self-attention, in spite of their name.
            if ".attentions." in part.name and name.endswith("attn2"):
                found.append(Layer(f"{part.name}.{name}", module, query_key, spent / total, 2**part.level))
    return tuple(found)


def attentions(unet: nn.Module) -> tuple[Attention, ...]:
    """Every attention, first to run first: to the text, over a frame's places, and over a place's frames."""
    found = []
    for part in _parts(unet):
        for name, module in part.module.named_modules():
            if name.split(".")[-1] in ("attn1", "attn2"):
                kind: AttentionKind = "time"  # outside of `attentions` attn2 looks over time as well
                if ".attentions." in part.name:
                    kind = "text" if name.endswith("attn2") else "space"
                found.append(Attention(f"{part.name}.{name}", kind, module, 2**part.level))
    return tuple(found)


def _parts(unet: Any) -> Iterator[Part]:
    deepest = len(unet.down_blocks) - 1
    yield Part("conv_in", unet.conv_in, 0)
    if hasattr(unet, "transformer_in"):
        yield Part("transformer_in", unet.transformer_in, 0)
    for level, block in enumerate(unet.down_blocks):
        yield from _block(f"down_blocks.{level}", block, level, after="downsamplers", after_level=level + 1)
    if unet.mid_block is not None:
        yield from _middle("mid_block", unet.mid_block, deepest)
    for i, block in enumerate(unet.up_blocks):
        level = deepest - i
        yield from _block(f"up_blocks.{i}", block, level, after="upsamplers", after_level=level - 1)
    yield Part("conv_out", unet.conv_out, 0)


def _block(name: str, block: Any, level: int, *, after: str, after_level: int) -> Iterator[Part]:
    for i in range(len(block.resnets)):
        yield from _row(name, block, i, level, kinds=("resnets", "temp_convs", "attentions", *OVER_TIME))
    for i, module in enumerate(getattr(block, after, None) or ()):
        yield Part(f"{name}.{after}.{i}", module, after_level)


def _middle(name: str, block: Any, level: int) -> Iterator[Part]:
    yield from _row(name, block, 0, level, kinds=("resnets", "temp_convs"))
    for i in range(len(block.attentions)):
        yield from _row(name, block, i, level, kinds=("attentions", *OVER_TIME))
        yield from _row(name, block, i + 1, level, kinds=("resnets", "temp_convs"))


def _row(name: str, block: Any, i: int, level: int, *, kinds: Sequence[str]) -> Iterator[Part]:
    for kind in kinds:
        if hasattr(block, kind):
            yield Part(f"{name}.{kind}.{i}", getattr(block, kind)[i], level)


def _cost(part: Part) -> float:
    """Weights that run at every position, times the share of positions left at this level."""
    matrices = sum(
        weight.numel()
        for name, weight in part.module.named_parameters()
        if weight.ndim > 1 and "time_emb_proj" not in name and not _reads_text(part, name)
    )
    return matrices / 4**part.level


def _reads_text(part: Part, name: str) -> bool:
    return ".attentions." in part.name and (".attn2.to_k" in name or ".attn2.to_v" in name)
