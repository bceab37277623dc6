"""How long a batch will take, from what its jobs took so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from vxedit.batch.check import outline_of
from vxedit.batch.log import Entry
from vxedit.batch.task import Task
from vxedit.job import RealJob

EMBEDDED_S = 1.8
"""Seconds a step of one edit of 16 frames with the embedded model takes on two processor cores: the demo's 36 s."""


@dataclass(frozen=True)
class Estimate:
    """`seconds` for all that is to be done, None where nothing is known; `basis` says what it is taken from."""

    seconds: float | None
    basis: str


def steps(task: Task) -> int:
    """The denoising steps of a task, each seed's counted, which its time grows with."""
    job = task.job
    if isinstance(job, RealJob):
        return task.best_of * job.invert.steps
    return task.best_of * (job.generate.steps or outline_of(job).facts.steps)


def estimate(wanted: Sequence[Task], tasks: Iterable[Task], last: Mapping[str, Entry], *, workers: int) -> Estimate:
    """The time for `wanted` on `workers`, from the median of what a step took in the jobs of this batch that are done;
    before there are any, from what the embedded model takes."""
    paces = [
        last[task.id].seconds / steps(task)
        for task in tasks
        if task.id in last and last[task.id].state == "done" and last[task.id].seconds > 0
    ]
    if paces:
        pace, basis = median(paces), f"{len(paces)} job(s) of this batch"
    elif all(task.job.model == "embedded" for task in wanted):
        pace, basis = EMBEDDED_S, "the embedded model on two processor cores"
    else:
        return Estimate(None, "no job is done yet: try --limit 1 first")
    waves = sum(steps(task) for task in wanted) / max(1, min(workers, len(wanted) or 1))
    return Estimate(pace * waves, basis)


def spoken(seconds: float) -> str:
    """A time in the two units that matter: "3 h 20 min"."""
    whole = math.ceil(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
