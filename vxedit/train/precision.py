"""The number format in which training computes."""

from __future__ import annotations

import torch


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies in it; float32 on processors that only imitate it, fifteen times slower."""
    if device.type != "cpu":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("amx_bf16") or able.get("avx512_bf16") else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """Automatic mixed precision in that format; without effect where that is float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype(device) == torch.bfloat16)
