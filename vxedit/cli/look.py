"""`vxedit look`, also `vxedit-look`: shows where the model looks for each word of a clip's prompt."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vxedit import __version__
from vxedit.cli import options
from vxedit.cli.params import FILE, Number, Parsed
from vxedit.cli.progress import bars
from vxedit.cli.report import Voice, reporting, say, voice
from vxedit.job import Loading, Selection

if TYPE_CHECKING:
    from vxedit.look import LookJob

EPILOG = (
    "Prints the path of the picture on stdout and everything else on stderr. Exit code 0: done, 1: failed, 2: asked "
    "for something that can't be. Every option can also be set as VXEDIT_OPTION, such as VXEDIT_MODEL."
)

SAMPLES = 2
PLAIN = ("input", "prompt", "samples", "seed", "model", "device", "dtype", "allow_pickle", "video", "overwrite")


def parse_patterns(text: str) -> tuple[str, ...]:
    """ "one,other" as its parts. Raises ValueError where one is empty."""
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise ValueError(text)
    return parts


PATTERNS = Parsed("NAME,...", parse_patterns, 'names or patterns of layers such as "up_blocks.1,mid_block*"')

looking = options.group(
    click.option(
        "--prompt",
        metavar="TEXT",
        help="What the clip shows. [default: the .txt beside CLIP, else CLIP's own comment]",
    ),
    click.option(
        "--word",
        "words",
        multiple=True,
        metavar="WORD",
        help="Only this word or phrase of the prompt; can be repeated. [default: every word that may name something]",
    ),
    click.option(
        "--layers",
        type=PATTERNS,
        help="The text attentions to read, by name, beginning of a name or shell pattern; one that there isn't is "
        "answered with the list. [default: the model's best at finding objects]",
    ),
    click.option(
        "--level",
        "levels",
        type=Number(0, 1),
        multiple=True,
        metavar="SHARE",
        help="How much of the clip is left under the noise that it is read through: 1 is the clip, 0 noise alone; can "
        "be repeated. [default: the four levels at which vxedit-real looks]",
    ),
    click.option(
        "--samples",
        type=click.IntRange(min=1),
        metavar="N",
        default=SAMPLES,
        show_default=True,
        help="Noises a level; more make the maps smoother.",
    ),
    options.seed,
)


@click.command(
    "look",
    options_metavar="[OPTIONS]",
    epilog=EPILOG,
    context_settings=options.CONTEXT,
)
@click.argument("input", type=FILE, metavar="CLIP")
@looking
@options.selection
@options.model
@click.option(
    "-o",
    "--output",
    metavar="FILE|FOLDER",
    help="The picture. [default: CLIP's name with -look.png, in the current folder]",
)
@click.option("--video", is_flag=True, help="Also write the maps as a clip (.mp4) beside the picture.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--json", "json", is_flag=True, help="Print the figures on stdout instead of the picture's path.")
@options.talk
@click.version_option(__version__, prog_name="vxedit")
def command(**params: Any) -> None:
    """Show where the model looks for each word of the prompt in the video CLIP, and how sharply.

    A row a word, frames across, each word on a scale of its own from dark to yellow. "sharp": half of its attention or
    more lies in a tenth of the frame; "diffuse": less than a quarter does, too little to steer an edit by; "usable":
    between.

    \b
    vxedit-look burger.mp4 --prompt "a burger over a wooden table" -o look.png
    """
    verbosity = params["verbose"] - params["quiet"]
    with reporting(verbosity=verbosity), voice(verbosity=verbosity) as speaker:
        perform(job_of(params), speaker, as_json=params["json"], quiet=verbosity < 0)


def job_of(params: dict[str, Any]) -> LookJob:
    """The job that the command line asks for; a seed that isn't given is drawn."""
    from vxedit.look import LookJob

    given = {key: params[key] for key in PLAIN}
    if given["seed"] is None:
        given["seed"] = secrets.randbelow(2**32)
    if params["levels"]:
        given["levels"] = params["levels"]
    return LookJob(
        output=output_for(params["input"], params["output"]),
        words=params["words"],
        layers=params["layers"] or (),
        selection=Selection(params["start"], params["num_frames"], params["fps"], params["size"]),
        loading=Loading(params["revision"], params["lora"], params["lora_scale"], params["offload"]),
        **given,
    )


def output_for(source: Path, given: str | None) -> Path:
    """The picture to write: `given`, or, where that is a folder or ends in a slash, one in it named after `source`."""
    name = f"{source.stem}-look.png"
    if given is None:
        return Path(name)
    is_folder = given.endswith(tuple(filter(None, (os.sep, os.altsep)))) or Path(given).is_dir()
    return Path(given) / name if is_folder else Path(given)


def perform(job: LookJob, speaker: Voice, *, as_json: bool, quiet: bool) -> None:
    """Look; the picture's name, or the figures, go to stdout."""
    from vxedit.look import look

    if not quiet:
        say(f"seed {job.seed}")
    with bars(quiet=quiet) as progress:
        result = look(job, progress=progress)
    for one in () if quiet else result.words:
        say(str(one))
    speaker.warn(result.warnings)
    click.echo(json.dumps(result.record, indent=2, ensure_ascii=False) if as_json else str(result.output))
