"""From a clip's trajectory to finished frames: find the objects, edit, decode, put back. Shared by real and generated
clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch

from vxedit.backbones.protocol import Backbone, Size
from vxedit.clip import Clip
from vxedit.edit.locate import Located, attention_in_frames
from vxedit.edit.objective import Weights
from vxedit.edit.plate import steadied
from vxedit.edit.real import Parts, edit, recipe
from vxedit.edit.recipes.names import OURS
from vxedit.edit.recipes.published import published
from vxedit.edit.scene import enlarge, with_detail
from vxedit.edit.task import Edited, Subject, Task
from vxedit.edit.words import WordEdit
from vxedit.invert.inversion import Inversion
from vxedit.io.crop import Placement
from vxedit.io.fit import composite, resize_frames
from vxedit.job import EditSettings, Progress
from vxedit.objects import Wanted, find_objects
from vxedit.stand_in import StandIns, fitted, stand_ins
from vxedit.word_figures import diffuse_warning


@dataclass(frozen=True)
class Brief:
    """What is to be made of a clip (at the source's size): its `objects`, the rearmost first, and its words.

    `placement`: where the clip was cut out of larger frames, in whose shares the objects' paths are told; their boxes
    and masks are the clip's own. `targets`: where the objects should be, boxes (F, 4) in shares of the larger frames,
    where a path has been followed already; `settled`: the clip's first frames where they are made already and the rest
    is to go on from them, (n, H, W, 3) at its size; `stand_ins`: what the objects become whose words do, where it has
    been drawn already. All three are those of a piece of a longer clip.
    """

    clip: Clip
    objects: tuple[Wanted, ...]
    settings: EditSettings
    words: WordEdit | None = None
    placement: Placement | None = None
    targets: tuple[np.ndarray, ...] | None = None
    settled: np.ndarray | None = None
    stand_ins: StandIns | None = None

    def in_frame(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (F, 4) in shares of the clip as shares of the frames that it was cut out of."""
        return boxes if self.placement is None else self.placement.boxes_from_model(boxes)

    def in_clip(self, boxes: np.ndarray) -> np.ndarray:
        """The other way round."""
        return boxes if self.placement is None else self.placement.boxes_to_model(boxes)


@dataclass(frozen=True)
class Outcome:
    """An edit of frames: the result at the clip's size and what it was made from. `found`, `targets` (F, 4), both in
    shares of the clip, and the attention maps (F, h, w) before and after, one an object; `alpha` (F, H, W): the edit's
    share of each pixel."""

    frames: np.ndarray
    alpha: np.ndarray
    found: tuple[Located, ...]
    targets: tuple[np.ndarray, ...]
    attention_before: tuple[np.ndarray, ...]
    attention_after: tuple[np.ndarray, ...]
    edited: Edited | None
    reconstruction: np.ndarray
    warnings: tuple[str, ...]


class Clock:
    """Seconds spent, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - begin, 3)


def stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    """The progress of one stage by name, for what knows steps alone."""
    return (lambda done, total: progress(name, done, total)) if progress else None


def edit_frames(
    brief: Brief,
    backbone: Backbone,
    inversion: Inversion,
    seen: np.ndarray,
    clock: Clock,
    progress: Progress | None = None,
    *,
    parts: Parts | None = None,
) -> Outcome:
    """Everything between a trajectory and the finished frames. seen uint8 (F, H, W, 3): the clip at the model's size.

    `parts` takes parts out of vxedit's own recipe, to measure what each is for.
    """
    clip, settings = brief.clip, brief.settings
    with clock("locate"):
        attention, found = locate_objects(brief, backbone, inversion, seen)
    warnings = diffuse(brief.objects, attention)
    asked, said = follow_paths(brief, clip.times_s, [brief.in_frame(there.boxes) for there in found])
    warnings += said
    others = brief.stand_ins or draw_stand_ins(
        brief.words, brief.objects, settings, Size(*seen.shape[:3]), backbone, clock, progress
    )
    targets = _shaped([brief.in_clip(boxes) for boxes in asked], others, clip.frames, seen)
    with clock("decode"):
        reconstruction = backbone.decode(inversion.clean, len(clip))
    known: dict[str, Any] = {"found": tuple(found), "targets": tuple(targets), "attention_before": tuple(attention)}
    known |= {"reconstruction": reconstruction, "warnings": tuple(warnings)}
    if settings.strength == 0:
        nothing = np.zeros(clip.frames.shape[:3], np.float32)
        return Outcome(frames=clip.frames, alpha=nothing, attention_after=tuple(attention), edited=None, **known)
    subjects = [
        Subject(one.obj, one.columns, there, boxes, other)
        for one, there, boxes, other in zip(brief.objects, found, targets, others.cutouts, strict=True)
    ]
    chance = torch.Generator().manual_seed(settings.seed)
    settled = None if brief.settled is None else resize_frames(brief.settled, *seen.shape[1:3])
    task = Task(backbone, inversion, seen, tuple(subjects), chance, brief.words, settled, stage(progress, "edit"))
    with clock("edit"):
        edited = _edit(task, settings, parts)
        passes = edited.forwards + others.forwards, edited.guided + others.gradient_passes
        edited = replace(edited, forwards=passes[0], guided=passes[1])
    with clock("decode"):
        frames, alpha = finish(backbone, clip.frames, subjects, edited)
        after = _attention_after(brief, backbone, inversion, edited)
        if progress:
            progress("decode", 1, 1)
    return Outcome(frames=frames, alpha=alpha, attention_after=tuple(after), edited=edited, **known)


def locate_objects(
    brief: Brief, backbone: Backbone, inversion: Inversion, seen: np.ndarray
) -> tuple[list[np.ndarray], list[Located]]:
    """The attention (F, h, w) on each object's word, and where each object is in the clip."""
    attention = attention_in_frames(backbone, inversion, [one.columns for one in brief.objects], len(seen))
    return attention, find_objects(brief.objects, seen, attention)


def follow_paths(
    brief: Brief, times_s: np.ndarray, origins: Sequence[np.ndarray]
) -> tuple[tuple[np.ndarray, ...], list[str]]:
    """Where each object should be, boxes (F, 4), given where it is, and what is to be said of that; both in shares of
    the whole frames."""
    if brief.targets is not None:
        return brief.targets, []
    paths = [one.motion.sample(times_s, start_boxes=boxes) for one, boxes in zip(brief.objects, origins, strict=True)]
    return tuple(path.boxes for path in paths), list(dict.fromkeys(said for path in paths for said in path.warnings))


def draw_stand_ins(
    words: WordEdit | None,
    objects: Sequence[Wanted],
    settings: EditSettings,
    size: Size,
    backbone: Backbone,
    clock: Clock,
    progress: Progress | None,
) -> StandIns:
    """What the objects become whose words do, drawn at the model's `size`; nothing where nothing is to change."""
    if words is None or settings.strength == 0:
        return StandIns((None,) * len(objects))
    with clock("draw"):
        return stand_ins(backbone, words, objects, size, seed=settings.seed, progress=stage(progress, "draw"))


def _shaped(targets: Sequence[np.ndarray], others: StandIns, frames: np.ndarray, seen: np.ndarray) -> list[np.ndarray]:
    """The targets (F, 4) in shares of the clip's frames, of which what becomes another object has the other's shape."""
    (tall, wide), (height, width) = frames.shape[1:3], seen.shape[1:3]
    aspect = wide / tall / (width / height)
    pairs = zip(targets, others.cutouts, strict=True)
    return [boxes if other is None else fitted(boxes, other, aspect) for boxes, other in pairs]


def _edit(task: Task, settings: EditSettings, parts: Parts | None) -> Edited:
    if settings.recipe != OURS:
        return published(settings.recipe).run(task)
    how = recipe(settings.strength, parts)
    return edit(task, replace(how, weights=Weights(**dict(settings.energies))) if settings.energies else how)


def diffuse(objects: Sequence[Wanted], attention: Sequence[np.ndarray]) -> list[str]:
    """What to say of words whose attention was needed and says little."""
    asked = [(one, seen) for one, seen in zip(objects, attention, strict=True) if one.box is None and one.masks is None]
    return [said for one, seen in asked if (said := diffuse_warning(seen, one.obj))]


def finish(
    backbone: Backbone, frames: np.ndarray, subjects: Sequence[Subject], edited: Edited
) -> tuple[np.ndarray, np.ndarray]:
    """The edited clip at the source's size, and how much of each pixel is the edit's: decoded, given the laid
    scene's detail, steadied where no frame shows the background, and composited into the source frames (F, H, W, 3),
    which outside the edit region stay bit for bit."""
    count, height, width, _ = frames.shape
    made = resize_frames(backbone.decode(edited.latents, count), height, width)
    if edited.expected is not None and edited.held is not None and edited.scene is not None:
        expected = resize_frames(backbone.decode(edited.expected, count), height, width)
        large = enlarge(edited.scene, frames, [subject.moved for subject in subjects])
        made = with_detail(made, expected, large.frames, _sized(edited.held, height, width))
        made = steadied(made, ~large.plate.known & (large.target <= 0.1), large.camera)
    alpha = _sized(edited.region.alpha, height, width)
    return composite(frames, made, alpha), alpha


def _sized(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Soft masks (F, h, w) at another size."""
    return np.stack([cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) for mask in masks])


def _attention_after(brief: Brief, backbone: Backbone, inversion: Inversion, edited: Edited) -> list[np.ndarray]:
    """The words' attention read from the edited latents under the inversion's own noise. A word that became another is
    read at the place in the new prompt that took its own."""
    pivots = [
        a**0.5 * edited.latents + (1 - a) ** 0.5 * inversion.noise(i) for i, a in enumerate(inversion.schedule.abar)
    ]
    words = [one.columns for one in brief.objects]
    prompt = inversion.prompt
    if brief.words is not None:
        prompt, words = brief.words.target, [brief.words.carried(columns) for columns in words]
    trajectory = replace(inversion, pivots=torch.cat(pivots), prompt=prompt)
    return attention_in_frames(backbone, trajectory, words, len(brief.clip))
