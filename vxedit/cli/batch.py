"""`vxedit batch`, also `vxedit-batch`: edits a folder of clips, or every row of a manifest."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vxedit import __version__
from vxedit.batch.row import Fault, Row, Value
from vxedit.cli import options
from vxedit.cli.batch_run import perform, rehearse
from vxedit.cli.params import FILE, Parsed
from vxedit.cli.report import reporting, say, voice
from vxedit.cli.rows import Common, tasks_of
from vxedit.errors import InputError, OutputError, UsageError, VxeditError

if TYPE_CHECKING:
    from vxedit.batch.row import Rows
    from vxedit.batch.task import Task

EPILOG = (
    "Leaves in OUT every result with its record and picture, batch.jsonl with every change of a job's state, and "
    "report.html, whose path is all that is printed on stdout. Exit code 0: all done, 1: some failed, 2: asked for "
    "something that can't be, 130: interrupted."
)
OWN = (
    *("source", "output", "glob", "recursive", "workers", "executor", "address", "gpus", "resume", "retry"),
    *("fail_fast", "limit", "shard", "best_of", "overwrite", "dry_run", "verbose", "quiet"),
)
"""Flags that are not a row's."""


def parse_shard(text: str) -> tuple[int, int]:
    """ "i/n", the i-th of n parts. Raises ValueError."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise ValueError(text)
    return index, count


SHARD = Parsed("I/N", parse_shard, 'a part such as "1/4", the first of four')

what_to_run = options.group(
    click.option("--glob", metavar="PATTERN", help='Clips of a folder by name, such as "*.mp4". [default: all videos]'),
    click.option("-r", "--recursive", is_flag=True, help="Also the folder's folders; OUT mirrors them."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most this many jobs now."),
    click.option("--shard", type=SHARD, help="Every N-th job from the I-th on, to divide a batch among machines."),
    click.option(
        "--resume/--no-resume",
        default=True,
        show_default=True,
        help="Pass over what OUT has already with the same settings and content; or do all anew.",
    ),
    click.option("--retry", type=click.IntRange(0, 100), default=0, show_default=True, help="Tries more of a failure."),
    click.option("--fail-fast", is_flag=True, help="End at the first failure."),
    click.option(
        "--best-of",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        metavar="N",
        help="Try N seeds a job and keep the one whose object is best on its path; the record names them all.",
    ),
)

who_runs_it = options.group(
    click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Processes that work at once, with a device each. [default: 1]",
    ),
    click.option(
        "--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Who does the jobs."
    ),
    click.option("--address", metavar="HOST:PORT|auto", help="Ray's cluster. [default: one of this machine alone]"),
    click.option("--gpus", type=click.FloatRange(0, 64), metavar="N", help="Accelerators a Ray worker. [default: 1]"),
)


@click.command(
    "batch",
    options_metavar="-o OUT [--obj WORD --path PATH] [OPTIONS]",
    epilog=EPILOG,
    context_settings=options.CONTEXT,
)
@click.argument("source", type=FILE, metavar="FOLDER|MANIFEST")
@click.option("-o", "--output", type=FILE, metavar="OUT", required=True, help="The folder for results, made if needed.")
@what_to_run
@who_runs_it
@options.what
@options.source
@options.words
@options.strength
@options.effort
@options.seed
@options.selection
@options.model
@options.side_by_side
@options.files
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be done and how long it may take.")
@options.talk
@click.version_option(__version__, prog_name="vxedit")
@click.pass_context
def command(ctx: click.Context, **params: Any) -> None:
    """Edit every clip of a FOLDER, or do every row of a MANIFEST (.csv, .jsonl, .toml), whose columns are the flags of
    vxedit-real and vxedit-gen. Flags given here hold for every row that doesn't say otherwise.

    \b
    vxedit-batch clips -o out --obj burger --path "to:0.7,0.5"
    vxedit-batch jobs.csv -o out --workers 2
    """
    verbosity = params["verbose"] - params["quiet"]
    with reporting(verbosity=verbosity), voice(verbosity=verbosity) as speaker:
        common = Common(common_values(ctx), params["best_of"])
        out = params["output"]
        rows = read(params["source"], out, params)
        tasks, passed = checked(rows, common, out, from_folder=params["source"].is_dir())
        speaker.warn(str(one) for one in passed)
        ctx.exit(act(tasks, passed, out, params))


def act(tasks: list[Task], passed: Sequence[Fault], out: Path, params: dict[str, Any]) -> int:
    """Do or rehearse the checked tasks; the exit code."""
    from vxedit.batch.run import RunSettings, shard

    mine = tasks if params["shard"] is None else shard(tasks, *params["shard"])
    settings = RunSettings(
        retry=params["retry"],
        fail_fast=params["fail_fast"],
        limit=params["limit"],
        again=not params["resume"],
        overwrite=params["overwrite"],
    )
    quiet = params["verbose"] - params["quiet"] < 0
    if params["dry_run"]:
        rehearse(mine, out, settings, workers=params["workers"] or 1)
        return 0
    return perform(mine, tasks, passed, out, settings, params, quiet=quiet)


def common_values(ctx: click.Context) -> dict[str, Value]:
    """What the command line says for all rows, as text. What the environment says reaches each row by itself."""
    found: dict[str, Value] = {}
    for name, value in ctx.params.items():
        if name in OWN or value is None or ctx.get_parameter_source(name) != ParameterSource.COMMANDLINE:
            continue
        param = next(param for param in ctx.command.params if param.name == name)
        found[name] = tuple(_text(one) for one in value) if param.multiple else _flag_or_text(value)
    return found


def _flag_or_text(value: Any) -> Value:
    return value if isinstance(value, bool) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(one) for one in value)
    return f"{value.numerator}/{value.denominator}" if isinstance(value, Fraction) else str(value)


def read(source: Path, out: Path, params: dict[str, Any]) -> Rows:
    """The rows of a folder or manifest. Raises UsageError where flags don't go with it."""
    from vxedit.batch.folder import read_folder
    from vxedit.batch.manifest import read_manifest

    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: name a folder for the results")
    if not source.exists():
        raise InputError(f"{source} doesn't exist: give a folder of clips, or a manifest (.csv, .jsonl, .toml)")
    if not source.is_dir():
        if params["glob"] or params["recursive"]:
            raise UsageError("--glob and --recursive choose a folder's clips, and this is a manifest; leave them out")
        return read_manifest(source)
    if out.exists() and out.samefile(source):
        raise UsageError(f"-o {out} is the folder of the clips: name another, or one in it")
    if not (params["obj"] or params["replace"] or params["reweight"]):
        raise UsageError('missing --obj WORD, the object\'s name in the clips; for example: --obj dog --path "left"')
    return read_folder(source, out=out, pattern=params["glob"], recursive=params["recursive"])


