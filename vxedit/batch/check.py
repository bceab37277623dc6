"""The whole batch is checked before its first job starts, without a weight or a frame being read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from vxedit.batch.place import clashes, inside
from vxedit.batch.row import Fault
from vxedit.batch.task import Task
from vxedit.errors import InputError, UsageError, VxeditError
from vxedit.job import GenJob, RealJob

if TYPE_CHECKING:
    from vxedit.backbones.registry import Outline

Check = Callable[[Task], None]
"""Raises VxeditError for a task whose settings can be known to fail."""


def check_tasks(tasks: Sequence[Task], out: Path, check: Check) -> list[Fault]:
    """Everything that is wrong with the tasks: settings, files that aren't there, results outside `out` or over each
    other."""
    faults = []
    clash = clashes([task.id for task in tasks])
    for position, task in enumerate(tasks):
        try:
            inside(out, task.id)
            _files(task)
            if position in clash:
                other = tasks[clash[position]]
                raise UsageError(f"its result {task.id} would lie on that of {other.where}; give it another output")
            check(task)
        except VxeditError as err:
            faults.append(Fault(task.where, str(err)))
    return faults


def _files(task: Task) -> None:
    for name, file in task.reads().items():
        if not os.path.lexists(file):
            raise InputError(f"{name.split()[0]} {file} doesn't exist")
        if not os.access(file, os.R_OK):
            raise InputError(f"{name.split()[0]} {file} can't be read; check its permissions and links")


def check_settings(task: Task) -> None:
    """Raises VxeditError for settings that can't be meant: numbers out of range, a path that doesn't parse, a model
    that isn't there, a word that the prompt lacks. What only the clip can tell is left to its job."""
    from vxedit.checks import check_edit, check_model, plan_words, sampling
    from vxedit.edit.path import parse_path
    from vxedit.objects import check_place, check_words

    job = task.job
    real = isinstance(job, RealJob)
    check_edit(job.edit, (job.invert if isinstance(job, RealJob) else job.generate).guidance_scale)
    for one in job.objects:
        check_place(one)
        parse_path(one.path)
    described = outline_of(job)
    how = job.invert if isinstance(job, RealJob) else sampling(job, described.facts)
    described.schedule(how.steps, invertible=real)
    check_model(described, job.edit, job.words, per_frame=isinstance(job, RealJob) and job.invert.per_frame)
    text = prompt_of(job)
    if isinstance(job, GenJob) and not job.prompt.strip():
        raise UsageError("the prompt is empty: say what the clip shows")
    if text is None:
        return
    pieces = described.tokens(text)
    columns = check_words(job.objects, pieces, text) if real or job.objects else []
    plan_words(job.words, described.tokens, text, columns, recipe=job.edit.recipe)


def caption_without(task: Task) -> str | None:
    """Why a clip of a folder has no such object, if its own caption doesn't name it; None where it does."""
    from vxedit.backbones.tokens import columns

    job = task.job
    if not isinstance(job, RealJob) or job.prompt is not None:
        return None
    text = prompt_of(job)
    if text is None:
        return None
    pieces = outline_of(job).tokens(text)
    for one in job.objects:
        try:
            columns(pieces, text, one.obj)
        except UsageError:
            return f"passed over: its caption {text!r} doesn't name {one.obj!r}"
    return None


def prompt_of(job: RealJob | GenJob) -> str | None:
    """The prompt, where it is known without opening the clip."""
    from vxedit.io.prompts import find_prompt

    if isinstance(job, GenJob):
        return job.prompt
    found = find_prompt(job.input, job.obj, job.prompt, None)
    return None if found.origin == "made from --obj" else found.text


def outline_of(job: RealJob | GenJob) -> Outline:
    """What the job's model can do; a batch asks for few models and many times."""
    from vxedit.model import check_loading

    check_loading(job.loading)
    return _outline(job.model, job.loading.revision, job.allow_pickle)


@lru_cache(maxsize=8)
def _outline(model: str, revision: str | None, allow_pickle: bool) -> Outline:
    from vxedit.backbones.registry import outline

    return outline(model, revision=revision, allow_pickle=allow_pickle)
