"""What `vxedit batch` does once all is checked: rehearses, or runs with a bar, a report and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vxedit.batch.row import Fault
from vxedit.cli.report import INTERRUPTED, say
from vxedit.errors import OutputError, UsageError, VxeditError

if TYPE_CHECKING:
    from vxedit.batch.executor import Executor
    from vxedit.batch.log import Log
    from vxedit.batch.run import RunSettings, Tally
    from vxedit.batch.task import Task


def rehearse(tasks: list[Task], out: Path, settings: RunSettings, *, workers: int) -> None:
    """Say what would be done, and how long it may take. Nothing is written."""
    from vxedit.batch.estimate import estimate, spoken
    from vxedit.batch.log import Log
    from vxedit.batch.row import one_line
    from vxedit.batch.run import to_do

    log = Log(out)
    log.refresh()
    wanted, already = to_do(tasks, out, log, settings)
    for task in wanted:
        objects = ", ".join(f"{one.obj} {one.path}" for one in task.job.objects)
        say(one_line(f"{task.where} -> {out / task.id}: {objects}, seed {task.job.edit.seed}"))
    time = estimate(wanted, tasks, log.last, workers=workers)
    spent = f"about {spoken(time.seconds)}" if time.seconds is not None else "a time that isn't known"
    say(f"{len(wanted)} job(s) to do, {already} done already; {spent} ({time.basis})")


def perform(
    mine: list[Task],
    tasks: list[Task],
    passed: Sequence[Fault],
    out: Path,
    settings: RunSettings,
    params: dict[str, Any],
    *,
    quiet: bool,
) -> int:
    """Do the jobs, write the report, and say what failed; the exit code."""
    from vxedit.batch.interrupt import interruptible
    from vxedit.batch.log import Log
    from vxedit.batch.report import write_report
    from vxedit.batch.run import run

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"{out} can't be made: {err.strerror}; choose another -o") from err
    log = Log(out)
    executor = executor_for(out, params)
    try:
        with interruptible(lambda: say("vxedit: finishing what is running; Ctrl-C again drops it")) as stopping:
            with bar(quiet=quiet) as told:
                tally = run(mine, out, executor, settings, log=log, stopping=stopping, told=told)
            stopped = stopping()
    finally:
        report = _reported(out, log, lambda: write_report(out, tasks, log.last, passed))
    for job, error in tally.failed.items():
        say(f"vxedit: error: {job}: {error}")
    if not quiet:
        say(f"{tally.done} done, {len(tally.failed)} failed, {tally.left} left, {tally.already} done before")
    if report is not None:
        click.echo(str(report))
    return INTERRUPTED if stopped else int(bool(tally.failed))


def _reported(out: Path, log: Log, write: Callable[[], Path]) -> Path | None:
    """The report, or None, which is said, where it can't be written: the jobs' own ends are not lost with it."""
    try:
        log.refresh()
        return write()
    except VxeditError as err:
        say(f"vxedit: warning: {out} has no report: {err}")
        return None


def executor_for(out: Path, params: dict[str, Any]) -> Executor:
    """Who does the jobs, as the flags say. Raises UsageError for flags that don't go together."""
    from vxedit.batch.attempt import Bench
    from vxedit.batch.executor import InProcess
    from vxedit.batch.work import Editors

    if params["executor"] == "ray":
        from vxedit.batch.on_ray import OnRay

        return OnRay(out, Editors(), params["workers"] or 1, address=params["address"], gpus=params["gpus"])
    if params["address"] or params["gpus"] is not None:
        raise UsageError("--address and --gpus are Ray's: add --executor ray, or leave them out")
    if params["workers"] in (None, 1):
        return InProcess(Bench(out, Editors()))
    from vxedit.batch.processes import Processes

    return Processes(out, Editors(), params["workers"])


@contextmanager
def bar(*, quiet: bool) -> Iterator[Callable[[Tally], None]]:
    """A bar of the jobs on stderr, with their rate and the time left; on a terminal alone."""
    from tqdm import tqdm

    with tqdm(desc="batch", unit="job", file=sys.stderr, disable=True if quiet else None) as drawn:

        def told(tally: Tally) -> None:
            drawn.total = tally.total
            drawn.set_postfix(failed=len(tally.failed), refresh=False)
            drawn.update(tally.done + len(tally.failed) - drawn.n)
            drawn.refresh()

        yield told
