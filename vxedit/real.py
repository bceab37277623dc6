"""One edit of a real clip from file to file: read, invert or find the inversion, edit, put back, write, record."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import load
from vxedit.errors import VxeditError
from vxedit.invert.inversion import Inversion, from_tensors, invert, to_tensors
from vxedit.invert.store import Store
from vxedit.io.fit import resize_frames
from vxedit.io.prompts import EDITED
from vxedit.io.write import write_video
from vxedit.job import Progress, RealJob
from vxedit.make import Clock, Outcome, edit_frames, stage
from vxedit.plan import Plan, plan, preview
from vxedit.results import Result, cost, edit_part, head, write_files

__all__ = ["Plan", "edit_real", "plan", "preview"]

logger = logging.getLogger(__name__)

STORE_VERSION = 1


def edit_real(
    job: RealJob, *, progress: Progress | None = None, backbone: Backbone | None = None, store: Store | None = None
) -> Result:
    """Edit a real clip and write the result with its record and picture.

    `backbone` and `store` are loaded and opened as the job says unless given, as a batch does. Raises VxeditError with
    the remedy; nothing that existed is touched then, and no file is left half-written.
    """
    clock = Clock()
    with clock("read"):
        planned = plan(job)
    with clock("load"):
        backbone = backbone or load(job.model, device=job.device, dtype=job.dtype, allow_pickle=job.allow_pickle)
    with clock("encode"):
        seen = resize_frames(planned.clip.frames, planned.size.height, planned.size.width)
        clean = backbone.encode(seen)
    with clock("invert"):
        inversion, cached = inverted(planned, backbone, clean, seen, store or Store(), stage(progress, "invert"))
    outcome = edit_frames(planned.brief, backbone, inversion, seen, clock, progress)
    warnings = (*planned.warnings, *(said for said in outcome.warnings if said not in planned.warnings))
    record = _record(planned, backbone, inversion, seen, outcome, clock, cached, warnings)
    with clock("write"):
        write_files(
            planned.files,
            planned.brief,
            outcome,
            record,
            lambda place: _write_result(place, planned, outcome),
            overwrite=job.overwrite,
        )
    return Result(job.output, record, tuple(planned.files.values()), warnings)


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


def _record(
    planned: Plan,
    backbone: Backbone,
    inversion: Inversion,
    seen: np.ndarray,
    outcome: Outcome,
    clock: Clock,
    cached: bool,
    warnings: tuple[str, ...],
) -> dict[str, Any]:
    source = planned.clip.source
    inversion_cost = {
        "inversion_forwards": inversion.forwards,
        "inversion_backwards": inversion.backwards,
        "inversion_from_store": cached,
    }
    known = (
        {"path": source.path, "sha256": source.sha256, "indices": source.indices, "reader": source.reader}
        if source
        else None
    )
    return {
        **head(planned.job, backbone, planned.size),
        "source": known,
        "prompt": {"text": planned.prompt.text, "origin": planned.prompt.origin},
        **edit_part(planned.brief, outcome, seen),
        "cost": inversion_cost | cost(outcome, clock),
        "warnings": warnings,
    }


def _write_result(place: Path, planned: Plan, outcome: Outcome) -> None:
    job, clip = planned.job, planned.clip
    moved = " and ".join(f"{one.obj} along {one.path}" for one in job.objects)
    write_video(
        place,
        outcome.frames,
        clip.fps,
        audio_from=job.input,
        audio_start_s=float(clip.times_s[0]),
        comment=f"{EDITED}: {moved}",
    )
