"""`vxedit real`, also `vxedit-real`: moves an object in a real clip along a path."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vxedit import __version__
from vxedit.cli import options
from vxedit.cli.objects import objects_of, settled, words_of
from vxedit.cli.params import FILE
from vxedit.cli.progress import bars
from vxedit.cli.report import Voice, reporting, say, voice
from vxedit.errors import InputError, UsageError
from vxedit.job import RealJob
from vxedit.job_json import job_from_json

EPILOG = (
    "Prints the path of the edited clip on stdout and everything else on stderr. Exit code 0: done, 1: failed, 2: "
    "asked for something that can't be. Every option can also be set as VXEDIT_OPTION, such as VXEDIT_MODEL."
)

# Where the settings stand in a job that the command line names otherwise or that lie in one of its stages.
STAGES = {
    "revision": ("loading", "revision"),
    "lora": ("loading", "lora"),
    "lora_scale": ("loading", "lora_scale"),
    "offload": ("loading", "offload"),
    "start": ("selection", "start_s"),
    "num_frames": ("selection", "num_frames"),
    "fps": ("selection", "fps"),
    "size": ("selection", "size"),
    "fit": ("selection", "fit"),
    "keep_letterbox": ("selection", "keep_letterbox"),
    "window": ("selection", "window"),
    "inversion": ("invert", "kind"),
    "steps": ("invert", "steps"),
    "guidance_scale": ("invert", "guidance_scale"),
    "strength": ("edit", "strength"),
    "recipe": ("edit", "recipe"),
    "seed": ("edit", "seed"),
    "side_by_side": ("extras", "side_by_side"),
    "gif": ("extras", "gif"),
    "attention": ("extras", "attention"),
}
PLAIN = ("input", "prompt", "model", "device", "dtype", "allow_pickle", "overwrite")


@click.command(
    "real",
    options_metavar="--obj WORD --path PATH [OPTIONS]",
    epilog=EPILOG,
    context_settings=options.CONTEXT,
)
@click.argument("input", type=FILE, metavar="INPUT", required=False)
@options.what
@options.source
@options.words
@options.strength
@options.effort
@options.seed
@options.selection
@options.fitting
@options.model
@options.output
@options.side_by_side
@options.files
@click.option(
    "--from",
    "from",
    type=FILE,
    metavar="RECORD",
    help="Make a result again from its .json. Flags given beside it override it; leave to --overwrite is not in it.",
)
@click.option("--dry-run", is_flag=True, help="Check everything and draw the path, without loading the model.")
@click.option("--json", "json", is_flag=True, help="Print the record on stdout instead of the clip's path.")
@options.talk
@click.version_option(__version__, prog_name="vxedit")
@click.pass_context
def command(ctx: click.Context, **params: Any) -> None:
    """Move the object that WORD names in the video INPUT along PATH; the rest of the clip stays as it was.

    \b
    vxedit-real burger.mp4 --obj burger --path "0%:0.3,0.6 100%:0.7,0.35"
    """
    verbosity = params["verbose"] - params["quiet"]
    with reporting(verbosity=verbosity), voice(verbosity=verbosity) as speaker:
        if params["dry_run"] and params["json"]:
            raise UsageError("--json prints the record of an edit and --dry-run makes none; leave one of them out")
        job = job_of(ctx)
        if params["dry_run"]:
            rehearse(job, speaker, quiet=verbosity < 0)
        else:
            perform(job, speaker, as_json=params["json"], quiet=verbosity < 0)


def job_of(ctx: click.Context) -> RealJob:
    """The job that the command line asks for, on top of the record where --from names one."""
    params = ctx.params
    if params["from"] is None:
        job, given = blank(params), params
    else:
        # What the shell's environment or a default says must not change a result that is to be made again.
        job = recorded(params["from"])
        given = {
            key: value for key, value in params.items() if ctx.get_parameter_source(key) == ParameterSource.COMMANDLINE
        }
    return overlay(job, given)


def blank(params: dict[str, Any]) -> RealJob:
    """A job of the required settings and a drawn seed. Raises UsageError, naming the first setting that is missing."""
    words = params["replace"] or params["refine"] is not None or params["reweight"]
    needed = {"input": "INPUT, the video to edit"}
    needed |= {} if words else {"obj": "--obj WORD, the object's name", "path": "--path PATH, its path"}
    for key, meaning in needed.items():
        if not params[key]:
            raise UsageError(f'missing {meaning}; for example: vxedit-real clip.mp4 --obj dog --path "left"')
    job = RealJob(params["input"], output_for(params["input"], None), "", "")
    return replace(job, edit=replace(job.edit, seed=secrets.randbelow(2**32)))


def recorded(record_file: Path) -> RealJob:
    """The job in a result's record. Raises InputError where there is none. Leave to overwrite is never taken over."""
    from vxedit.io.record import read_record

    record = read_record(record_file)
    if "job" not in record:
        raise InputError(f'{record_file} has no "job" to make again; give the .json that lies beside an edited clip')
    return replace(job_from_json(record["job"]), overwrite=False)


def overlay(job: RealJob, given: dict[str, Any]) -> RealJob:
    """`job` with the settings of `given` that are not None put in their places."""
    settings = {key: value for key, value in given.items() if value is not None}
    job = settled(job, settings, PLAIN, STAGES)
    words = words_of(settings, job.words)
    first, *others = objects_of(settings, job.objects if job.obj else (), words)
    job = replace(
        job, words=words, obj=first.obj, path=first.path, box=first.box, mask=first.mask, others=tuple(others)
    )
    if "output" in settings:
        job = replace(job, output=output_for(job.input, settings["output"]))
    return job


def output_for(source: Path, given: str | None, name: str | None = None) -> Path:
    """The file to write: `given`, or, where that is a folder or ends in a slash, one in it named `name`, or after
    `source`."""
    name = name or f"{source.stem}-edit.mp4"
    if given is None:
        return Path(name)
    is_folder = given.endswith(tuple(filter(None, (os.sep, os.altsep)))) or Path(given).is_dir()
    return Path(given) / name if is_folder else Path(given)


def rehearse(job: RealJob, speaker: Voice, *, quiet: bool) -> None:
    """Check the job, say what would be done, and leave a picture of the path, whose name goes to stdout."""
    from vxedit.io.pictures import write_png
    from vxedit.real import plan, preview

    planned = plan(job)
    for line in () if quiet else planned.describe():
        say(line)
    speaker.warn(planned.warnings)
    picture = job.output.with_name(f"{job.output.stem}-path.png")
    write_png(picture, preview(planned), overwrite=job.overwrite)
    click.echo(str(picture))


def perform(job: RealJob, speaker: Voice, *, as_json: bool, quiet: bool) -> None:
    """Do the job; the clip's name, or its record, goes to stdout."""
    from vxedit.io.record import plain
    from vxedit.real import edit_real

    if not quiet:
        say(f"seed {job.edit.seed}")
    with bars(quiet=quiet) as progress:
        result = edit_real(job, progress=progress)
    speaker.warn(result.warnings)
    click.echo(json.dumps(plain(result.record), indent=2, ensure_ascii=False) if as_json else str(result.output))
