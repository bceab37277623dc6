"""A generated clip and its edited twin, from a prompt and a seed to files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vxedit.backbones.memory.plan import MemoryPlan
from vxedit.backbones.protocol import Backbone, Piece, Size
from vxedit.backbones.registry import Outline
from vxedit.backbones.tokens import columns as word_columns
from vxedit.checks import (
    Sampling,
    check_edit,
    check_model,
    check_outputs,
    check_paths,
    describe_object,
    output_files,
    plan_words,
    sampling,
)
from vxedit.clip import Clip
from vxedit.edit.generate import generate
from vxedit.edit.path import parse_path
from vxedit.edit.recipes.names import OURS
from vxedit.edit.words import WordEdit
from vxedit.errors import InputError, ModelError, UsageError, VxeditError
from vxedit.io.atomic import replacing_together
from vxedit.io.pictures import sheet, write_png
from vxedit.io.prompts import EDITED
from vxedit.io.record import read_record, write_record
from vxedit.io.write import write_video
from vxedit.job import GenJob, Progress
from vxedit.job_json import gen_job_from_json
from vxedit.make import Brief, Clock, edit_frames, stage
from vxedit.model import cost_lines, memory_of, outline_of, within_memory
from vxedit.objects import Wanted, check_place, check_words
from vxedit.reel import Held
from vxedit.results import Result, clip_part, cost, edit_part, head, write_files
from vxedit.stand_in import becoming
from vxedit.story import told
from vxedit.views import Views

if TYPE_CHECKING:
    from vxedit.backbones.pace import Work

FPS = Fraction(8)


@dataclass(frozen=True)
class GenPlan:
    """A checked job. `size`: what will be generated; `steady`: the columns of each word whose object is kept on its
    way. `known`: the sha256 of the original's pixels, where its record says it. `model`: that record's model identity.
    `memory`: how the model is to be run; None where too little is known of it."""

    job: GenJob
    steady: tuple[tuple[int, ...], ...]
    size: Size
    fps: Fraction
    objects: tuple[Wanted, ...]
    words: WordEdit | None
    outline: Outline
    pieces: tuple[Piece, ...]
    known: str | None
    model: str | None
    memory: MemoryPlan | None
    warnings: tuple[str, ...]

    @property
    def sampling(self) -> Sampling:
        """How the clip is generated."""
        return sampling(self.job, self.outline.facts)

    @property
    def edits(self) -> bool:
        """Whether there is a twin to be made."""
        return bool(self.objects)

    @property
    def files(self) -> dict[str, Path]:
        return gen_files(self.job)

    def describe(self) -> list[str]:
        """What will be done, a line a fact."""
        job, size, how = self.job, self.size, self.sampling
        fresh = f", eta {how.eta:g}" if how.eta else ""
        steady = f", kept on their way: {', '.join(how.steady)}" if how.steady else ""
        lines = [
            f"clip: {size.frames} frames of {size.width}x{size.height} at {float(self.fps):.6g} fps, from noise",
            f"model: {self.outline.name}, {how.steps} steps at guidance scale {how.guidance_scale:g}{fresh}{steady}",
            f"prompt: {job.prompt!r}",
        ]
        blank = _blank(size, self.fps)
        lines += [line for one in self.objects for line in describe_object(one, job.prompt, self.pieces, blank)]
        if self.words is not None:
            lines.append(f"new prompt: {self.words.target!r}")
        lines += [f"recipe: {job.edit.recipe}"] if job.edit.recipe != OURS else []
        return lines + cost_lines(self.job, self.memory, self._work())

    def _work(self) -> Work | None:
        from vxedit.backbones.pace import work_of

        how, facts, layout = self.sampling, self.outline.facts, self.outline.layout
        drawn, scale = float(bool(becoming(self.words, self.objects))), how.guidance_scale
        return work_of(layout, facts, self.size, steps=how.steps, guidance_scale=scale, invert=None, drawn=drawn)


def gen_files(job: GenJob) -> dict[str, Path]:
    """What the job writes, by kind, all beside its output; the twin's also the original and both side by side."""
    if not job.objects:
        named = output_files(job.output, replace(job.extras, side_by_side=False, gif=False, attention=False))
        return named
    named = output_files(job.output, replace(job.extras, side_by_side=True))
    return {"original": job.output.with_name(f"{job.output.stem}-original.mp4"), **named}


