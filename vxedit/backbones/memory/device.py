"""How much memory a device has left, and whether parts kept off it would be anywhere else."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MEMINFO = Path("/proc/meminfo")

SPARE = 0.05
"""Share of the free memory that is left alone: what other programs and the allocator's rounding take meanwhile."""


@dataclass(frozen=True)
class DeviceMemory:
    """`kind` as torch names it ("cuda", "cpu"); `free_bytes`: what a run can have."""

    kind: str
    free_bytes: int

    @property
    def apart(self) -> bool:
        """Whether the device has memory of its own, so that weights can be kept elsewhere."""
        return self.kind not in ("cpu", "mps")


def device_memory(device: torch.device) -> DeviceMemory:
    """What is free on `device` now, less SPARE."""
    return DeviceMemory(device.type, int(_free(device) * (1 - SPARE)))


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        # torch keeps what it freed, to give it out again
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return host_free()


def host_free(meminfo: Path = MEMINFO) -> int:
    """Bytes that this machine can give a process without swapping; where the system doesn't say, half of what there
    is."""
    if meminfo.is_file() and (found := re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)):
        return int(found[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
