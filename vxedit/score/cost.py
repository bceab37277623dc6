"""What a run cost: forward passes and FLOPs, which no machine changes, beside seconds and memory, which each does."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """forwards: passes through the denoiser (a pass with its gradient counts as three); flops: None where not counted;
    seconds: wall time; peak_bytes: the process's largest resident memory so far."""

    forwards: float
    flops: float | None
    seconds: float
    peak_bytes: int

    def __add__(self, other: Cost) -> Cost:
        """Two stages after one another."""
        flops = None if self.flops is None or other.flops is None else self.flops + other.flops
        peak = max(self.peak_bytes, other.peak_bytes)
        return Cost(self.forwards + other.forwards, flops, self.seconds + other.seconds, peak)


def peak_memory() -> int:
    """Largest resident memory of this process since it began, in bytes; 0 where the system does not say (Windows).

    Linux's own record is read where there is one: its getrusage begins at what the process that started this one held.
    """
    record = Path("/proc/self/status")
    if record.exists():
        for line in record.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS counts bytes, the others KiB


@dataclass
class Meter:
    """Counts while `measure()` runs; add to `forwards` and `flops` there. `cost` is complete after the block."""

    forwards: float = 0.0
    flops: float | None = None
    seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def cost(self) -> Cost:
        """What was counted so far."""
        return Cost(self.forwards, self.flops, self.seconds, self.peak_bytes)


@contextmanager
def measure() -> Iterator[Meter]:
    """Time a block and note the peak memory, also when it raises: `with measure() as meter: ...`, then `meter.cost`."""
    meter, start = Meter(), time.perf_counter()
    try:
        yield meter
    finally:
        meter.seconds = time.perf_counter() - start
        meter.peak_bytes = peak_memory()
