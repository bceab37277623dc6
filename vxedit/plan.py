"""Everything about an edit that can be settled before the model's weights are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from vxedit.backbones.memory.plan import MemoryPlan
from vxedit.backbones.protocol import Piece, Size
from vxedit.backbones.registry import Outline
from vxedit.clip import Clip
from vxedit.edit.locate import mask_boxes
from vxedit.edit.objective import parse_weights
from vxedit.edit.path import SampledPath, parse_path
from vxedit.edit.recipes.names import BY_CONTROL, OURS, check_name
from vxedit.edit.words import WordEdit, word_edit
from vxedit.errors import InputError, UsageError
from vxedit.io.atomic import check_output
from vxedit.io.crop import Placement, middle, place
from vxedit.io.frames import OpenClip, open_video
from vxedit.io.letterbox import letterbox
from vxedit.io.pictures import COLUMNS, draw_boxes, sheet, spread
from vxedit.io.probe import probe
from vxedit.io.prompts import Prompt, find_prompt
from vxedit.io.quiet import caught_stderr
from vxedit.io.write import SUFFIXES
from vxedit.job import EditSettings, Extras, GenJob, RealJob, WordSettings
from vxedit.model import cost_lines, memory_of, outline_of
from vxedit.objects import Wanted, check_place, check_words
from vxedit.windows import Window, windows

if TYPE_CHECKING:
    from vxedit.backbones.pace import Work


class Timed(Protocol):
    """Frames that are shown at `times_s` (F,)."""

    @property
    def times_s(self) -> np.ndarray: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Plan:
    """A checked job. `footage`: the frames that will be edited, at the source's size, not held; `placement`: what of
    them the model sees, at its `size`; `windows`: the pieces they are edited in. `objects`: what is known of each;
    `words`: what becomes of the prompt's. `memory`: how the model is to be run; None where too little is known of it.
    `files`: what will be written."""

    job: RealJob
    footage: OpenClip
    placement: Placement
    windows: tuple[Window, ...]
    objects: tuple[Wanted, ...]
    words: WordEdit | None
    prompt: Prompt
    outline: Outline
    size: Size
    pieces: tuple[Piece, ...]
    memory: MemoryPlan | None
    warnings: tuple[str, ...]

    @property
    def files(self) -> dict[str, Path]:
        return output_files(self.job.output, self.job.extras)

    def describe(self) -> list[str]:
        """What will be done, a line a fact."""
        clip, size, placed = self.footage, self.size, self.placement
        lines = [
            f"clip: {len(clip)} frames of {clip.width}x{clip.height} at {float(clip.fps):.6g} fps, {self.job.input}",
            f"model: {self.outline.name}, which sees {size.frames} frames of {size.width}x{size.height}",
            f"prompt: {self.prompt.text!r} ({self.prompt.origin})",
        ]
        if len(self.windows) > 1:
            shared = min(window.shared for window in self.windows[1:])
            lines.append(f"windows: {len(self.windows)} of {len(self.windows[0])} frames, {shared} or more shared")
        if placed.window != (0, 0, *placed.frame):
            x0, y0, x1, y1 = placed.window
            lines.append(f"sees: the {x1 - x0}x{y1 - y0} pixels from ({x0}, {y0}) on ({self.job.selection.fit})")
        lines += [line for one in self.objects for line in describe_object(one, self.prompt.text, self.pieces, clip)]
        if self.words is not None:
            lines.append(f"new prompt: {self.words.target!r}")
        lines += [f"recipe: {self.job.edit.recipe}"] if self.job.edit.recipe != OURS else []
        return lines + cost_lines(self.job, self.memory, self._work(), pieces=len(self.windows))

    def _work(self) -> Work | None:
        from vxedit.backbones.pace import work_of

        how, scale = self.job.invert, self.job.invert.guidance_scale
        facts, layout = self.outline.facts, self.outline.layout
        return work_of(layout, facts, self.size, steps=how.steps, guidance_scale=scale, invert=how)


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
    fail. The plan's footage is open: close it, or use it in a `with`."""
    check_edit(job.edit, job.invert.guidance_scale)
    for one in job.objects:
        check_place(one)
    motions = [parse_path(one.path) for one in job.objects]
    described = outline_of(job)
    described.schedule(job.invert.steps, invertible=True)
    check_model(described, job.edit, job.words, per_frame=job.invert.per_frame)
    info = probe(job.input)
    masks = [one.mask for one in job.objects if one.mask]
    check_outputs(output_files(job.output, job.extras), [job.input, *masks, *(Path(o.path) for o in job.objects)], job)
    prompt = find_prompt(job.input, job.obj, job.prompt, info.comment, others=[one.obj for one in job.others])
    pieces = described.tokens(prompt.text)
    columns = check_words(job.objects, pieces, prompt.text)
    words = plan_words(job.words, described.tokens, prompt.text, columns, recipe=job.edit.recipe)
    chosen = job.selection
    with ExitStack() as undo:
        footage = undo.enter_context(
            open_video(job.input, start_s=chosen.start_s, num_frames=chosen.num_frames, fps=chosen.fps)
        )
        pieces_of_clip = _windows(job, described, len(footage))
        masks_of = [None if one.mask is None else read_masks(one.mask, footage) for one in job.objects]
        wanted = tuple(
            Wanted(one.obj, own, motion, one.box, mask)
            for one, own, motion, mask in zip(job.objects, columns, motions, masks_of, strict=True)
        )
        warnings = ["the clip has one frame: nothing in it can move"] if len(footage) < 2 else []
        if prompt.origin == "made from --obj":
            warnings.append(
                f"no prompt was given or found, so it is {prompt.text!r}; "
                "a sentence about the whole clip (--prompt) edits better"
            )
        warnings += check_paths(wanted, footage)
        placement, size = _place(job, described, footage, wanted, len(pieces_of_clip[0]))
        warnings += _check_placement(placement, wanted, footage)
        planned = Plan(
            job,
            footage,
            placement,
            pieces_of_clip,
            wanted,
            words,
            prompt,
            described,
            size,
            pieces,
            memory_of(job, described, size, steps=job.invert.steps, invert=job.invert),
            tuple(warnings),
        )
        undo.pop_all()  # it stays open
        return planned


