"""Everything about an edit that can be settled before the model's weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vxedit.backbones.protocol import Piece, Size
from vxedit.backbones.registry import Outline, outline
from vxedit.backbones.tokens import columns
from vxedit.clip import Clip
from vxedit.edit.path import Path as Motion
from vxedit.edit.path import SampledPath, parse_path
from vxedit.errors import InputError, UsageError
from vxedit.io.atomic import check_output
from vxedit.io.pictures import draw_boxes, sheet
from vxedit.io.probe import probe
from vxedit.io.prompts import Prompt, find_prompt
from vxedit.io.quiet import caught_stderr
from vxedit.io.read import read_video
from vxedit.io.write import SUFFIXES
from vxedit.job import RealJob


@dataclass(frozen=True)
class Plan:
    """A checked job. `clip`: the frames that will be edited, at the source's size. `size`: what the model sees.
    `columns`, `pieces`: the word's tokens. `masks` bool (1 or F, H, W) if the job gives any. `files`: what will be
    written."""

    job: RealJob
    clip: Clip
    motion: Motion
    prompt: Prompt
    outline: Outline
    size: Size
    columns: tuple[int, ...]
    pieces: tuple[Piece, ...]
    masks: np.ndarray | None
    warnings: tuple[str, ...]

    @property
    def files(self) -> dict[str, Path]:
        return output_files(self.job)

    def sampled(self) -> SampledPath | None:
        """The path's boxes, where they can be known without the model: the path says them all, or --box says where
        from."""
        start = None if self.job.box is None else np.tile(np.array(self.job.box, float), (len(self.clip), 1))
        if self.motion.needs_start and start is None:
            return None
        return self.motion.sample(self.clip.times_s, start_boxes=start)

    def describe(self) -> list[str]:
        """What will be done, a line a fact."""
        clip, size = self.clip, self.size
        words = " ".join(self.prompt.text[p.start : p.end] for p in self.pieces if p.column in self.columns)
        lines = [
            f"clip: {len(clip)} frames of {clip.width}x{clip.height} at {float(clip.fps):.6g} fps, {self.job.input}",
            f"model: {self.outline.name}, which sees {size.frames} frames of {size.width}x{size.height}",
            f"prompt: {self.prompt.text!r} ({self.prompt.origin})",
            f"word: {self.job.obj!r} is {len(self.columns)} token(s): {words}",
        ]
        path = self.sampled()
        if path is None:
            lines.append("path: starts from where the object is, which the model's attention will say")
        else:
            first, last = (", ".join(f"{v:.3f}" for v in box) for box in (path.boxes[0], path.boxes[-1]))
            lines.append(f"path: box {first} in the first frame, {last} in the last")
        return lines


def output_files(job: RealJob) -> dict[str, Path]:
    """What the job writes, by kind, all beside its output."""
    folder, stem = job.output.parent, job.output.stem
    named = {"video": job.output, "record": folder / f"{stem}.json", "picture": folder / f"{stem}.png"}
    if job.extras.side_by_side:
        named["side_by_side"] = folder / f"{stem}-side-by-side.mp4"
    if job.extras.gif:
        named["gif"] = folder / f"{stem}.gif"
    if job.extras.attention:
        named["attention"] = folder / f"{stem}-attention.mp4"
    return named


def plan(job: RealJob) -> Plan:
    """Check a job without loading any weights. Raises VxeditError, with the remedy, for whatever can be known now to
    fail."""
    _check_numbers(job)
    motion = parse_path(job.path)
    described = outline(job.model, allow_pickle=job.allow_pickle)
    described.schedule(job.invert.steps)
    info = probe(job.input)
    _check_outputs(job)
    prompt = find_prompt(job.input, job.obj, job.prompt, info.comment)
    pieces = described.tokens(prompt.text)
    word = columns(pieces, prompt.text, job.obj)
    clip, warnings = _read(job, described.max_frames)
    size = _size(job, described, clip)
    masks = None if job.mask is None else read_masks(job.mask, clip)
    planned = Plan(job, clip, motion, prompt, described, size, word, pieces, masks, ())
    if prompt.origin == "made from --obj":
        warnings.append(
            f"no prompt was given or found, so it is {prompt.text!r}; "
            "a sentence about the whole clip (--prompt) edits better"
        )
    path = planned.sampled()
    if path is None:
        # where the object is isn't known yet, but whether the path's times fit the clip is
        motion.sample(clip.times_s, start_boxes=np.tile([0.25, 0.25, 0.75, 0.75], (len(clip), 1)))
    warnings += path.warnings if path else ()
    wide, tall = size.width / clip.width, size.height / clip.height
    if abs(wide / tall - 1) > 0.02:
        warnings.append(
            f"the model sees {clip.width}x{clip.height} as {size.width}x{size.height}, its nearest size: shapes are "
            f"stretched by {100 * (wide / tall - 1):+.0f} % for it and brought back afterwards"
        )
    return Plan(job, clip, motion, prompt, described, size, word, pieces, masks, tuple(warnings))


def _check_numbers(job: RealJob) -> None:
    if not 0 <= job.edit.strength <= 1:
        raise UsageError(f"--strength {job.edit.strength} is out of range: give 0 (no change) to 1")
    if not np.isfinite(job.invert.guidance_scale) or not 1 <= job.invert.guidance_scale <= 20:
        raise UsageError(f"--guidance-scale {job.invert.guidance_scale} is out of range: give 1 to 20")
    if job.box is not None and job.mask is not None:
        raise UsageError("--box and --mask both say where the object is: give one of them")
    if job.box is not None:
        x0, y0, x1, y1 = job.box
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            raise UsageError(
                f"--box {x0},{y0},{x1},{y1} is no box: give shares of the frame, 0 <= x0 < x1 <= 1, y alike"
            )


def _check_outputs(job: RealJob) -> None:
    if job.output.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--output {job.output} ends in {job.output.suffix or 'no suffix'}: name it {job.output.stem}.mp4 "
            f"({', '.join(SUFFIXES)} can be written)"
        )
    sources = [source for source in (job.input, Path(job.path), job.mask) if source is not None and _is_file(source)]
    for kind, file in output_files(job).items():
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
    """A picture (H, W, 3) of the clip and, where it is known before the model is loaded, the path drawn on it."""
    path = planned.sampled()
    rows = [("before", planned.clip.frames)]
    if path is not None:
        rows.append(("path", draw_boxes(planned.clip.frames, path.boxes, trail=True)))
    return sheet(rows)
