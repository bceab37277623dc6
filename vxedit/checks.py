"""What is asked for, checked on its own: numbers, names, paths, words, files and masks, before any weights are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from vxedit.backbones.family import Facts
from vxedit.backbones.protocol import Piece
from vxedit.backbones.registry import Outline
from vxedit.clip import Clip
from vxedit.edit.objective import parse_weights
from vxedit.edit.path import SampledPath
from vxedit.edit.recipes.names import BY_CONTROL, OURS, check_name
from vxedit.edit.words import WordEdit, word_edit
from vxedit.errors import InputError, UsageError
from vxedit.io.atomic import check_output
from vxedit.io.frames import OpenClip
from vxedit.io.quiet import caught_stderr
from vxedit.io.write import SUFFIXES
from vxedit.job import EditSettings, Extras, GenJob, RealJob, WordSettings
from vxedit.objects import Wanted


class Timed(Protocol):
    """Frames that are shown at `times_s` (F,)."""

    @property
    def times_s(self) -> np.ndarray: ...

    def __len__(self) -> int: ...


def sampled(one: Wanted, clip: Timed) -> SampledPath | None:
    """An object's boxes, where they can be known without the model: the path says them all, or a box says where
    from."""
    start = None if one.box is None else np.tile(np.array(one.box, float), (len(clip), 1))
    if one.motion.needs_start and start is None:
        return None
    return one.motion.sample(clip.times_s, start_boxes=start)


def describe_object(one: Wanted, prompt: str, pieces: Sequence[Piece], clip: Timed) -> list[str]:
    """Which tokens name the object and where it should go."""
    words = " ".join(prompt[p.start : p.end] for p in pieces if p.column in one.columns)
    word = f"word: {one.obj!r} is {len(one.columns)} token(s): {words}"
    path = sampled(one, clip)
    if path is None:
        return [word, "path: starts from where the object is, which the model's attention will say"]
    first, last = (", ".join(f"{v:.3f}" for v in box) for box in (path.boxes[0], path.boxes[-1]))
    return [word, f"path: box {first} in the first frame, {last} in the last"]


def check_paths(wanted: Sequence[Wanted], clip: Timed) -> list[str]:
    """What is to be said of the objects' paths over this clip. Raises UsageError where one doesn't fit it."""
    said: list[str] = []
    for one in wanted:
        path = sampled(one, clip)
        if path is None:
            # where the object is isn't known yet, but whether the path's times fit the clip is
            one.motion.sample(clip.times_s, start_boxes=np.tile([0.25, 0.25, 0.75, 0.75], (len(clip), 1)))
        said += path.warnings if path else ()
    return said


def check_edit(settings: EditSettings, guidance_scale: float | None) -> None:
    """Raises UsageError for a number out of range, an unknown recipe, or an energy that there isn't. A scale of None is
    the model's own."""
    if not 0 <= settings.strength <= 1:
        raise UsageError(f"--strength {settings.strength} is out of range: give 0 (no change) to 1")
    if guidance_scale is not None and not 1 <= guidance_scale <= 20:
        raise UsageError(f"--guidance-scale {guidance_scale} is out of range: give 1 to 20")
    check_name(settings.recipe)
    if settings.energies:
        parse_weights([f"{name}={weight}" for name, weight in settings.energies])
        if settings.recipe != OURS:
            raise UsageError(f"--energy changes vxedit's own recipe, not {settings.recipe}: leave one of them out")


@dataclass(frozen=True)
class Sampling:
    """How a clip is generated, as GenerateSettings, each number asked for or the model's own."""

    steps: int
    guidance_scale: float
    eta: float
    steady: tuple[str, ...]


def sampling(job: GenJob, facts: Facts) -> Sampling:
    """What a job's settings come to with a model that can do `facts`. Raises UsageError for an eta out of range."""
    how = job.generate
    if how.eta is not None and not 0 <= how.eta <= 1:
        raise UsageError(f"--eta {how.eta} is out of range: give 0 (no fresh noise) to 1")
    return Sampling(
        facts.steps if how.steps is None else how.steps,
        facts.guidance_scale if how.guidance_scale is None else how.guidance_scale,
        facts.eta if how.eta is None else how.eta,
        tuple(one.obj for one in job.objects if facts.steady) if how.steady is None else how.steady,
    )


