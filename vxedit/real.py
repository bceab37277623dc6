"""One edit of a real clip from file to file: read, invert or find the inversion, edit, put back, write, record."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vxedit.backbones.protocol import Backbone
from vxedit.clip import Clip
from vxedit.errors import VxeditError
from vxedit.followed import Followed
from vxedit.invert.inversion import Inversion, from_tensors, invert, to_tensors
from vxedit.invert.store import Store
from vxedit.io.crop import Placement
from vxedit.io.frames import open_video
from vxedit.io.prompts import EDITED
from vxedit.io.write import write_video
from vxedit.job import Progress, RealJob
from vxedit.make import Brief, Clock, diffuse, draw_stand_ins, edit_frames, locate_objects, stage
from vxedit.model import within_memory
from vxedit.plan import Plan, plan, preview
from vxedit.reel import Filed, Held, Reel
from vxedit.results import Result, clip_part, cost, edit_part, head, write_files
from vxedit.stand_in import becoming
from vxedit.story import Story, joined, told
from vxedit.views import Views
from vxedit.windows import Window, crossfade

__all__ = ["Plan", "edit_real", "plan", "preview"]

logger = logging.getLogger(__name__)

STORE_VERSION = 1


def edit_real(
    job: RealJob,
    *,
    progress: Progress | None = None,
    backbone: Backbone | None = None,
    store: Store | None = None,
    planned: Plan | None = None,
) -> Result:
    """Edit a real clip and write the result with its record and picture.

    A clip longer than the model takes in one piece is edited in windows that share frames, one after the other, and no
    more of it is held than one of them. `backbone` and `store` are loaded and opened as the job says unless given, as a
    batch does; `planned` is what `plan` said of the job, where that is known. Raises VxeditError with the remedy;
    nothing that existed is touched then, and no file is left half-written.
    """
    clock = Clock()
    with clock("read"):
        planned = planned or plan(job)
    store = store or Store()

    def edit(model: Backbone) -> Result:
        return _edit(_Run(planned, model, store, clock, progress))

    with planned.footage:
        return edit(backbone) if backbone is not None else within_memory(job, planned.memory, clock, edit)


def _edit(run: _Run) -> Result:
    planned, records = run.planned, list[dict[str, Any]]()

    def record(story: Story) -> dict[str, Any]:
        records.append(_record(planned, run.backbone, story, run))
        return records[0]

    story = write_files(
        planned.files,
        [one.obj for one in planned.objects],
        planned.footage.fps,
        run.write,
        record,
        overwrite=planned.job.overwrite,
    )
    return Result(planned.job.output, records[0], tuple(planned.files.values()), _warnings(planned, story))


def _warnings(planned: Plan, story: Story) -> tuple[str, ...]:
    return (*planned.warnings, *(said for said in story.warnings if said not in planned.warnings))


@dataclass
class _Run:
    """The edit of a clip, window after window. `inversions`: what each one's cost, and whether it came from the
    store; `said`: what is to be said of the clip as a whole."""

    planned: Plan
    backbone: Backbone
    store: Store
    clock: Clock
    progress: Progress | None
    inversions: dict[Window, tuple[int, int, bool]] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def write(self, place: Path) -> Views:
        """Write the edited clip at `place`, and say what to show of it."""
        job, clip = self.planned.job, self.planned.footage
        stories: list[Story] = []
        held: list[np.ndarray] = []  # of a clip in one piece, which is in memory anyway

        def frames() -> Iterator[np.ndarray]:
            for made in self._edited(stories):
                if len(self.planned.windows) == 1:
                    held.append(made)
                yield from made

        write_video(
            place,
            frames(),
            clip.fps,
            audio_from=job.input,
            audio_start_s=float(clip.times_s[0]),
            comment=f"{EDITED}: " + " and ".join(f"{one.obj} along {one.path}" for one in job.objects),
        )
        story = joined(stories, [window.shared for window in self.planned.windows])
        if len(stories) > 1:
            story = replace(story, warnings=(*self.said, *self._unclear(stories)))
        after: Reel = Held(held[0]) if held else Filed(open_video(place), (clip.width, clip.height))
        return Views(Filed(clip), after, story, self._view)

    def _unclear(self, stories: Sequence[Story]) -> list[str]:
        """What is to be said of words whose attention says little in some of the windows: a line an object."""
        windows, said = self.planned.windows, []
        for k, one in enumerate(self.planned.objects):
            told_of = [diffuse([one], [story.attention_before[k]]) for story in stories]
            unclear = [(window, line[0]) for window, line in zip(windows, told_of, strict=True) if line]
            if unclear:
                first, line = unclear[0]
                said.append(
                    f"{line} (in {len(unclear)} of {len(windows)} windows, first in frames {first.begin} to "
                    f"{first.end - 1})"
                )
        return said

    @property
    def _view(self) -> Placement | None:
        """What the model sees of the frames, where that isn't all of them."""
        placed = self.planned.placement
        return None if placed.whole else placed

    def _edited(self, stories: list[Story]) -> Iterator[np.ndarray]:
        """The edited frames, uint8 (n, H, W, 3) at the source's size, window by window, each without what the next
        shares with it; what there is to tell of each window goes into `stories`."""
        planned, placed = self.planned, self.planned.placement
        objects = Followed(planned.objects, placed, planned.windows)
        targets = self._targets()
        ends = [window.shared for window in planned.windows[1:]] + [0]
        left = settled = others = None
        if len(planned.windows) > 1:  # drawn once for all of them
            others = draw_stand_ins(
                planned.words,
                planned.objects,
                planned.job.edit,
                planned.size,
                self.backbone,
                self.clock,
                self.progress,
            )
        for window, shared in zip(planned.windows, ends, strict=True):
            clip = planned.footage.read(window.begin, window.end)
            inversion, seen = self._inverted(window, clip)
            brief = Brief(
                clip=replace(clip, frames=placed.cut(clip.frames)),
                objects=objects.of(window),
                settings=planned.job.edit,
                words=planned.words,
                placement=self._view,
                targets=None if targets is None else tuple(boxes[window.begin : window.end] for boxes in targets),
                settled=settled,
                stand_ins=others and others.between(window.begin, window.end),
            )
            outcome = edit_frames(brief, self.backbone, inversion, seen, self.clock, self._progress(window))
            objects.found(window, outcome.found)
            stories.append(told(brief, outcome, seen))
            made = placed.paste(outcome.frames, clip.frames)
            if left is not None:
                made = np.concatenate([crossfade(left, made[: window.shared]), made[window.shared :]])
            left = made[len(made) - shared :]
            # What is laid anew from the same pixels agrees by itself: faded into each other, two free renderings jump
            # less than where one was held to the other. An object whose words change it has nothing else to go by.
            settled = placed.cut(left) if self._redrawn else None
            yield made[: len(made) - shared]

    @property
    def _redrawn(self) -> bool:
        """Whether words change what objects look like, and not what they are: that is drawn in the clip itself."""
        return self.planned.words is not None and not becoming(self.planned.words, self.planned.objects)

    def _targets(self) -> tuple[np.ndarray, ...] | None:
        """Where the objects should be in every frame, (F, 4) in shares of the frame; None where that can wait for the
        one window there is. A path that starts from where the object is needs that in all windows first."""
        planned, times_s = self.planned, self.planned.footage.times_s
        if len(planned.windows) == 1:
            return None
        if not any(one.motion.needs_start for one in planned.objects):
            return tuple(one.motion.sample(times_s).boxes for one in planned.objects)
        placed = planned.placement
        objects = Followed(planned.objects, placed, planned.windows)
        origins = [np.empty((len(times_s), 4)) for _ in planned.objects]
        for window in planned.windows:
            clip = planned.footage.read(window.begin, window.end)
            inversion, seen = self._inverted(window, clip)
            brief = Brief(replace(clip, frames=placed.cut(clip.frames)), objects.of(window), planned.job.edit)
            with self.clock("locate"):
                _, there = locate_objects(brief, self.backbone, inversion, seen)
            objects.found(window, there)
            for boxes, one in zip(origins, there, strict=True):
                boxes[window.begin + window.shared : window.end] = placed.boxes_from_model(one.boxes)[window.shared :]
        pairs = zip(planned.objects, origins, strict=True)
        paths = [one.motion.sample(times_s, start_boxes=boxes) for one, boxes in pairs]
        self.said = tuple(said for path in paths for said in path.warnings)
        return tuple(path.boxes for path in paths)

    def _inverted(self, window: Window, clip: Clip) -> tuple[Inversion, np.ndarray]:
        """A window's inversion, and its frames as the model sees them."""
        with self.clock("encode"):
            seen = self.planned.placement.to_model(clip.frames)
            clean = self.backbone.encode(seen)
        with self.clock("invert"):
            tell = stage(self._progress(window), "invert")
            inversion, cached = inverted(self.planned, self.backbone, clean, seen, self.store, tell)
        self.inversions.setdefault(window, (inversion.forwards, inversion.backwards, cached))
        return inversion, seen

    def _progress(self, window: Window) -> Progress | None:
        """The whole clip's progress, as one window has it to tell."""
        if self.progress is None:
            return None
        tell, number, count = self.progress, self.planned.windows.index(window), len(self.planned.windows)
        return lambda name, done, total: tell(name, number * total + done, count * total)


