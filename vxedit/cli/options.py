"""The options that commands share, in groups, each standing in one place. Defaults are those of the settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, get_args

import click

from vxedit.cli.params import BOX, DEVICE, DTYPE, FILE, FPS, SIZE, Number
from vxedit.edit.recipes.names import NAMES
from vxedit.job import (
    EditSettings,
    Fit,
    GenerateSettings,
    InversionKind,
    InvertSettings,
    Loading,
    Offload,
    Selection,
)

CONTEXT: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "auto_envvar_prefix": "VXEDIT",
    "max_content_width": 100,
}
"""Every command's settings."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def group(*options: Decorator) -> Decorator:
    """Several options as one decorator, shown in help in the order given."""
    return lambda function: reduce(lambda inner, option: option(inner), reversed(options), function)


what = group(
    click.option(
        "--obj",
        metavar="WORD",
        multiple=True,
        help="The word or phrase of the prompt that names the object. Several objects: --obj and --path once each, in "
        "order; a later one is in front of an earlier one.",
    ),
    click.option(
        "--path",
        metavar="PATH",
        multiple=True,
        help='Where the object should be: keyframes "TIME:X,Y[,W[,H]] ..." with the centre and size as shares of the '
        'frame and TIME in frames, per cent or seconds ("0%:0.3,0.6 1.5s:0.5,0.4 100%:0.7,0.6"); a motion ("left", '
        '"to:0.7,0.7", "by:+0.2,0", "scale:1.5", "hold"); or a JSON file of keyframes.',
    ),
)

words = group(
    click.option(
        "--replace",
        metavar="OLD=NEW",
        multiple=True,
        help="Let a word of the prompt become another: the burger becomes a duck. Alone, or together with a path.",
    ),
    click.option("--refine", metavar="TEXT", help='The prompt with words added, such as "a shiny burger over sand".'),
    click.option(
        "--reweight",
        metavar="WORD=FACTOR",
        multiple=True,
        help="How much a word counts: 2 strengthens it, 0 silences it.",
    ),
)

source = group(
    click.option(
        "--prompt",
        metavar="TEXT",
        help="What the clip shows, with the word in it. [default: the .txt beside INPUT, else INPUT's own comment, "
        "else made from the word]",
    ),
    click.option(
        "--box",
        type=BOX,
        multiple=True,
        help="Where the object is in the first frame, as shares of the frame. [default: the model's attention says]",
    ),
    click.option(
        "--mask",
        type=FILE,
        multiple=True,
        metavar="PNG|FOLDER",
        help="The same as a mask, white where the object is: a PNG of the first frame, or a folder of one a frame.",
    ),
)

model = group(
    click.option(
        "--model",
        metavar="ID|FOLDER",
        default="embedded",
        show_default=True,
        show_envvar=True,
        help="The text-to-video model: embedded, a name on the Hugging Face hub, or a folder in diffusers' layout.",
    ),
    click.option("--device", type=DEVICE, default="auto", show_default=True, help="Where the model runs."),
    click.option(
        "--dtype",
        type=DTYPE,
        default="auto",
        show_default=True,
        help="Precision of the network.",
    ),
    click.option("--revision", metavar="REF", help="A branch, tag or commit of a hub's model. [default: the newest]"),
    click.option(
        "--lora",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="A LoRA to merge into the model's weights, as diffusers, peft, kohya's scripts or "
        "Text-To-Video-Finetuning save it; may be given several times.",
    ),
    click.option(
        "--lora-scale",
        type=Number(0, 4),
        metavar="FACTOR",
        default=Loading.lora_scale,
        show_default=True,
        help="How much of the LoRA is added.",
    ),
    click.option(
        "--offload",
        type=click.Choice(get_args(Offload)),
        default=Loading.offload,
        show_default=True,
        help="Weights that are kept off the device while they aren't in use: none, those of whole parts, or all but "
        "one stage's; auto: as the device's memory asks for.",
    ),
    click.option(
        "--allow-pickle",
        is_flag=True,
        help="Also read weights that are pickles (.bin), which can run code: only if you trust them.",
    ),
)

strength = group(
    click.option(
        "--strength",
        type=Number(0, 1),
        metavar="SHARE",
        default=EditSettings.strength,
        show_default=True,
        help="The one dial: how long and how hard the path is enforced; 0 changes nothing.",
    ),
    click.option(
        "--recipe",
        metavar="NAME",
        default=EditSettings.recipe,
        show_default=True,
        help=f"vxedit's own way, or a published one with its own constants: {', '.join(NAMES[1:])}.",
    ),
    click.option(
        "--energy",
        metavar="NAME=WEIGHT",
        multiple=True,
        help="A term of the guidance's energy and its weight, such as centroid=0.5. [default: box=1, and leak=1 "
        "between several objects]",
    ),
)

seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    help="Seed of what is drawn at random. [default: drawn, shown and saved]",
)


def sampling(defaults: InvertSettings | GenerateSettings, *, steps: str, scale: str) -> Decorator:
    """How many steps, and how much the prompt counts in them; `steps` and `scale` end the help's lines."""
    return group(
        click.option(
            "--steps",
            type=click.IntRange(min=1),
            metavar="N",
            default=defaults.steps,
            show_default="the model's own" if defaults.steps is None else True,
            help=f"Denoising steps{steps}.",
        ),
        click.option(
            "--guidance-scale",
            type=Number(1, 20),
            metavar="W",
            default=defaults.guidance_scale,
            show_default="the model's own" if defaults.guidance_scale is None else True,
            help=f"Weight of the prompt against {scale}; 1 is the prompt alone.",
        ),
    )


effort = group(
    sampling(InvertSettings(), steps="; inversion takes as many", scale="the null prompt"),
    click.option(
        "--inversion",
        type=click.Choice(get_args(InversionKind)),
        default=InvertSettings.kind,
        show_default=True,
        help="How the clip is turned into noise: null-text (closest replay), uni (faster) or ddim (plain).",
    ),
)

generate = group(
    sampling(GenerateSettings(), steps="", scale="no prompt"),
    click.option(
        "--eta",
        type=Number(0, 1),
        metavar="E",
        help="How much of its noise each step draws anew: 0 none (DDIM), 1 as much as DDPM. [default: the model's own]",
    ),
    click.option(
        "--steady",
        multiple=True,
        metavar="WORD",
        help="Keep this word's object on one way through the clip while it is generated; may be given several times. "
        "[default: what --obj names, where the model needs it]",
    ),
    click.option("--no-steady", is_flag=True, help="Keep none."),
    click.option("--num-frames", type=click.IntRange(min=1), metavar="N", help="Frames. [default: the model's own]"),
    click.option("--size", type=SIZE, help="Width and height in pixels. [default: the model's own]"),
    click.option("--fps", type=FPS, help="Frames a second of the clip that is written. [default: 8]"),
)

fitting = group(
    click.option(
        "--fit",
        type=click.Choice(get_args(Fit)),
        default=Selection.fit,
        show_default=True,
        help="How a picture of another aspect is shown to the model: out of shape, cropped round the object (the rest "
        "of the frame stays as it was), or with its border repeated outwards.",
    ),
    click.option(
        "--keep-letterbox", is_flag=True, help="Take black bars round the picture for picture, and show them the model."
    ),
    click.option(
        "--window",
        type=click.IntRange(min=2),
        metavar="N",
        help="Frames that are edited in one piece; longer clips are edited in windows that share frames. [default: as "
        "many as the model takes; its own length where INPUT is longer]",
    ),
)

selection = group(
    click.option(
        "--start",
        type=Number(min=0),
        default=0.0,
        metavar="SECONDS",
        show_default=True,
        help="Where in INPUT to begin, in seconds.",
    ),
    click.option(
        "--num-frames",
        type=click.IntRange(min=1),
        metavar="N",
        help="At most this many frames. [default: as many as there are]",
    ),
    click.option(
        "--fps", type=FPS, help='Frames a second to edit at, such as "24" or "30000/1001". [default: INPUT\'s]'
    ),
    click.option(
        "--size",
        type=SIZE,
        help="Width and height in pixels at which the model works; the result has INPUT's "
        "size. [default: the model's area in INPUT's aspect]",
    ),
)

output = click.option(
    "-o",
    "--output",
    metavar="FILE|FOLDER",
    help="The edited clip; its record (.json) and picture (.png) go beside it. [default: INPUT's name with "
    "-edit.mp4, in the current folder]",
)

side_by_side = click.option("--side-by-side", is_flag=True, help="Also write before, path and after side by side.")

files = group(
    click.option("--gif", is_flag=True, help="Also write before, path and after side by side as a GIF."),
    click.option("--attention", is_flag=True, help="Also write the object's attention as a clip."),
    click.option("--overwrite", is_flag=True, help="Replace files that exist."),
)

talk = group(
    click.option("-v", "--verbose", count=True, help="Say more; -vv adds debugging and tracebacks."),
    click.option("-q", "--quiet", count=True, help="No progress bars and no warnings."),
)
