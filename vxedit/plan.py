"""Everything about an edit that can be settled before the model's weights are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vxedit.backbones.protocol import Piece, Size
from vxedit.backbones.registry import Outline, outline
from vxedit.clip import Clip
from vxedit.edit.objective import parse_weights
from vxedit.edit.path import SampledPath, parse_path
from vxedit.edit.recipes.names import BY_CONTROL, OURS, check_name
from vxedit.edit.words import WordEdit, word_edit
from vxedit.errors import InputError, UsageError
from vxedit.io.atomic import check_output
from vxedit.io.pictures import draw_boxes, sheet
from vxedit.io.probe import probe
from vxedit.io.prompts import Prompt, find_prompt
from vxedit.io.quiet import caught_stderr
from vxedit.io.read import read_video
from vxedit.io.write import SUFFIXES
from vxedit.job import EditSettings, Extras, GenJob, RealJob, WordSettings
from vxedit.make import Brief
from vxedit.objects import Wanted, check_place, check_words


@dataclass(frozen=True)
class Plan:
    """A checked job. `clip`: the frames that will be edited, at the source's size. `size`: what the model sees.
    `objects`: what is known of each; `words`: what becomes of the prompt's. `files`: what will be written."""

    job: RealJob
    clip: Clip
    objects: tuple[Wanted, ...]
    words: WordEdit | None
    prompt: Prompt
    outline: Outline
    size: Size
    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...]

    @property
    def files(self) -> dict[str, Path]:
        return output_files(self.job.output, self.job.extras)

    @property
    def brief(self) -> Brief:
        """What the editor is told."""
        return Brief(self.clip, self.objects, self.job.edit, self.words)

    def describe(self) -> list[str]:
        """What will be done, a line a fact."""
        clip, size = self.clip, self.size
        lines = [
            f"clip: {len(clip)} frames of {clip.width}x{clip.height} at {float(clip.fps):.6g} fps, {self.job.input}",
            f"model: {self.outline.name}, which sees {size.frames} frames of {size.width}x{size.height}",
            f"prompt: {self.prompt.text!r} ({self.prompt.origin})",
        ]
        lines += [line for one in self.objects for line in describe_object(one, self.prompt.text, self.pieces, clip)]
        if self.words is not None:
            lines.append(f"new prompt: {self.words.target!r}")
        return lines + ([f"recipe: {self.job.edit.recipe}"] if self.job.edit.recipe != OURS else [])


def sampled(one: Wanted, clip: Clip) -> SampledPath | None:
    """An object's boxes, where they can be known without the model: the path says them all, or a box says where
    from."""
    start = None if one.box is None else np.tile(np.array(one.box, float), (len(clip), 1))
    if one.motion.needs_start and start is None:
        return None
    return one.motion.sample(clip.times_s, start_boxes=start)


def describe_object(one: Wanted, prompt: str, pieces: Sequence[Piece], clip: Clip) -> list[str]:
    """Which tokens name the object and where it should go."""
    words = " ".join(prompt[p.start : p.end] for p in pieces if p.column in one.columns)
    word = f"word: {one.obj!r} is {len(one.columns)} token(s): {words}"
    path = sampled(one, clip)
    if path is None:
        return [word, "path: starts from where the object is, which the model's attention will say"]
    first, last = (", ".join(f"{v:.3f}" for v in box) for box in (path.boxes[0], path.boxes[-1]))
    return [word, f"path: box {first} in the first frame, {last} in the last"]


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


