"""`vxedit gen`, also `vxedit-gen`: generates a clip and its twin in which the object follows a path."""

from __future__ import annotations

import json
import re
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
from vxedit.cli.real import output_for
from vxedit.cli.report import Voice, reporting, say, voice
from vxedit.errors import UsageError
from vxedit.job import GenJob

EPILOG = (
    "Writes OUTPUT (the edited twin), OUTPUT-original.mp4, both side by side, a picture and the record; without --obj "
    "the clip alone. Prints OUTPUT's path on stdout and everything else on stderr. Exit code 0: done, 1: failed, 2: "
    "asked for something that can't be."
)

STAGES = {
    "revision": ("loading", "revision"),
    "lora": ("loading", "lora"),
    "lora_scale": ("loading", "lora_scale"),
    "offload": ("loading", "offload"),
    "steps": ("generate", "steps"),
    "guidance_scale": ("generate", "guidance_scale"),
    "eta": ("generate", "eta"),
    "num_frames": ("generate", "num_frames"),
    "size": ("generate", "size"),
    "fps": ("generate", "fps"),
    "strength": ("edit", "strength"),
    "recipe": ("edit", "recipe"),
    "seed": ("edit", "seed"),
    "gif": ("extras", "gif"),
    "attention": ("extras", "attention"),
}
PLAIN = ("prompt", "model", "device", "dtype", "allow_pickle", "overwrite")
OF_THE_CLIP = ("prompt", "steps", "guidance_scale", "eta", "steady", "no_steady", "num_frames", "size", "fps", "seed")
"""What a clip that was generated earlier was made of, and can't be had otherwise."""


@click.command(
    "gen",
    options_metavar="--obj WORD --path PATH [OPTIONS]",
    epilog=EPILOG,
    context_settings=options.CONTEXT,
)
@click.argument("prompt", metavar="PROMPT", required=False)
@options.what
@click.option(
    "--original",
    type=FILE,
    metavar="RECORD",
    help="Edit the clip that this .json records, made again exactly, instead of a new one; needs no PROMPT.",
)
@options.words
@options.strength
@options.generate
@options.seed
@options.model
@options.output
@options.files
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be done, without loading the model.")
@click.option("--json", "json", is_flag=True, help="Print the record on stdout instead of the clip's path.")
@options.talk
@click.version_option(__version__, prog_name="vxedit")
@click.pass_context
def command(ctx: click.Context, **params: Any) -> None:
    """Generate a clip of PROMPT, and its twin from the same seed in which the object follows PATH.

    \b
    vxedit-gen "a burger over a wooden table" --obj burger --path "0%:0.3,0.6 100%:0.7,0.35"
    """
    verbosity = params["verbose"] - params["quiet"]
    with reporting(verbosity=verbosity), voice(verbosity=verbosity) as speaker:
        if params["dry_run"] and params["json"]:
            raise UsageError("--json prints the record of a clip and --dry-run makes none; leave one of them out")
        job = job_of(ctx)
        if params["dry_run"]:
            rehearse(job, speaker, quiet=verbosity < 0)
        else:
            perform(job, speaker, as_json=params["json"], quiet=verbosity < 0)


def job_of(ctx: click.Context) -> GenJob:
    """The job that the command line asks for, of a new clip or of the one in --original."""
    from vxedit.gen import from_original

    given = {key: value for key, value in ctx.params.items() if value is not None}
    typed = {key for key in given if ctx.get_parameter_source(key) == ParameterSource.COMMANDLINE}
    if ctx.params["original"] is not None:
        clash = [key for key in OF_THE_CLIP if key in typed]
        if clash:
            what = clash[0].removeprefix("no_").replace("_", " ")
            raise UsageError(f"--original fixes the clip's {what}: leave it out, or generate a new clip")
        job = from_original(ctx.params["original"])
        given = {key: value for key, value in given.items() if key in typed}
    else:
        if not ctx.params["prompt"]:
            raise UsageError('missing PROMPT, what the clip shows; for example: vxedit-gen "a dog on a meadow"')
        job = GenJob(ctx.params["prompt"], Path(f"{named_after(ctx.params['prompt'])}.mp4"))
        job = replace(job, edit=replace(job.edit, seed=secrets.randbelow(2**32)))
    return overlay(job, given)


def overlay(job: GenJob, given: dict[str, Any]) -> GenJob:
    """`job` with the settings of `given` put in their places."""
    job = settled(job, given, PLAIN, STAGES)
    if given.get("steady") and given.get("no_steady"):
        raise UsageError("--steady keeps a word's object on its way and --no-steady none: give one of them")
    if given.get("steady") or given.get("no_steady"):
        job = replace(job, generate=replace(job.generate, steady=tuple(given.get("steady") or ())))
    words = words_of(given, job.words)
    objects = objects_of(given, job.objects, words) if given.get("obj") or words or given.get("path") else ()
    source = job.original or Path(named_after(job.prompt))
    default = f"{source.stem}-edit.mp4" if job.original else f"{source.stem}.mp4"
    return replace(job, words=words, objects=objects, output=output_for(source, given.get("output"), default))


def named_after(prompt: str) -> str:
    """A file's name from a prompt: its words, at most 48 characters."""
    words = re.sub(r"[^\w]+", "-", prompt.strip().lower()).strip("-")
    return words[:48].strip("-") or "clip"


def rehearse(job: GenJob, speaker: Voice, *, quiet: bool) -> None:
    """Check the job and say what would be done."""
    from vxedit.gen import plan_gen

    planned = plan_gen(job)
    for line in () if quiet else planned.describe():
        say(line)
    speaker.warn(planned.warnings)


def perform(job: GenJob, speaker: Voice, *, as_json: bool, quiet: bool) -> None:
    """Do the job; the clip's name, or its record, goes to stdout."""
    from vxedit.gen import edit_generated
    from vxedit.io.record import plain

    if not quiet:
        say(f"seed {job.edit.seed}")
    with bars(quiet=quiet) as progress:
        result = edit_generated(job, progress=progress)
    speaker.warn(result.warnings)
    click.echo(json.dumps(plain(result.record), indent=2, ensure_ascii=False) if as_json else str(result.output))
