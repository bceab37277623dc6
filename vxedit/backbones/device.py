"""The device and the number format that a model runs in."""

from __future__ import annotations

import torch

from vxedit.errors import UsageError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """`name` as a device; "auto": the first accelerator, else the processor. Raises UsageError where it isn't there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as err:
        raise UsageError(
            f"no device {name!r} here: pass --device auto, cpu, or cuda where torch was built for it"
        ) from err
    return device


def choose_dtype(name: str, device: torch.device, *, big: bool) -> torch.dtype:
    """`name` as a number format; "auto" is narrow for `big` networks on CUDA: bfloat16, whose range small gradients
    don't leave, where the device has it. Raises UsageError where it isn't known."""
    if name == "auto":
        if not big or device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name!r}: pass --dtype auto, {', '.join(DTYPES)}")
    return DTYPES[name]