def plan(job: RealJob) -> Plan:
    """Check a job without loading any weights. Raises VxeditError, with the remedy, for whatever can be known now to
    fail."""
    check_edit(job.edit, job.invert.guidance_scale)
    for one in job.objects:
        check_place(one)
    motions = [parse_path(one.path) for one in job.objects]
    described = outline(job.model, allow_pickle=job.allow_pickle)
    described.schedule(job.invert.steps, invertible=True)
    check_model(described, job.edit, job.words, per_frame=job.invert.per_frame)
    info = probe(job.input)
    masks = [one.mask for one in job.objects if one.mask]
    check_outputs(output_files(job.output, job.extras), [job.input, *masks, *(Path(o.path) for o in job.objects)], job)
    prompt = find_prompt(job.input, job.obj, job.prompt, info.comment, others=[one.obj for one in job.others])
    pieces = described.tokens(prompt.text)
    columns = check_words(job.objects, pieces, prompt.text)
    words = plan_words(job.words, described.tokens, prompt.text, columns, recipe=job.edit.recipe)
    clip, warnings = _read(job, described.max_frames)
    size = _size(job, described, clip)
    wanted = tuple(
        Wanted(one.obj, own, motion, one.box, None if one.mask is None else read_masks(one.mask, clip))
        for one, own, motion in zip(job.objects, columns, motions, strict=True)
    )
    if prompt.origin == "made from --obj":
        warnings.append(
            f"no prompt was given or found, so it is {prompt.text!r}; "
            "a sentence about the whole clip (--prompt) edits better"
        )
    warnings += check_paths(wanted, clip)
    wide, tall = size.width / clip.width, size.height / clip.height
    if abs(wide / tall - 1) > 0.02:
        warnings.append(
            f"the model sees {clip.width}x{clip.height} as {size.width}x{size.height}, its nearest size: shapes are "
            f"stretched by {100 * (wide / tall - 1):+.0f} % for it and brought back afterwards"
        )
    return Plan(job, clip, wanted, words, prompt, described, size, pieces, tuple(warnings))


def check_paths(wanted: Sequence[Wanted], clip: Clip) -> list[str]:
    """What is to be said of the objects' paths over this clip. Raises UsageError where one doesn't fit it."""
    said: list[str] = []
    for one in wanted:
        path = sampled(one, clip)
        if path is None:
            # where the object is isn't known yet, but whether the path's times fit the clip is
            one.motion.sample(clip.times_s, start_boxes=np.tile([0.25, 0.25, 0.75, 0.75], (len(clip), 1)))
        said += path.warnings if path else ()
    return said


def check_edit(settings: EditSettings, guidance_scale: float) -> None:
    """Raises UsageError for a number out of range, an unknown recipe, or an energy that there isn't."""
    if not 0 <= settings.strength <= 1:
        raise UsageError(f"--strength {settings.strength} is out of range: give 0 (no change) to 1")
    if not np.isfinite(guidance_scale) or not 1 <= guidance_scale <= 20:
        raise UsageError(f"--guidance-scale {guidance_scale} is out of range: give 1 to 20")
    check_name(settings.recipe)
    if settings.energies:
        parse_weights([f"{name}={weight}" for name, weight in settings.energies])
        if settings.recipe != OURS:
            raise UsageError(f"--energy changes vxedit's own recipe, not {settings.recipe}: leave one of them out")


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


def _read(job: RealJob, most: int) -> tuple[Clip, list[str]]:
    chosen = job.selection
    if chosen.num_frames is not None and chosen.num_frames > most:
        raise UsageError(f"--num-frames {chosen.num_frames} is more than {job.model} does in one piece: at most {most}")
    limit = most if chosen.num_frames is None else chosen.num_frames
    # one frame more than can be used tells whether the clip goes on
    clip = read_video(job.input, start_s=chosen.start_s, num_frames=limit + (chosen.num_frames is None), fps=chosen.fps)
    warnings = []
    if len(clip) > limit:
        seconds = limit / float(clip.fps)
        warnings.append(
            f"only {limit} frames ({seconds:.2f} s) are edited and written, the most {job.model} does in one piece; "
            "choose which with --start and --num-frames, or a lower --fps"
        )
        clip = _first(clip, limit)
    if len(clip) < 2:
        warnings.append("the clip has one frame: nothing in it can move")
    return clip, warnings


def _first(clip: Clip, count: int) -> Clip:
    source = clip.source and replace(clip.source, indices=clip.source.indices[:count])
    return Clip(clip.frames[:count], clip.times_s[:count], clip.fps, source)


def _size(job: RealJob, described: Outline, clip: Clip) -> Size:
    if job.selection.size is None:
        return described.fit(len(clip), clip.height, clip.width)
    width, height = job.selection.size
    return described.check(len(clip), height, width)


def read_masks(path: Path, clip: Clip) -> np.ndarray:
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


def preview(planned: Plan) -> np.ndarray:
    """A picture (H, W, 3) of the clip and, where they are known before the model is loaded, the paths drawn on it."""
    drawn, known = planned.clip.frames, False
    for one in planned.objects:
        path = sampled(one, planned.clip)
        if path is not None:
            drawn, known = draw_boxes(drawn, path.boxes, trail=True), True
    return sheet([("before", planned.clip.frames), *([("path", drawn)] if known else [])])
