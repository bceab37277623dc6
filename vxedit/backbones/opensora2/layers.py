"""The text attentions of Open-Sora 2.0's network: what of a joint attention looks from the video at the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from vxedit.backbones.opensora2.packing import PATCH
from vxedit.backbones.protocol import Layer

DOUBLE_ARGUMENTS = ("hidden_states", "encoder_hidden_states", "attention_mask", "image_rotary_emb")
SINGLE_ARGUMENTS = ("hidden_states", "encoder_hidden_states", "temb", "image_rotary_emb")

QueryKey = tuple[Tensor, Tensor, Tensor | None]
Look = Callable[[Any, tuple[Any, ...], dict[str, Any]], QueryKey]


def text_layers(network: Any) -> tuple[Layer, ...]:
    """Every block's attention, first to run first. Double and single blocks cost the same: what they do to the video
    takes as many multiplications."""
    double, single = network.transformer_blocks, network.single_transformer_blocks
    count = len(double) + len(single)
    named: list[tuple[str, Any, Look]] = [
        (f"transformer_blocks.{i}.attn", block.attn, double_query_key) for i, block in enumerate(double)
    ]
    named += [(f"single_transformer_blocks.{i}", block, single_query_key) for i, block in enumerate(single)]
    return tuple(
        Layer(name, module, query_key, share=(i + 0.5) / count, stride=PATCH)
        for i, (name, module, query_key) in enumerate(named)
    )


def double_query_key(attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> QueryKey:
    """The video's queries (B, heads, N, d) and the text's keys (B, heads, L, d) of a double block's attention, from
    what it is called with; no bias.

    The text's keys are not turned: its tokens all have place 0.
    """
    given = dict(zip(DOUBLE_ARGUMENTS, args, strict=False), **kwargs)
    text = given["encoder_hidden_states"]
    query = attention.norm_q(_heads(attention, attention.to_q(given["hidden_states"])))
    key = attention.norm_added_k(_heads(attention, attention.add_k_proj(text)))
    return _turned(query, given["image_rotary_emb"], text.shape[1]), key.transpose(1, 2), None


def single_query_key(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> QueryKey:
    """As `double_query_key`, from what a single block is called with: its attention sees one sequence and doesn't know
    where the text ends."""
    given = dict(zip(SINGLE_ARGUMENTS, args, strict=False), **kwargs)
    text, attention = given["encoder_hidden_states"], block.attn
    query = attention.to_q(block.norm(given["hidden_states"], emb=given["temb"])[0])
    key = attention.to_k(block.norm(text, emb=given["temb"])[0])
    query, key = attention.norm_q(_heads(attention, query)), attention.norm_k(_heads(attention, key))
    return _turned(query, given["image_rotary_emb"], text.shape[1]), key.transpose(1, 2), None


def _heads(attention: Any, projected: Tensor) -> Tensor:
    """(B, N, heads d) to (B, N, heads, d)."""
    return projected.unflatten(2, (-1, attention.head_dim))


def _turned(query: Tensor, rotary: tuple[Tensor, Tensor], text_length: int) -> Tensor:
    """The video's queries (B, N, heads, d) turned by their places, as (B, heads, N, d)."""
    from diffusers.models.embeddings import apply_rotary_emb

    cosines, sines = (part[text_length:] for part in rotary)
    return apply_rotary_emb(query, (cosines, sines), sequence_dim=1).transpose(1, 2)
