"""A job's model: what it can do, how it fits the device's memory, and the model itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

from vxedit.backbones.protocol import Backbone, Size
from vxedit.backbones.registry import Outline, load, outline
from vxedit.errors import InputError, UsageError
from vxedit.job import InvertSettings, Loading

if TYPE_CHECKING:
    from vxedit.backbones.memory.plan import MemoryPlan
    from vxedit.backbones.pace import Work

Result = TypeVar("Result")
Run = Callable[[Backbone], Result]


class Asks(Protocol):
    """What every job says of its model."""

    @property
    def model(self) -> str: ...

    @property
    def allow_pickle(self) -> bool: ...

    @property
    def device(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def loading(self) -> Loading: ...


def outline_of(job: Asks) -> Outline:
    """What the job's model can do; no weights are read. Raises VxeditError as `registry.outline`, and for settings of
    its loading that can't be meant."""
    check_loading(job.loading)
    return outline(job.model, revision=job.loading.revision, allow_pickle=job.allow_pickle)


def check_loading(loading: Loading) -> None:
    """Raises UsageError or InputError where LoRA files aren't there or their scale is out of range."""
    if not 0 <= loading.lora_scale <= 4:
        raise UsageError(f"--lora-scale {loading.lora_scale:g} is out of range: give 0 (nothing of it) to 4")
    for file in loading.lora:
        if not file.is_file():
            raise InputError(f"--lora {file} is no file: give a LoRA's .safetensors, or several, each with its --lora")


def load_for(job: Asks, plan: MemoryPlan | None = None) -> Backbone:
    """The job's model, loaded as the memory plan has it, or without one as the job says."""
    from vxedit.backbones.memory.needs import Way

    way, offload = None if plan is None else plan.way, job.loading.offload
    if plan is None and offload != "auto" and offload != "none":
        way = Way(recomputed=True, offload=offload)
    return load(
        job.model,
        revision=job.loading.revision,
        device=job.device,
        dtype=job.dtype,
        allow_pickle=job.allow_pickle,
        way=way,
        lora=job.loading.lora,
        lora_scale=job.loading.lora_scale,
    )


def memory_of(
    job: Asks, described: Outline, size: Size, *, steps: int, invert: InvertSettings | None = None
) -> MemoryPlan | None:
    """How the job is to be run so that it fits its device's memory; None where too little is known of the model.
    `invert`: how a real clip is inverted; None for a clip that is generated.

    Raises ModelError, with the flags that would fit, where nothing does.
    """
    from vxedit.backbones.device import DTYPES, choose_device, choose_dtype
    from vxedit.backbones.memory.choose import memory_plan
    from vxedit.backbones.memory.plan import Asked, Wishes
    from vxedit.backbones.memory.unet3d_needs import Edit
    from vxedit.backbones.registry import BIG_BYTES

    device, layout = choose_device(job.device), described.layout
    big = layout.bytes(layout.family.network.name) > BIG_BYTES
    dtype = choose_dtype(job.dtype, device, big=big)
    named = next(name for name, kind in DTYPES.items() if kind == dtype)
    edit = Edit(
        steps,
        null_text=invert is not None and invert.kind == "null-text",
        per_frame=invert is not None and invert.per_frame,
        device=device.type,
    )
    offload = job.loading.offload
    wishes = Wishes(offload=None if offload == "auto" else offload)
    asked = Asked(size, named, described.facts.sizes.multiple)
    return memory_plan(layout, described.facts, edit, asked, device, wishes)


def cost_lines(job: Asks, plan: MemoryPlan | None, work: Work | None, *, pieces: int = 1) -> list[str]:
    """What the job will take of memory and time, a line each, as far as that is known. The device's pace is measured
    for it, in a quarter of a second."""
    from vxedit.backbones.device import DTYPES, choose_device
    from vxedit.backbones.pace import spoken

    if work is None or plan is None:
        return [] if plan is None else [plan.line()]
    device = choose_device(job.device)
    taken = pieces * work.seconds(device, DTYPES[plan.asked.dtype])
    return [
        plan.line(),
        f"time: about {spoken(taken)} on {device.type}, as busy as it is now, once the model is loaded",
    ]


def within_memory(
    job: Asks, plan: MemoryPlan | None, timed: Callable[[str], AbstractContextManager[None]], run: Run[Result]
) -> Result:
    """What `run` gives with the job's model; where memory runs out, again with the plan's next way. `timed` measures
    the loading. Raises ModelError, with the flags that would fit, where no way is left."""
    from vxedit.backbones.memory.retry import with_next_step

    def attempt(tried: MemoryPlan | None) -> Result:
        with timed("load"):
            backbone = load_for(job, tried)
        return run(backbone)

    return attempt(None) if plan is None else with_next_step(plan, attempt)
