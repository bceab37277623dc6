"""Attentions to the text in transformers and U-Nets of diffusers': where they are, and their queries and keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from vxedit.backbones.protocol import Layer

ARGUMENTS = ("hidden_states", "encoder_hidden_states", "attention_mask")
"""What an attention is called with, where it is called by position."""

QueryKey = tuple[Tensor, Tensor, Tensor | None]
"""Queries (B', heads, N, d), keys (B', heads, L, d), and an additive bias (B', 1, 1, L) or None."""

Look = Callable[[Any, tuple[Any, ...], dict[str, Any]], QueryKey]
"""QueryKey of a module, from the arguments that it is called with."""


def block_layers(
    blocks: Sequence[Any],
    name: str,
    look: Look,
    *,
    stride: int,
    done: float = 0.5,
    experts: Sequence[Sequence[Any]] = (),
) -> tuple[Layer, ...]:
    """The text attentions of blocks that cost the same, first to run first. `name`: as the network calls the first
    one, such as "blocks.0.attn2"; `done`: the part of a block's pass that is over; `experts`: the blocks of networks
    that run in place of this one."""
    before, _, attention = name.partition(".0.")
    return tuple(
        Layer(
            name=f"{before}.{i}.{attention}",
            module=getattr(block, attention),
            qk=look,
            share=(i + done) / len(blocks),
            stride=stride,
            twins=tuple(getattr(expert[i], attention) for expert in experts),
        )
        for i, block in enumerate(blocks)
    )


def query_key(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> QueryKey:
    """Of diffusers' Attention, whose norms, where there are any, are of single heads."""
    tokens, text, bias = _given(args, kwargs)
    if module.norm_cross:
        text = module.norm_encoder_hidden_states(text)
    query, key = _heads(module, module.to_q(tokens)), _heads(module, module.to_k(text))
    if module.norm_q is not None:
        query = module.norm_q(query)
    if module.norm_k is not None:
        key = module.norm_k(key)
    return query, key, bias


def query_key_normed_across(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> QueryKey:
    """Of attentions whose norms are across the heads, before these are parted (Wan, LTX-Video)."""
    tokens, text, bias = _given(args, kwargs)
    query, key = module.norm_q(module.to_q(tokens)), module.norm_k(module.to_k(text))
    return _heads(module, query), _heads(module, key), bias


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> QueryKey:
    """Tokens (B', N, C), text (B', L, C) and bias (B', 1, 1, L) or None."""
    given = dict(zip(ARGUMENTS, args, strict=False), **kwargs)
    tokens, bias = given["hidden_states"], given.get("attention_mask")
    return tokens, given["encoder_hidden_states"], None if bias is None else bias[:, None]


def _heads(module: Any, projected: Tensor) -> Tensor:
    return projected.unflatten(2, (module.heads, -1)).transpose(1, 2)