def from_original(record_file: Path) -> GenJob:
    """The job of a clip that was generated earlier, without what was edited then. Raises InputError where the record
    holds none."""
    record = read_record(record_file)
    job = record.get("job")
    if not isinstance(job, dict) or "generate" not in job:
        raise InputError(f"{record_file} is not the record of a generated clip; give the .json that vxedit-gen left")
    found = gen_job_from_json(job)
    return replace(found, objects=(), words=type(found.words)(), original=record_file, overwrite=False)


def plan_gen(job: GenJob) -> GenPlan:
    """Check a job without loading any weights. Raises VxeditError, with the remedy, for whatever can be known now to
    fail."""
    check_edit(job.edit, job.generate.guidance_scale)
    if not job.prompt.strip():
        raise UsageError('the prompt is empty: say what the clip shows, such as "a burger over a wooden table"')
    if job.words and not job.objects:
        raise UsageError("words are edited where an object is: name it with --obj")
    motions = [parse_path(one.path) for one in job.objects]
    for one in job.objects:
        check_place(one)
        if one.mask is not None:
            raise UsageError(f"a mask ({one.mask}) shows {one.obj!r} in a clip that isn't there yet: give a box")
    described = outline_of(job)
    how = sampling(job, described.facts)
    job = replace(job, generate=replace(job.generate, **vars(how)))
    described.schedule(how.steps)
    check_model(described, job.edit, job.words)
    check_outputs(gen_files(job), [job.original, *(Path(one.path) for one in job.objects)], job)
    pieces = described.tokens(job.prompt)
    columns = check_words(job.objects, pieces, job.prompt)
    known_columns = {one.obj: own for one, own in zip(job.objects, columns, strict=True)}
    steady = tuple(known_columns.get(word) or word_columns(pieces, job.prompt, word) for word in how.steady)
    words = plan_words(job.words, described.tokens, job.prompt, columns, recipe=job.edit.recipe)
    size = _size(job, described)
    fps = job.generate.fps or FPS
    wanted = tuple(
        Wanted(one.obj, own, motion, one.box) for one, own, motion in zip(job.objects, columns, motions, strict=True)
    )
    warnings = check_paths(wanted, _blank(size, fps))
    known, model = _recorded(job)
    memory = memory_of(job, described, size, steps=how.steps)
    return GenPlan(job, steady, size, fps, wanted, words, described, pieces, known, model, memory, tuple(warnings))


def _size(job: GenJob, described: Outline) -> Size:
    frames = described.native.frames if job.generate.num_frames is None else job.generate.num_frames
    width, height = job.generate.size or (described.native.width, described.native.height)
    return described.check_generated(frames, height, width)


def _blank(size: Size, fps: Fraction) -> Clip:
    """A clip of that size without content, which says when its frames are."""
    frames = np.zeros((size.frames, 1, 1, 3), np.uint8)
    return Clip(np.broadcast_to(frames, (size.frames, size.height, size.width, 3)), _times(size, fps), fps)


def _times(size: Size, fps: Fraction) -> np.ndarray:
    return np.arange(size.frames) / float(fps)


def _recorded(job: GenJob) -> tuple[str | None, str | None]:
    if job.original is None:
        return None, None
    record = read_record(job.original)
    model, said = record.get("model", {}), record.get("job", {}).get("model")
    if said != job.model:
        raise ModelError(
            f"{job.original} was generated by the model {said!r}, and --model is {job.model!r}: leave --model out"
        )
    return record.get("original_sha256"), model.get("identity")