def _windows(job: RealJob, described: Outline, frames: int) -> tuple[Window, ...]:
    """The pieces that the clip is edited in. Raises UsageError where the model doesn't take so long ones, or something
    needs the clip in one piece."""
    length, most = job.selection.window, described.max_frames
    if length is not None and length > most:
        raise UsageError(f"--window {length} is more than {job.model} does in one piece: at most {most}")
    if length is None:
        length = most if frames <= most else min(most, described.native.frames)
    found = windows(frames, length)
    if len(found) > 1 and job.extras.gif:
        raise UsageError(
            f"--gif is for a clip that is edited in one piece, and {frames} frames are edited in {len(found)}: "
            "leave it out, or take --side-by-side"
        )
    if len(found) > 1 and job.edit.recipe != OURS:
        raise UsageError(
            f"the recipe {job.edit.recipe} knows nothing of windows, and {frames} frames are more than "
            f"{job.model} does in one piece: take at most {most} of them (--num-frames, --start), or a lower --fps"
        )
    return found


def _place(
    job: RealJob, described: Outline, footage: OpenClip, wanted: Sequence[Wanted], frames: int
) -> tuple[Placement, Size]:
    """What of the frames the model sees, and at what size."""
    frame, chosen = (footage.width, footage.height), job.selection
    picture = None if chosen.keep_letterbox else letterbox(footage.sample())
    x0, y0, x1, y1 = picture or (0, 0, *frame)
    if chosen.size is None:
        size = described.fit(frames, y1 - y0, x1 - x0)
    else:
        width, height = chosen.size
        size = described.check(frames, height, width)
    sources = [known for one in wanted if (known := _source_boxes(one)) is not None]
    paths = [path.boxes for one in wanted if (path := sampled(one, footage)) is not None]
    middles = [middle(np.concatenate(boxes)) for boxes in (sources + paths, sources) if boxes]
    found = [
        place(frame, (size.width, size.height), fit=chosen.fit, picture=picture, centre=centre)
        for centre in middles or [((x0 + x1) / 2 / frame[0], (y0 + y1) / 2 / frame[1])]
    ]
    # round the objects alone where they and their paths are too far apart
    holding = (one for one in found if all(bool(one.covers(boxes).all()) for boxes in sources))
    return next(holding, found[0]), size


def _source_boxes(one: Wanted) -> np.ndarray | None:
    """Where an object is said to be, boxes (n, 4) in shares of the frame; None where its word's attention says it."""
    if one.box is not None:
        return np.array([one.box], float)
    return None if one.masks is None else mask_boxes(one.masks)


def _check_placement(placement: Placement, wanted: Sequence[Wanted], footage: OpenClip) -> list[str]:
    """What is to be said of how the model sees the frames. Raises UsageError where it can't see an object."""
    said = []
    if placement.picture != (0, 0, *placement.frame):
        x0, y0, x1, y1 = placement.picture
        said.append(
            f"black bars round the picture, {x1 - x0}x{y1 - y0} of {footage.width}x{footage.height}, stay as they are: "
            "the model sees the picture alone (--keep-letterbox takes them for picture)"
        )
    if abs(placement.stretch - 1) > 0.02:
        (wide, tall), (model_wide, model_tall) = placement.size, placement.model
        said.append(
            f"the model sees {wide}x{tall} as {model_wide}x{model_tall}, its nearest size: shapes are "
            f"stretched by {100 * (placement.stretch - 1):+.0f} % for it and brought back afterwards "
            "(--fit crop and --fit pad keep them)"
        )
    hidden = placement.taken != placement.picture
    for one in wanted:
        known, path = _source_boxes(one), sampled(one, footage)
        if known is None and hidden:
            said.append(
                f"nothing says yet where {one.obj!r} is, and what --fit crop leaves out of the picture can't be "
                "changed: say it with --box or --mask, or take --fit pad"
            )
        elif known is not None and not bool(placement.covers(known).all()):
            flag = "--box" if one.box is not None else "--mask"
            raise UsageError(
                f"{flag} of {one.obj!r} isn't all in what the model sees of the frame, "
                f"{_corners(placement)}: {_remedy(placement)}"
            )
        if path is not None and not bool(placement.covers(path.boxes).all()):
            said.append(
                f"the path of {one.obj!r} leaves what the model sees of the frame, {_corners(placement)}; nothing can "
                f"be changed outside: {_remedy(placement)}, or take another path"
            )
    return said


def _corners(placement: Placement) -> str:
    """What can be changed, as --box would say it."""
    shares = np.array(placement.taken) / np.tile(placement.frame, 2)
    return "the box " + ",".join(f"{share:.3f}" for share in shares)


def _remedy(placement: Placement) -> str:
    return "take --fit pad" if placement.taken != placement.picture else "take --keep-letterbox"


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


def preview(planned: Plan) -> np.ndarray:
    """A picture (H, W, 3) of the clip and, where they are known before the model is loaded, the paths drawn on it."""
    shown, at, known = planned.footage.sample(COLUMNS), spread(len(planned.footage)), False
    drawn = shown
    for one in planned.objects:
        path = sampled(one, planned.footage)
        if path is not None:
            drawn, known = draw_boxes(drawn, path.boxes, trail=True, at=at), True
    return sheet([("before", shown), *([("path", drawn)] if known else [])])
