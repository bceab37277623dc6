"""The number format that training computes in, and its attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.train.precision import autocast, compute_dtype, quick_attention


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_processors_compute_in_bfloat16_where_they_multiply_in_it(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert compute_dtype(torch.device("cpu")) == expected
    with autocast(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == expected


def test_accelerators_always_do() -> None:
    assert compute_dtype(torch.device("cuda")) == torch.bfloat16


def attended(**kwargs: Any) -> tuple[Tensor, ...]:
    """Attention's result and the gradients of its sum of squares."""
    chance = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, generator=chance).requires_grad_() for n in (6, 6, 6))
    found = F.scaled_dot_product_attention(q, k, v, **kwargs)
    return (found, *torch.autograd.grad(found.square().sum(), (q, k, v)))


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"scale": 0.3}, {"attn_mask": torch.ones(6, 6).tril().bool()}, {"is_causal": True}],
    ids=["plain", "scale", "mask", "causal"],
)
def test_quick_attention_is_torchs(kwargs: dict[str, Any]) -> None:
    expected = attended(**kwargs)
    with quick_attention(torch.device("cpu")):
        found = attended(**kwargs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_quick_attention_stays_narrow_and_is_put_back() -> None:
    own = F.scaled_dot_product_attention
    q = torch.ones(1, 1, 2, 4, dtype=torch.bfloat16)
    with pytest.raises(RuntimeError, match="stop"), quick_attention(torch.device("cpu")):
        assert F.scaled_dot_product_attention is not own
        assert F.scaled_dot_product_attention(q, q, q).dtype == torch.bfloat16
        raise RuntimeError("stop")
    assert F.scaled_dot_product_attention is own
