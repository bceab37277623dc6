"""Everything about an edit that can be settled before the model's weights are loaded."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vxedit.backbones.memory.plan import MemoryPlan
from vxedit.backbones.protocol import Piece, Size
from vxedit.backbones.registry import Outline
from vxedit.checks import (
    check_edit,
    check_model,
    check_outputs,
    check_paths,
    describe_object,
    output_files,
    plan_words,
    read_masks,
    sampled,
)
from vxedit.edit.path import parse_path
from vxedit.edit.recipes.names import OURS
from vxedit.edit.words import WordEdit
from vxedit.io.crop import Placement
from vxedit.io.frames import OpenClip, open_video
from vxedit.io.pictures import COLUMNS, draw_boxes, sheet, spread
from vxedit.io.probe import probe
from vxedit.io.prompts import Prompt, find_prompt
from vxedit.job import RealJob
from vxedit.model import cost_lines, memory_of, outline_of
from vxedit.objects import Wanted, check_place, check_words
from vxedit.seeing import check_placement, place_of, windows_of
from vxedit.stand_in import becoming
from vxedit.windows import Window

if TYPE_CHECKING:
    from vxedit.backbones.pace import Work


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
            f"model: {self.outline.name}, which sees {size.frames} frames of {size.width}x{size.height}{self._longer}",
            f"prompt: {self.prompt.text!r} ({self.prompt.origin})",
        ]
        if len(self.windows) > 1:
            shared = min(window.shared for window in self.windows[1:])
            lines.append(f"windows: {len(self.windows)} of {len(self.windows[0])} frames, {shared} or more shared")
        if not placed.whole:
            x0, y0, x1, y1 = placed.window
            lines.append(f"sees: the {x1 - x0}x{y1 - y0} pixels from ({x0}, {y0}) on ({self.job.selection.fit})")
        lines += [line for one in self.objects for line in describe_object(one, self.prompt.text, self.pieces, clip)]
        if self.words is not None:
            lines.append(f"new prompt: {self.words.target!r}")
        lines += [f"recipe: {self.job.edit.recipe}"] if self.job.edit.recipe != OURS else []
        return lines + cost_lines(self.job, self.memory, self._work(), pieces=len(self.windows))

    @property
    def _longer(self) -> str:
        """That the clip is continued for the model, where it is."""
        legal = self.outline.facts.sizes.length.legal(self.size.frames)
        return f", continued to {legal} with its last one" if legal != self.size.frames else ""

    def _work(self) -> Work | None:
        from vxedit.backbones.pace import work_of

        how, scale = self.job.invert, self.job.invert.guidance_scale
        facts, layout = self.outline.facts, self.outline.layout
        drawn = 1 / len(self.windows) if becoming(self.words, self.objects) else 0.0  # once for all of them
        return work_of(layout, facts, self.size, steps=how.steps, guidance_scale=scale, invert=how, drawn=drawn)


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
        pieces_of_clip = windows_of(job, described, len(footage))
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
        placement, size = place_of(job, described, footage, wanted, len(pieces_of_clip[0]))
        warnings += check_placement(placement, wanted, footage)
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


def preview(planned: Plan) -> np.ndarray:
    """A picture (H, W, 3) of the clip and, where they are known before the model is loaded, the paths drawn on it."""
    shown, at, known = planned.footage.sample(COLUMNS), spread(len(planned.footage)), False
    drawn = shown
    for one in planned.objects:
        path = sampled(one, planned.footage)
        if path is not None:
            drawn, known = draw_boxes(drawn, path.boxes, trail=True, at=at), True
    return sheet([("before", shown), *([("path", drawn)] if known else [])])