def inverted(
    planned: Plan,
    backbone: Backbone,
    clean: torch.Tensor,
    seen: np.ndarray,
    store: Store,
    progress: Callable[[int, int], None] | None,
) -> tuple[Inversion, bool]:
    """The clip's inversion, and whether it came from the store."""
    settings, prompt = planned.job.invert, planned.prompt.text
    key = store.key(
        {
            "version": STORE_VERSION,
            "pixels": hashlib.sha256(np.ascontiguousarray(seen).tobytes()).hexdigest(),
            "shape": seen.shape,
            "model": backbone.identity,
            "dtype": str(backbone.dtype),
            "prompt": prompt,
            "settings": asdict(settings),
        }
    )
    kept = store.get(key)
    if kept is not None:
        try:
            found = from_tensors(*kept)
            null = None if found.null is None else found.null.to(clean.device)
            return replace(found, pivots=found.pivots.to(clean.device), null=null), True
        except (KeyError, TypeError) as err:
            logger.warning("the stored inversion %s lacks %s; it is made again", key[:12], err)
    try:
        inversion = invert(backbone, clean, prompt, settings, progress=progress)
    except ValueError as err:
        raise VxeditError(str(err)) from err
    store.put(key, *to_tensors(inversion))
    return inversion, False


def _record(planned: Plan, backbone: Backbone, story: Story, run: _Run) -> dict[str, Any]:
    source, placed = planned.footage.source, planned.placement
    spent = list(run.inversions.values())
    inversion_cost = {
        "inversion_forwards": sum(forwards for forwards, _, _ in spent),
        "inversion_backwards": sum(backwards for _, backwards, _ in spent),
        "inversion_from_store": all(cached for _, _, cached in spent),
    }
    return {
        **head(planned.job, backbone, planned.size),
        "source": {"path": source.path, "sha256": source.sha256, "indices": source.indices, "reader": source.reader},
        "prompt": {"text": planned.prompt.text, "origin": planned.prompt.origin},
        **clip_part(planned.footage),
        "placement": {"picture": placed.picture, "window": placed.window},
        "windows": [vars(window) for window in planned.windows],
        **edit_part(planned.objects, planned.words, story),
        "cost": inversion_cost | cost(story, run.clock),
        "warnings": _warnings(planned, story),
    }