def edit_generated(job: GenJob, *, progress: Progress | None = None, backbone: Backbone | None = None) -> Result:
    """Generate a clip and its edited twin and write both, side by side too, with their record and picture.

    The twin is made from the finished original's trajectory: the editor lays the scene anew from the original's frames,
    so the two can't share one pass. Without objects the clip alone is written. Raises VxeditError with the remedy;
    nothing that existed is touched then, and no file is left half-written.
    """
    clock = Clock()
    planned = plan_gen(job)

    def make(model: Backbone) -> Result:
        return _make(planned, model, clock, progress)

    return make(backbone) if backbone is not None else within_memory(job, planned.memory, clock, make)


def _make(planned: GenPlan, backbone: Backbone, clock: Clock, progress: Progress | None) -> Result:
    job = planned.job
    if planned.model is not None and planned.model != backbone.identity:
        raise ModelError(
            f"{job.original} was generated by other weights than {job.model!r} has now: "
            "get the model that its record names, or generate the clip again"
        )
    with clock("generate"):
        chance = torch.Generator().manual_seed(job.edit.seed)
        try:
            made = generate(
                backbone,
                job.prompt,
                planned.size,
                steps=planned.sampling.steps,
                guidance_scale=planned.sampling.guidance_scale,
                generator=chance,
                eta=planned.sampling.eta,
                steady=planned.steady,
                progress=stage(progress, "generate"),
            )
        except ValueError as err:
            raise VxeditError(str(err)) from err
        frames = backbone.decode(made.clean, planned.size.frames)
    warnings = [*planned.warnings]
    digest = hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()
    if planned.known is not None and planned.known != digest:
        warnings.append(
            "the original came out with other pixels than its record says: another processor or other versions round "
            "differently; what is edited is the clip as it is now"
        )
    brief = Brief(
        Clip(frames, _times(planned.size, planned.fps), planned.fps), planned.objects, job.edit, planned.words
    )
    common = {
        **head(job, backbone, planned.size),
        "prompt": {"text": job.prompt, "origin": "given"},
        "original_sha256": digest,
    }
    spent = {"generate_forwards": made.forwards, "generate_gradient_passes": made.backwards}
    if not planned.edits:
        record = {**common, "cost": spent | cost(None, clock), "warnings": warnings}
        _write_alone(planned, frames, record)
        return Result(job.output, record, tuple(planned.files.values()), tuple(warnings))
    outcome = edit_frames(brief, backbone, made, frames, clock, progress)
    story = told(brief, outcome, frames)
    warnings += [said for said in story.warnings if said not in warnings]
    edited = {**clip_part(brief.clip), **edit_part(planned.objects, planned.words, story)}
    record = {**common, **edited, "cost": spent | cost(story, clock), "warnings": warnings}

    def write_twin(place: Path) -> Views:
        _writer(outcome.frames, planned.fps, f"{EDITED}: {job.prompt}")(place)
        return Views(Held(frames), Held(outcome.frames), story)

    write_files(
        planned.files,
        [one.obj for one in planned.objects],
        planned.fps,
        write_twin,
        lambda _: record,
        overwrite=job.overwrite,
        original=_writer(frames, planned.fps, job.prompt),
    )
    return Result(job.output, record, tuple(planned.files.values()), tuple(warnings))


def _writer(frames: np.ndarray, fps: Fraction, comment: str) -> Callable[[Path], None]:
    return lambda place: write_video(place, frames, fps, comment=comment)


def _write_alone(planned: GenPlan, frames: np.ndarray, record: dict[str, Any]) -> None:
    files = planned.files
    kinds: Sequence[str] = ("picture", "record", "video")
    with replacing_together([files[kind] for kind in kinds], overwrite=planned.job.overwrite) as places:
        place = dict(zip(kinds, places, strict=True))
        write_png(place["picture"], sheet([("clip", frames)]), overwrite=False)
        write_record(place["record"], record)
        _writer(frames, planned.fps, planned.job.prompt)(place["video"])