def check_model(described: Outline, settings: EditSettings, words: WordSettings, *, per_frame: bool = False) -> None:
    """Raises UsageError where what is asked for is more than models of this family offer."""
    facts, family = described.facts, described.layout.family.title
    if per_frame and not facts.per_frame:
        raise UsageError(f"--per-frame needs a model with a text for every frame, and {family} has one: leave it out")
    if facts.controls or not (words or settings.recipe in BY_CONTROL):
        return
    asked = f"the recipe {settings.recipe}" if settings.recipe in BY_CONTROL else "word edits"
    raise UsageError(
        f"{asked} replace what attention gives, which vxedit can't do in {family} yet: move the object by its path "
        "with vxedit's own recipe, or take a model such as embedded, modelscope or zeroscope"
    )


def plan_words(
    settings: WordSettings,
    tokens: Callable[[str], tuple[Piece, ...]],
    prompt: str,
    objects: Sequence[tuple[int, ...]],
    *,
    recipe: str,
) -> WordEdit | None:
    """What becomes of the prompt's words, checked; None where nothing does. `objects`: each one's columns."""
    if not settings:
        return None
    if recipe != OURS:
        raise UsageError(f"words are edited by vxedit's own recipe, not by {recipe}: leave one of them out")
    edit = word_edit(
        tokens, prompt, replace=dict(settings.replace), refine=settings.refine, weights=dict(settings.weights)
    )
    for columns in objects:
        if not edit.carried(columns):
            raise UsageError(f"the new prompt {edit.target!r} leaves the object out and puts nothing in its place")
    return edit


def output_files(output: Path, extras: Extras) -> dict[str, Path]:
    """What a job writes, by kind, all beside its output."""
    folder, stem = output.parent, output.stem
    named = {"video": output, "record": folder / f"{stem}.json", "picture": folder / f"{stem}.png"}
    if extras.side_by_side:
        named["side_by_side"] = folder / f"{stem}-side-by-side.mp4"
    if extras.gif:
        named["gif"] = folder / f"{stem}.gif"
    if extras.attention:
        named["attention"] = folder / f"{stem}-attention.mp4"
    return named


def check_outputs(files: Mapping[str, Path], read: Sequence[Path | None], job: RealJob | GenJob) -> None:
    """Raises UsageError or OutputError where a file can't be written, or would be written over one that is read."""
    output = files["video"]
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--output {output} ends in {output.suffix or 'no suffix'}: name it {output.stem}.mp4 "
            f"({', '.join(SUFFIXES)} can be written)"
        )
    sources = [source for source in read if source is not None and _is_file(source)]
    for kind, file in files.items():
        for source in sources:
            if _is_file(file) and file.samefile(source):
                raise UsageError(f"the {kind} would be written over {source}, which is read: name another --output")
        check_output(file, overwrite=job.overwrite)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # an inline path may be too long for a file's name
        return False


def read_masks(path: Path, clip: Clip | OpenClip) -> np.ndarray:
    """Masks bool (1 or F, H, W) of the clip's size: a PNG marks the first frame, a folder of PNGs in order every frame.

    White, or any value over half, is the object. Raises InputError where they can't be read or don't fit the clip.
    """
    files = sorted(path.glob("*.png")) if path.is_dir() else [path]
    if not path.exists():
        raise InputError(f"no mask at {path}: give a PNG of the first frame, or a folder with one a frame")
    if len(files) not in (1, len(clip)):
        raise InputError(
            f"{path} holds {len(files)} PNG masks for {len(clip)} frames: give one for the first frame, or one a frame"
        )
    masks = []
    for file in files:
        with caught_stderr():  # OpenCV prints its own complaint
            picture = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise InputError(f"{file} can't be read as a picture: give a PNG that is white where the object is")
        if picture.shape != (clip.height, clip.width):
            tall, wide = picture.shape
            raise InputError(
                f"{file} is {wide}x{tall}, the clip {clip.width}x{clip.height}: make the mask of the clip's size"
            )
        masks.append(picture > 127)
    if not masks[0].any():
        raise InputError(f"{files[0]} marks nothing: paint the object white in the first frame")
    return np.stack(masks)
