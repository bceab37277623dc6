"""Attention under somebody else's rule for the length of a pass: what processors compute, seen and replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from vxedit.backbones.protocol import Attention, AttentionCall, Control


@contextlib.contextmanager
def attention_control(attentions: Sequence[Attention], control: Control, shape: Sequence[int]) -> Iterator[None]:
    """Have `control` decide, in every pass over latents of `shape` (B, C, f, h, w), what these attentions give.

    The modules' own processors are back when the context ends, whatever happens inside.
    """
    before = [attention.module.processor for attention in attentions]
    for attention in attentions:
        attention.module.processor = _Controlled(attention, control, tuple(shape))
    try:
        yield
    finally:
        for attention, processor in zip(attentions, before, strict=True):
            attention.module.processor = processor


class _Controlled:
    """A processor of diffusers' Attention over token sequences (B', N, C), as the blocks of a video U-Net call it."""

    def __init__(self, attention: Attention, control: Control, shape: tuple[int, ...]) -> None:
        self.attention, self.control, self.shape = attention, control, shape

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            text = attn.norm_encoder_hidden_states(encoder_hidden_states)
        query, key, value = (
            projected.unflatten(2, (attn.heads, -1)).transpose(1, 2)
            for projected in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text))
        )
        query = query if attn.norm_q is None else attn.norm_q(query)
        key = key if attn.norm_k is None else attn.norm_k(key)
        bias = None if attention_mask is None else _bias(attn, attention_mask, key.shape[2], len(query))
        batch, _, frames, height, width = self.shape
        for _ in range(self.attention.stride.bit_length() - 1):
            height, width = -(-height // 2), -(-width // 2)  # a down-sampling rounds up
        call = AttentionCall(self.attention, query, key, value, bias, batch, frames, height, width)
        out = self.control(call)
        if out is None:
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out = out.transpose(1, 2).flatten(2).to(hidden_states.dtype)
        out = attn.to_out[1](attn.to_out[0](out))
        if attn.residual_connection:
            out = out + hidden_states
        return out / attn.rescale_output_factor


def _bias(attn: Any, mask: Tensor, length: int, batch: int) -> Tensor:
    return attn.prepare_attention_mask(mask, length, batch).unflatten(0, (batch, attn.heads))
