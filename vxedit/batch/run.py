"""A run: which jobs are to be done, tried until they are or have failed, and what became of each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vxedit.batch.attempt import Ended, Order
from vxedit.batch.claim import sweep
from vxedit.batch.executor import Executor
from vxedit.batch.log import Entry, Log
from vxedit.batch.state import done_before
from vxedit.batch.task import Task
from vxedit.errors import OutputError, UsageError

PATIENCE_S = 0.5
"""Between looks at jobs that another process has."""


@dataclass(frozen=True)
class RunSettings:
    """`retry`: tries more of a job that fails. `fail_fast`: the first failure ends the run. `limit`: at most so many
    jobs. `again`: also what is done already. `overwrite`: files that are not this batch's may be replaced."""

    retry: int = 0
    fail_fast: bool = False
    limit: int | None = None
    again: bool = False
    overwrite: bool = False


@dataclass
class Tally:
    """How far a run is. `total` jobs are to be done in it; `already` were before; `failed` holds each one's error."""

    total: int = 0
    done: int = 0
    already: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Jobs that were not tried to the end."""
        return self.total - self.done - len(self.failed)


def shard(tasks: Sequence[Task], index: int, count: int) -> list[Task]:
    """Every `count`th task, from the `index`th on, counted from 1. Raises UsageError."""
    if not 1 <= index <= count:
        raise UsageError(f"--shard {index}/{count} is no part: give 1/{count} to {count}/{count}")
    return list(tasks[index - 1 :: count])


def to_do(tasks: Sequence[Task], out: Path, log: Log, settings: RunSettings) -> tuple[list[Task], int]:
    """The tasks that are not done yet, or no longer as they would be now, at most as many as the limit says; and how
    many that were looked at are done."""
    if settings.again:
        return list(tasks[: settings.limit]), 0
    found: list[Task] = []
    already = 0
    for task in tasks:
        if settings.limit is not None and len(found) >= settings.limit:
            break
        if done_before(task, out, log.last.get(task.id)):
            already += 1
        else:
            found.append(task)
    return found, already


def run(
    tasks: Sequence[Task],
    out: Path,
    executor: Executor,
    settings: RunSettings,
    *,
    log: Log | None = None,
    stopping: Callable[[], bool] = lambda: False,
    told: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Do what is to be done of `tasks`. One failure never stops the rest, unless `fail_fast`.

    `told` hears how far it is after every job; once `stopping` says so, no further job is begun. `executor` is closed
    at the end; after an error, KeyboardInterrupt included, what is running is dropped. Raises OutputError where the
    log can't be written, since then nobody would know what became of the jobs.
    """
    log = log or Log(out)
    log.refresh()
    wanted, already = to_do(tasks, out, log, settings)
    tally = Tally(total=len(wanted), already=already)
    fresh_from = log.end if settings.again else 0
    queue = deque(Order(task, 1, fresh_from, settings.overwrite) for task in wanted)
    told(tally)
    drop = True
    try:
        _work_off(queue, executor, settings, log, tally, stopping, told)
        drop = False
    finally:
        executor.close(drop=drop)
        sweep(out)
    return tally


def _work_off(
    queue: deque[Order],
    executor: Executor,
    settings: RunSettings,
    log: Log,
    tally: Tally,
    stopping: Callable[[], bool],
    told: Callable[[Tally], None],
) -> None:
    running: dict[str, Order] = {}
    elsewhere: list[Order] = []
    broken = ""
    while True:
        stop = bool(broken) or stopping() or (settings.fail_fast and bool(tally.failed))
        while queue and len(running) < executor.slots and not stop:
            order = queue.popleft()
            if len(queue) >= executor.slots:
                order = replace(order, after=queue[executor.slots - 1].task)
            running[order.task.id] = order
            executor.submit(order)
        if not running:
            if stop or not elsewhere:
                break
            time.sleep(PATIENCE_S)
            queue, elsewhere = deque(elsewhere), []
            continue
        ended = executor.next(PATIENCE_S)
        if ended is None:
            continue
        order = running.pop(ended.job)
        if ended.fate == "lost":
            ended = _after_loss(ended, order, log)
        if ended.fate == "unrecorded":
            broken = ended.error
        elif ended.fate == "busy":
            elsewhere.append(order)
        elif ended.fate in ("done", "already"):
            tally.done += 1
        elif _again(ended, order, max(settings.retry, executor.lost_retries if ended.fate == "lost" else 0)):
            queue.append(Order(order.task, order.number + 1, order.fresh_from, order.overwrite))
        else:
            tally.failed[ended.job] = ended.error
        told(tally)
    if broken:
        raise OutputError(broken)


def _after_loss(ended: Ended, order: Order, log: Log) -> Ended:
    """What the log says of a job whose worker was lost: it may have been done just before."""
    log.refresh()
    last = log.last.get(ended.job)
    if last is not None and last.state == "done" and last.at >= order.fresh_from:
        return Ended(ended.job, "done")
    try:
        log.append(Entry(ended.job, "failed", attempt=order.number, error=ended.error, kind=ended.kind))
    except OutputError as err:
        return Ended(ended.job, "unrecorded", str(err))
    return ended


def _again(ended: Ended, order: Order, retries: int) -> bool:
    """Whether a try that came to nothing is worth another: not where what was asked can't be meant."""
    return ended.kind != "UsageError" and order.number <= retries