def checked(rows: Rows, common: Common, out: Path, *, from_folder: bool) -> tuple[list[Task], list[Fault]]:
    """The tasks, all checked, and the clips that are passed over. Raises UsageError where there is any fault, once each
    has been said in a line of its own."""
    from vxedit.batch.check import caption_without, check_settings, check_tasks

    own = rows.rows
    if from_folder and "path" in common.values:  # given for all, as --prompt is before the captions
        own = tuple(_without(row, "path") for row in own)
    tasks, faults = tasks_of(own, common, out)
    faults = [*rows.faults, *faults]
    passed, kept = list(rows.passed), []
    for task in tasks:
        reason = _reason(task, caption_without) if from_folder and "obj" in common.values else None
        if reason is None:
            kept.append(task)
        else:
            passed.append(Fault(task.where, reason))
    faults += check_tasks(kept, out, check_settings)
    if faults:
        for fault in faults:
            say(f"vxedit: error: {fault}")
        raise UsageError(f"{len(faults)} error(s) in what is to be done: nothing was started")
    if not kept:
        raise InputError("no clip is left to edit" + (f": {passed[0]}" if passed else ""))
    return kept, passed


def _reason(task: Task, caption_without: Callable[[Task], str | None]) -> str | None:
    try:
        return caption_without(task)
    except VxeditError:  # which the check says again, with its line
        return None


def _without(row: Row, name: str) -> Row:
    return replace(row, values={key: value for key, value in row.values.items() if key != name})
