"""The number format that training computes in."""

from __future__ import annotations

import pytest
import torch

from vxedit.train.precision import autocast, compute_dtype


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
