"""The parts of an STDiT3 block. Modules and weights are named as in the published files."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vxedit.backbones.opensora.positions import rotate, waves

EPSILON = 1e-6

Attend = Callable[[Tensor, Tensor, Tensor, "Tensor | None"], Tensor]
"""Queries (B', heads, N, d), keys and values (B', heads, L, d) and an additive bias or None to (B', heads, N, d)."""

Rotation = tuple[Tensor, Tensor]


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, wide: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(wide, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class SelfAttention(nn.Module):
    """Attention among tokens (B', N, C); along time with queries and keys turned by `rotation`. What it computes with
    them is its `attend`, which can be replaced."""

    def __init__(self, dim: int, heads: int, *, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.attend: Attend = attend
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.RMSNorm(dim // heads, eps=EPSILON) if qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(dim // heads, eps=EPSILON) if qk_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, rotation: Rotation | None = None) -> Tensor:
        query, key, value = _heads(self.qkv(tokens), 3, self.heads)
        query, key = self.q_norm(query), self.k_norm(key)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        return self.proj(self.attend(query, key, value, None).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention of tokens (B, N, C) to text (B, L, C) under an additive bias (B, 1, 1, L) or None. `attend` as in
    SelfAttention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attend: Attend = attend
        self.q_linear = nn.Linear(dim, dim)
        self.kv_linear = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def qkv(self, tokens: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, heads, N, d), keys and values (B, heads, L, d)."""
        (query,) = _heads(self.q_linear(tokens), 1, self.heads)
        key, value = _heads(self.kv_linear(text), 2, self.heads)
        return query, key, value

    def forward(self, tokens: Tensor, text: Tensor, bias: Tensor | None = None) -> Tensor:
        query, key, value = self.qkv(tokens, text)
        return self.proj(self.attend(query, key, value, bias).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention within a frame or, where `temporal`, along time; attention to the text; and an MLP. The timestep scales
    and shifts what goes into the first and the last and gates what comes out (Peebles & Xie 2022, arXiv 2212.09748)."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, *, qk_norm: bool, temporal: bool) -> None:
        super().__init__()
        self.temporal = temporal
        self.attn = SelfAttention(dim, heads, qk_norm=qk_norm)
        self.cross_attn = CrossAttention(dim, heads)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), dim)
        self.scale_shift_table = nn.Parameter(torch.zeros(6, dim))

    def forward(
        self,
        tokens: Tensor,
        text: Tensor,
        bias: Tensor | None,
        modulation: Tensor,
        rotation: Rotation,
        frames: int,
    ) -> Tensor:
        """Tokens (B, frames * cells, C) to the same, given text (B, L, C), its bias (B, 1, 1, L) or None, modulation
        (B, 6, C) by the timestep, and the turns of `positions.rotations`."""
        parts = (self.scale_shift_table + modulation).chunk(6, 1)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts
        tokens = tokens + gate * self._among(modulate(tokens, shift, scale), rotation, frames)
        tokens = tokens + self.cross_attn(tokens, text, bias)
        return tokens + mlp_gate * self.mlp(modulate(tokens, mlp_shift, mlp_scale))

    def _among(self, tokens: Tensor, rotation: Rotation, frames: int) -> Tensor:
        batch = len(tokens)
        grid = tokens.unflatten(1, (frames, -1))  # (B, f, cells, C)
        if not self.temporal:
            return self.attn(grid.flatten(0, 1)).reshape(tokens.shape)
        along = self.attn(grid.transpose(1, 2).flatten(0, 1), rotation)  # (B * cells, f, C)
        return along.unflatten(0, (batch, -1)).transpose(1, 2).reshape(tokens.shape)


class FinalLayer(nn.Module):
    """Tokens (B, N, C) to the values of their patches (B, N, patch * channels), scaled and shifted by the timestep's
    embedding (B, C)."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, out)
        self.scale_shift_table = nn.Parameter(torch.zeros(2, dim))

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        shift, scale = (self.scale_shift_table + embedding[:, None]).chunk(2, 1)
        return self.linear(modulate(tokens, shift, scale))


class ScalarEmbedder(nn.Module):
    """A number of each clip (B,), its timestep or its frames a second, as (B, C)."""

    def __init__(self, dim: int, frequencies: int = 256) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, values: Tensor) -> Tensor:
        dtype = next(self.parameters()).dtype
        return self.mlp(waves(values.to(dtype), self.frequencies // 2).to(dtype))


class CaptionEmbedder(nn.Module):
    """The text encoder's states (B, L, D) brought to the network's width, and the learned states, (longest text, D),
    that stand for no text at all."""

    y_embedding: Tensor

    def __init__(self, text_dim: int, dim: int, longest: int) -> None:
        super().__init__()
        self.y_proj = Mlp(text_dim, dim, dim)
        self.register_buffer("y_embedding", torch.zeros(longest, text_dim))

    def forward(self, text: Tensor) -> Tensor:
        return self.y_proj(text)


def modulate(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Tokens (B, N, C) brought to mean 0 and variance 1, then scaled by 1 + `scale` and shifted, both (B, 1, C)."""
    return F.layer_norm(tokens, tokens.shape[-1:], eps=EPSILON) * (1 + scale) + shift


def _heads(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    return projected.unflatten(2, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # each (B', heads, N, d)
