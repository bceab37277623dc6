"""A manifest's rows as jobs, read by the very options of vxedit-real and vxedit-gen."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vxedit.batch.place import identity, result_name, shortened
from vxedit.batch.row import Fault, Row, Value
from vxedit.batch.task import Task
from vxedit.cli import gen, real
from vxedit.errors import UsageError, VxeditError
from vxedit.job import GenJob, RealJob

NOT_A_ROW_S = ("dry_run", "json", "verbose", "quiet", "overwrite", "help", "version")
"""Flags that are the batch's to say, or nobody's."""

TRUSTED = ("allow_pickle",)
"""Flags of the command line alone: a manifest, or a record that it names, is data and may be anybody's."""

YES, NO = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


@dataclass(frozen=True)
class Common:
    """What holds for every row that doesn't say otherwise: `values` by the flags' names, files named from the current
    folder; `best_of` seeds a job."""

    values: Mapping[str, Value]
    best_of: int = 1


def tasks_of(rows: Sequence[Row], common: Common, out: Path) -> tuple[list[Task], list[Fault]]:
    """Every row's task, and what is wrong with those that have none."""
    tasks, faults = [], []
    for row in rows:
        try:
            tasks.append(task_of(row, common, out))
        except click.ClickException as err:
            faults.append(Fault(row.where, err.format_message()))
        except VxeditError as err:
            faults.append(Fault(row.where, str(err)))
    return tasks, faults


def task_of(row: Row, common: Common, out: Path) -> Task:
    """A row's task. Raises UsageError, InputError or click.UsageError for what the commands would refuse."""
    for name in TRUSTED:
        if name in row.values:
            raise UsageError(f"{name} can't be a row's: give --{name.replace('_', '-')} on the command line")
    values = {**common.values, **row.values}
    best_of = _count(values.pop("best_of", str(common.best_of)))
    named = values.pop("output", row.output)
    is_real = "input" in values or "from" in values
    command = real.command if is_real else gen.command
    if not is_real and "prompt" not in values and "original" not in values:
        raise UsageError("it has no input, the video to edit, and no prompt, to generate one of")
    ctx = command.make_context(command.name, _argv(command, values, row, common), ignore_unknown_options=False)
    job: RealJob | GenJob = real.job_of(ctx) if is_real else gen.job_of(ctx)
    trusted = ctx.get_parameter_source("allow_pickle") in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    job = replace(job, allow_pickle=trusted and job.allow_pickle)
    if not isinstance(named, str):
        named = default_output(job, row)
    name = identity(named)
    if not Path(name).suffix:
        name += ".mp4"
    task = Task(name, row.where, replace(job, output=out / name, overwrite=False), best_of)
    given = ctx.params.get("seed") is not None or ctx.params.get("from") or ctx.params.get("original")
    return task if given else task.seeded()


def default_output(job: RealJob | GenJob, row: Row) -> str:
    """Where a row's result goes that doesn't say it: as its input lies in the manifest's folder, or by its name."""
    if isinstance(job, GenJob):
        source = job.original
        return f"{shortened(gen.named_after(job.prompt))}.mp4" if source is None else result_name(source.stem)
    absolute = job.input.absolute()
    inner = absolute.relative_to(row.base).parent if row.base in absolute.parents else Path()
    return str((Path() if ".." in inner.parts else inner) / result_name(job.input.stem))


def _argv(command: click.Command, values: Mapping[str, Value], row: Row, common: Common) -> list[str]:
    """The command line that says the same; each value bound to its flag by "=", so that none is taken for a flag."""
    known = {param.name: param for param in command.params if param.name not in (*NOT_A_ROW_S, "output")}
    argv, positional = [], []
    for name, value in values.items():
        param = known.get(name)
        if param is None:
            near = difflib.get_close_matches(name, [*filter(None, known), "output", "best_of"], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"vxedit-{command.name} has no flag {name!r} that a row can have{hint}")
        base = row.base if name in row.values else Path.cwd()
        texts = [_located(param, one, base) for one in (value if isinstance(value, tuple) else (value,))]
        if isinstance(param, click.Argument):
            positional += texts
        elif isinstance(param, click.Option) and param.is_flag:
            argv += [param.opts[0]] if _switch(name, value) else []
        else:
            option = next(opt for opt in param.opts if opt.startswith("--"))
            argv += [f"{option}={text}" for text in texts]
        if len(texts) > 1 and not param.multiple:
            raise UsageError(f"{name} is given {len(texts)} times: give it once")
    return [*argv, "--", *positional]


def _located(param: Any, value: str | bool, base: Path) -> str:
    """A value's text, with files named from `base`."""
    text = str(value).lower() if isinstance(value, bool) else value
    is_file = isinstance(param.type, click.Path) or (param.name == "path" and _names_file(base, text))
    return str(base / text) if is_file and text else text


def _names_file(base: Path, text: str) -> bool:
    try:
        return text.endswith(".json") or (base / text).is_file()
    except (OSError, ValueError):  # an inline path may be too long for a file's name
        return False


def _switch(name: str, value: Value) -> bool:
    text = str(value).strip().lower()
    if text not in (*YES, *NO):
        raise UsageError(f"{name} is a switch: give true or false, not {value!r}")
    return text in YES


def _count(value: Value) -> int:
    if isinstance(value, str) and value.strip().isdecimal() and 1 <= int(value) <= 64:
        return int(value)
    raise UsageError(f"best_of {value!r} is no number of seeds: give 1 to 64")
