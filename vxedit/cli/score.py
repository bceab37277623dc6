"""`vxedit score`, also `vxedit-score`: measures what a result achieved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click

from vxedit import __version__
from vxedit.cli import options
from vxedit.cli.params import DEVICE, FILE
from vxedit.cli.progress import bars
from vxedit.cli.report import reporting, say, voice
from vxedit.score.job import OWL, DetectorKind, ProtocolName, ScoreJob, SetOrder

EPILOG = (
    "Prints a table on stdout and everything else on stderr. Exit code 0: done, 1: failed, 2: asked for something that "
    "can't be. Every option can also be set as VXEDIT_OPTION, such as VXEDIT_OWL."
)

judges = options.group(
    click.option(
        "--detector",
        type=click.Choice(get_args(DetectorKind)),
        default="auto",
        show_default=True,
        help="What finds the object: template (the renderer's own drawings), owl (OWL-ViT, any word), or auto: "
        "template for what the embedded model draws, else owl.",
    ),
    click.option(
        "--owl",
        metavar="ID|FOLDER",
        default=OWL,
        show_default=True,
        help="The OWL-ViT or OWLv2 to use, from the hub's cache or a folder.",
    ),
    click.option(
        "--clip",
        metavar="ID|FOLDER",
        help="Also CLIP's similarity of prompt and frames and of neighbouring frames, with this CLIP.",
    ),
    click.option("--lpips", is_flag=True, help="Also LPIPS of the background; needs vxedit[metrics]."),
    click.option("--device", type=DEVICE, default="auto", show_default=True, help="Where the judges run."),
    click.option(
        "--allow-pickle",
        is_flag=True,
        help="Also read judges' weights that are pickles (.bin), which can run code: only if you trust them.",
    ),
)

truth = options.group(
    click.option(
        "--boxes",
        type=FILE,
        metavar="JSON",
        help='Where the object should be: {"boxes": [[x0, y0, x1, y1], ...]} in shares of the frame, one a frame, or a '
        "path's keyframes. [default: the record beside each clip]",
    ),
    click.option("--obj", metavar="WORD", help="What to look for. [default: the record's word]"),
    click.option("--prompt", metavar="TEXT", help="What CLIP compares frames with. [default: the record's]"),
    click.option(
        "--set",
        "prompt_set",
        type=FILE,
        metavar="JSON",
        help="A public set of prompts with boxes, such as Peekaboo's imc_inputs.json; a clip's name says which entry.",
    ),
    click.option(
        "--set-order",
        type=click.Choice(get_args(SetOrder)),
        default="auto",
        show_default=True,
        help="How the set's boxes name their ends.",
    ),
    click.option(
        "--source",
        type=FILE,
        metavar="FILE|FOLDER",
        help="The unedited clip, or a folder of them. [default: where the record says]",
    ),
    click.option("--no-source", is_flag=True, help="Measure nothing against the unedited clip."),
)


@click.command(
    "score",
    options_metavar="[OPTIONS]",
    epilog=EPILOG,
    context_settings=options.CONTEXT,
)
@click.argument("targets", type=FILE, metavar="TARGET...", nargs=-1, required=True)
@truth
@judges
@click.option(
    "--protocol",
    type=click.Choice([*get_args(ProtocolName), "all"]),
    default="ours",
    show_default=True,
    help="Whose measures the table shows; Peekaboo's and TrailBlazer's as published in code and as repaired.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE|-",
    help="Also write everything that was measured as JSON; - prints it in the table's place.",
)
@click.option("--overwrite", is_flag=True, help="Replace the JSON file if it exists.")
@options.talk
@click.version_option(__version__, prog_name="vxedit")
def command(**params: Any) -> None:
    """Measure what an edit achieved. TARGET is a result with its record beside it, a folder of results, or any clip
    with --boxes and --obj.

    \b
    vxedit-score burger-edit.mp4
    """
    verbosity = params["verbose"] - params["quiet"]
    with reporting(verbosity=verbosity), voice(verbosity=verbosity):
        run(params, quiet=verbosity < 0)


def job_of(params: dict[str, Any]) -> ScoreJob:
    """The job that the command line asks for."""
    same = (
        "targets",
        "boxes",
        "obj",
        "prompt",
        "prompt_set",
        "set_order",
        "source",
        "detector",
        "owl",
        "clip",
        "lpips",
    )
    return ScoreJob(
        **{name: params[name] for name in same},
        use_source=not params["no_source"],
        device=params["device"],
        allow_pickle=params["allow_pickle"],
    )


def run(params: dict[str, Any], *, quiet: bool) -> None:
    """Score, and print; a file that can't be written is found out before the work."""
    from vxedit.io.atomic import check_output, write_bytes
    from vxedit.io.record import plain
    from vxedit.score.files import score
    from vxedit.score.tables import tables, to_json, to_text

    file = None if params["json_file"] in (None, "-") else Path(params["json_file"])
    if file is not None:
        check_output(file, overwrite=params["overwrite"])
    with bars(quiet=quiet) as progress:
        scores = score(job_of(params), progress=progress)
    for _, reason in () if quiet else scores.skipped:
        say(f"vxedit: skipped: {reason}")
    text = ""
    if params["json_file"] is not None:
        text = json.dumps(plain(to_json(scores)), indent=2, ensure_ascii=False, allow_nan=False)
    if file is not None:
        write_bytes(file, (text + "\n").encode(), overwrite=params["overwrite"])
    chosen = get_args(ProtocolName) if params["protocol"] == "all" else (params["protocol"],)
    click.echo(text if params["json_file"] == "-" else to_text(tables(scores, chosen)))
