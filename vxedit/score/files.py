"""From files to figures: which clips are scored, what each should show, and each one's figures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vxedit.clip import Clip
from vxedit.errors import InputError, UsageError
from vxedit.io.read import read_video
from vxedit.io.write import SUFFIXES
from vxedit.score.asked import Asked, from_boxes, from_entry, from_record
from vxedit.score.detector import Detectors, choose
from vxedit.score.job import ScoreJob
from vxedit.score.lpips import Distance, load_lpips, masked_distance
from vxedit.score.measure import (
    Figures,
    Seen,
    edit_outside,
    mean_figures,
    object_figures,
    place_figures,
    rest_figures,
)
from vxedit.score.published import Peekaboo
from vxedit.score.sets import PromptSet, read_set
from vxedit.score.source import moved, read_pair
from vxedit.score.text_image import TextImage, load_text_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectScore:
    """One object of a clip: what was seen, its figures, and Peekaboo's code's own, which a weighted mean needs."""

    seen: Seen
    figures: Figures
    peekaboo: Peekaboo


@dataclass(frozen=True)
class ClipScore:
    """One clip: its objects, its figures (each object's as their mean), and what the user should know."""

    clip: Path
    objects: tuple[ObjectScore, ...]
    figures: Figures
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """The clips that were scored, and those that were not, each with the reason."""

    clips: tuple[ClipScore, ...]
    skipped: tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class Judges:
    """What judges every clip; None for what was not asked for."""

    detectors: Detectors
    text_image: TextImage | None
    distance: Distance | None


def score(job: ScoreJob, *, progress: Callable[[str, int, int], None] | None = None) -> Scores:
    """Score every clip of the job.

    progress is called with "score", the clips done and the clips in all. Raises VxeditError with the remedy; what can
    be known before a judge's weights load is checked for every clip first.
    """
    from vxedit.backbones.device import choose_device

    asked, skipped = collect(job)
    kinds = [
        [
            choose(job.detector, one.word, embedded=each.embedded, owl=job.owl, allow_pickle=job.allow_pickle)
            for one in each.objects
        ]
        for each in asked
    ]
    device = choose_device(job.device)
    judges = Judges(
        Detectors(owl=job.owl, device=device, allow_pickle=job.allow_pickle),
        None if job.clip is None else load_text_image(job.clip, device=device, allow_pickle=job.allow_pickle),
        load_lpips(device=device) if job.lpips else None,
    )
    clips = []
    for number, (each, kind) in enumerate(zip(asked, kinds, strict=True)):
        clips.append(score_clip(each, judges, kind))
        if progress:
            progress("score", number + 1, len(asked))
    return Scores(tuple(clips), skipped)


def collect(job: ScoreJob) -> tuple[list[Asked], tuple[tuple[Path, str], ...]]:
    """What every clip of the job should show, and the clips of its folders that nothing says it of, with the reason.

    Raises UsageError for a job that can't be meant, InputError for a target that isn't there or can't be scored.
    """
    if job.boxes is not None and job.prompt_set is not None:
        raise UsageError("--boxes and --set both say where objects should be; leave one of them out")
    if job.boxes is not None and job.obj is None:
        raise UsageError("--boxes says where, and not what: name the object with --obj WORD")
    entries = None if job.prompt_set is None else read_set(job.prompt_set, order=job.set_order)
    asked: list[Asked] = []
    skipped: list[tuple[Path, str]] = []
    for target in job.targets:
        if not target.exists():
            raise InputError(f"{target} isn't there; give a clip, or a folder of them")
        if not target.is_dir():
            asked.append(_asked(target, job, entries))
            continue
        for clip in sorted(file for file in target.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()):
            try:
                asked.append(_asked(clip, job, entries))
            except _Nothing as err:
                skipped.append((clip, str(err)))
    if not asked:
        where = ", ".join(map(str, job.targets))
        raise InputError(
            f"nothing to score in {where}: none of its {len(skipped)} clips has a record with boxes beside it; say "
            "where the objects should be with --boxes and --obj, or --set"
        )
    return asked, tuple(skipped)


class _Nothing(InputError):
    """Nothing says what a clip should show. A folder may hold such clips."""


def _asked(clip: Path, job: ScoreJob, entries: PromptSet | None) -> Asked:
    if job.boxes is not None and job.obj is not None:
        asked = from_boxes(clip, job.boxes, word=job.obj)
    elif entries is not None:
        asked = _of_set(clip, entries)
    else:
        try:
            asked = from_record(clip)
        except InputError as err:
            raise _Nothing(str(err)) from err
    if job.obj is not None:
        asked = asked.looking_for(job.obj)
    source = moved(asked.source, job.source, clip=clip) if job.use_source else None
    return replace(asked, prompt=job.prompt or asked.prompt, source=source)


def _of_set(clip: Path, entries: PromptSet) -> Asked:
    entry = entries.of_clip(clip.stem)
    if entry is None:
        raise _Nothing(f"{clip} is named after none of the set's entries, such as {entries.entries[0].name}; rename it")
    if np.isnan(entry.boxes).any(1).all():
        raise _Nothing(f"{clip}'s entry {entry.name} of the set has no box in any frame; leave it out")
    return from_entry(clip, entry)


def score_clip(asked: Asked, judges: Judges, kinds: list[str]) -> ClipScore:
    """One clip's figures. kinds: each object's detector, by name.

    Raises InputError where the clip or its source can't be read, or their frames or boxes don't correspond.
    """
    clip = read_video(asked.clip)
    targets = [one.target(clip) for one in asked.objects]
    edited, source, said = (clip.frames, None, ()) if asked.source is None else read_pair(clip, asked.source)
    warnings = [*said]
    count = len(clip)
    if any(len(target) != count for target in targets):
        count = _common(asked, clip, targets)
        warnings.append(
            f"{asked.clip} has {len(clip)} frames and {len(targets[0])} boxes: the first {count} are scored"
        )
    edited, source = edited[:count], None if source is None else source[:count]
    seen = []
    for one, kind, target in zip(asked.objects, kinds, targets, strict=True):
        detector = judges.detectors[kind]
        found = detector.find(edited, one.word)
        before = None if one.source is None else one.source(clip)[:count]
        if before is None and source is not None:
            before = detector.find(source, one.word).boxes
        seen.append(Seen(one.word, detector.name, found.boxes, found.scores, target[:count], before))
    if len({one.word.lower() for one in seen}) < len(seen):
        warnings.append(f"{asked.clip} has several objects of one name, which the detector does not tell apart")
    objects = tuple(_object(edited, source, one, [other for other in seen if other is not one]) for one in seen)
    figures = mean_figures([one.figures for one in objects]) | _rest(edited, source, seen, asked, judges)
    for line in warnings:
        logger.warning("%s", line)
    return ClipScore(asked.clip, objects, figures, tuple(warnings))


def _common(asked: Asked, clip: Clip, targets: list[np.ndarray]) -> int:
    """How many frames clip and boxes both have, where a difference may be."""
    if not asked.cuts:
        raise InputError(
            f"{asked.clip} has {len(clip)} frames, and there are boxes for {len(targets[0])}; give the clip as it was "
            "written, or boxes for every frame of it"
        )
    return min(len(clip), *map(len, targets))


def _object(edited: np.ndarray, source: np.ndarray | None, one: Seen, others: list[Seen]) -> ObjectScore:
    if np.isnan(one.target).any(1).all():
        raise InputError(f"{one.word!r} has no box in any frame that is scored; give boxes with --boxes")
    figures, theirs = place_figures(one.found, one.target, frame=(edited.shape[1], edited.shape[2]))
    if source is not None:
        figures |= object_figures(edited, source, one, others)
    return ObjectScore(one, figures, theirs)


def _rest(edited: np.ndarray, source: np.ndarray | None, seen: list[Seen], asked: Asked, judges: Judges) -> Figures:
    figures: Figures = {}
    if source is not None:
        mask = edit_outside(seen, edited.shape[1], edited.shape[2], margin=asked.margin)
        figures |= rest_figures(edited, source, mask)
        if judges.distance is not None:
            figures["background_lpips"] = masked_distance(edited, source, mask, judges.distance)
    if judges.text_image is not None:
        alike = judges.text_image.similarity(edited, asked.prompt)
        figures |= {"clip_text": alike.text, "clip_frames": alike.frames}
    return figures
