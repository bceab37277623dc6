"""Attention computed by hand: with pairs of tokens forbidden, or through probabilities that can be changed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall


def masked(call: AttentionCall, allowed: Tensor) -> Tensor:
    """The output (B', heads, N, d) of attention in which a query looks at its `allowed` (B', N, L) keys alone, bool;
    one that is allowed none looks at all."""
    allowed = (allowed | ~allowed.any(-1, keepdim=True))[:, None]
    bias = allowed if call.bias is None else call.bias.masked_fill(~allowed, -torch.inf)
    return F.scaled_dot_product_attention(call.query, call.key, call.value, attn_mask=bias)


def logits(call: AttentionCall) -> Tensor:
    """What the softmax is taken of: q k^T / sqrt(d) and the bias, float32 (B', heads, N, L)."""
    scores = call.query.float() @ call.key.float().transpose(-1, -2) / call.query.shape[-1] ** 0.5
    return scores if call.bias is None else scores + call.bias.float()


def mixed(probability: Tensor, call: AttentionCall) -> Tensor:
    """The values mixed by weights (B', heads, N, L), which need not sum to one: (B', heads, N, d)."""
    return (probability @ call.value.float()).to(call.value.dtype)
