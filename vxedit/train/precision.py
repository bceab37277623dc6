"""The number format in which training computes, and attention that is quick in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies in it; float32 on processors that only imitate it, fifteen times slower."""
    if device.type != "cpu":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("amx_bf16") or able.get("avx512_bf16") else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """Automatic mixed precision in that format; without effect where that is float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype(device) == torch.bfloat16)


@contextmanager
def quick_attention(device: torch.device) -> Iterator[None]:
    """Let attention run as it is quickest with its gradient while the context lasts.

    On processors those are plain products and a softmax: torch's own attention computes in float32 whatever it is given
    (three times as slow as in bfloat16), and its flash kernel has a slow gradient.
    """
    if device.type != "cpu":
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            yield
        return
    functional: Any = torch.nn.functional
    own = functional.scaled_dot_product_attention

    def plain(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        masked = bool(args) or kwargs.get("attn_mask") is not None or kwargs.get("is_causal") or kwargs.get("dropout_p")
        if masked or kwargs.get("enable_gqa"):
            return own(query, key, value, *args, **kwargs)
        scale = kwargs.get("scale") or query.shape[-1] ** -0.5
        return (query @ key.transpose(-1, -2) * scale).softmax(-1) @ value

    functional.scaled_dot_product_attention = plain
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = own
