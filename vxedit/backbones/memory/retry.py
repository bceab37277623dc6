"""Running out of memory: knowing it when it happens, and going on with the plan's next way."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from vxedit.backbones.memory.plan import MemoryPlan, spoken
from vxedit.errors import ModelError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

SIGNS = ("out of memory", "not enough memory", "defaultcpuallocator", "cannot allocate memory", "failed to allocate")
"""What RuntimeErrors of allocators say: CUDA's libraries, torch's CPU allocator, oneDNN and Metal."""

SHORTFALL = 0.8
"""After memory ran out, what fits is looked for below this share of what the plan had expected to need."""


def out_of_memory(err: BaseException) -> bool:
    """Whether `err`, or an error that it was raised from, says that there was no memory left."""
    seen: BaseException | None = err
    while seen is not None:
        if isinstance(seen, MemoryError | torch.cuda.OutOfMemoryError):
            return True
        if isinstance(seen, RuntimeError) and any(sign in str(seen).lower() for sign in SIGNS):
            return True
        seen = seen.__cause__
    return False


def with_next_step(
    plan: MemoryPlan, attempt: Callable[[MemoryPlan], Result], *, tell: Callable[[str], None] = logger.warning
) -> Result:
    """What `attempt` gives under the plan; where it runs out of memory, under the plan's next, and so on.

    `attempt` must let go of everything it made when it fails. `tell` is told of every new try. Raises ModelError, with
    the flags that would fit, where no way is left; other errors pass.
    """
    while True:
        try:
            return attempt(plan)
        except Exception as err:
            if not out_of_memory(err):
                raise
            after = plan.next()
            if after is None:
                raise ModelError(_message(plan)) from err
        # The error is gone by now, and with it the frames of the attempt, which held its tensors.
        free_caches()
        tell(f"out of memory; again with another plan: {after.line()}")
        plan = after


def free_caches() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _message(plan: MemoryPlan) -> str:
    size, needed = plan.asked.size, min(plan.peak, plan.memory.free_bytes)
    return (
        f"out of memory with {size.frames} frames of {size.width}x{size.height} in {plan.asked.dtype}, of which "
        f"{spoken(plan.memory.free_bytes)} were free and about {spoken(plan.peak)} expected to be needed: close other "
        f"programs, or pass {plan.remedy(below=int(SHORTFALL * needed))}"
    )
