"""What does the jobs: a worker with a model that stays loaded."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vxedit.batch.foresight import Foreseen
from vxedit.job import GenJob, RealJob

if TYPE_CHECKING:
    from vxedit.backbones.protocol import Backbone
    from vxedit.plan import Plan

logger = logging.getLogger(__name__)

Judge = Callable[[Path], float]
"""How good a result is, from its file; higher is better."""


@dataclass(frozen=True)
class Made:
    """What a job came to, besides the files that it wrote: its figures and what the user should know."""

    figures: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Work(Protocol):
    """Does jobs, one after another. Raises VxeditError with the remedy where one can't be done."""

    def __call__(self, job: RealJob | GenJob) -> Made: ...


@runtime_checkable
class Foreseeing(Protocol):
    """Work that can get a job ready while it does another."""

    def foresee(self, job: RealJob | GenJob) -> None: ...


class MakeWork(Protocol):
    """Makes what does the jobs, in the process where it does them: worker `slot` of `of`. Can be pickled."""

    def __call__(self, slot: int, of: int) -> Work: ...


@dataclass(frozen=True)
class Editors:
    """Workers that edit. `store`: the folder of the inversions that all share; None: the user's own."""

    store: Path | None = None

    def __call__(self, slot: int, of: int) -> Editor:
        return Editor(slot, of, self.store)


class Editor:
    """Edits with the model that the last job had, which stays loaded; every worker has a device of its own."""

    def __init__(self, slot: int, of: int, store: Path | None) -> None:
        self.slot, self.of, self.store = slot, of, store
        self.loaded: tuple[tuple[Any, ...], Backbone] | None = None
        self._foreseen: Foreseen | None = None

    def __call__(self, job: RealJob | GenJob) -> Made:
        from vxedit.gen import edit_generated
        from vxedit.invert.store import Store
        from vxedit.real import edit_real

        try:
            backbone = self._backbone(job)
            if isinstance(job, RealJob):
                result = edit_real(job, backbone=backbone, store=Store(self.store), planned=self._plan_of(job))
            else:
                result = edit_generated(job, backbone=backbone)
        except BaseException:
            self._forget()
            raise
        figures = result.record.get("figures") or {}
        return Made({name: float(one) for name, one in figures.items() if one is not None}, result.warnings)

    def foresee(self, job: RealJob | GenJob) -> None:
        """Check a job and decode its clip's first piece beside the one that is worked on."""
        if self._foreseen is not None:
            self._foreseen.drop()
        self._foreseen = Foreseen(job) if isinstance(job, RealJob) else None

    def _plan_of(self, job: RealJob) -> Plan | None:
        """What was foreseen of the job, if it was and still holds."""
        foreseen, self._foreseen = self._foreseen, None
        return None if foreseen is None else foreseen.plan_of(job)

    def _backbone(self, job: RealJob | GenJob) -> Backbone:
        from vxedit.model import load_for

        there = replace(job, device=self._device(job.device))
        wanted = (job.model, job.allow_pickle, there.device, job.dtype, job.loading)
        if self.loaded is None or self.loaded[0] != wanted:
            self.loaded = None  # before the next is loaded: two at once may not fit
            self._threads()
            logger.info("worker %d loads %s", self.slot + 1, job.model)
            backbone = load_for(there)
            self.loaded = (wanted, backbone)
        return self.loaded[1]

    def _device(self, device: str) -> str:
        import torch

        count = torch.cuda.device_count() if device == "auto" and torch.cuda.is_available() else 0
        return f"cuda:{self.slot % count}" if count > 1 else device

    def _threads(self) -> None:
        """Workers on one machine's processor share its cores."""
        import torch

        if self.of > 1:
            torch.set_num_threads(max(1, torch.get_num_threads() // self.of))
            self.of = 1

    def _forget(self) -> None:
        """Give back what a failed job may still hold; the model itself stays."""
        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def tried(work: Work, job: RealJob | GenJob, count: int, judge: Judge) -> tuple[Made, list[dict[str, float]], Path]:
    """Do `job` with `count` seeds, from its own on, each in a folder of its own beside its output.

    Gives what the best came to, every seed with its score in the order tried, and the best one's folder. A score that
    is NaN is the lowest; of equals the first is best.
    """
    best: tuple[float, Made, Path] | None = None
    scores = []
    for number in range(count):
        seed = (job.edit.seed + number) % 2**32
        folder = job.output.parent / f"seed-{number}"
        folder.mkdir()
        output = folder / job.output.name
        made = work(replace(job, output=output, edit=replace(job.edit, seed=seed)))
        score = judge(output)
        scores.append({"seed": seed, "score": score if score == score else float("-inf")})
        if best is None or scores[-1]["score"] > best[0]:
            best = (scores[-1]["score"], made, folder)
    if best is None:
        raise ValueError(f"at least one seed must be tried, got {count}")
    return best[1], scores, best[2]


def overlap(result: Path) -> float:
    """The judge of results: the mean overlap of the detected object with its path (mIoU), as vxedit-score has it."""
    from vxedit.score.files import score
    from vxedit.score.job import ScoreJob

    return score(ScoreJob((result,), use_source=False)).clips[0].figures["miou"]
