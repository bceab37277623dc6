"""What an edit leaves: its record, and the files beside the video."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.backbones.protocol import Backbone, Size
from vxedit.edit.locate import concentration
from vxedit.io.atomic import replacing_together
from vxedit.io.pictures import draw_boxes, heat, sheet, side_by_side, write_png
from vxedit.io.record import environment, write_record
from vxedit.io.write import write_gif, write_video
from vxedit.job import GenJob, RealJob
from vxedit.job_json import job_to_json
from vxedit.make import Brief, Clock, Outcome
from vxedit.score.cost import peak_memory
from vxedit.score.fidelity import psnr


@dataclass(frozen=True)
class Result:
    """What a job wrote: the video, its record, every file, and what the user should know."""

    output: Path
    record: dict[str, Any]
    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def head(job: RealJob | GenJob, backbone: Backbone, size: Size) -> dict[str, Any]:
    """The part of a record that says what was asked, and of which program and model."""
    return {
        "job": job_to_json(job),
        "command": sys.argv,
        "versions": environment(),
        "model": {
            "name": backbone.name,
            "identity": backbone.identity,
            "device": str(backbone.device),
            "dtype": str(backbone.dtype),
            "size": size._asdict(),
        },
    }


def edit_part(brief: Brief, outcome: Outcome, seen: np.ndarray) -> dict[str, Any]:
    """The part of a record that says what an edit did: the paths, the boxes, and figures of them. Where there are
    several objects, `boxes` and `path` are the first one's and `objects` has all."""
    edited, clip = outcome.edited, brief.clip
    objects = [
        {"obj": one.obj, "path": one.motion.to_json(), "source": found.boxes.round(5), "target": boxes.round(5)}
        for one, found, boxes in zip(brief.objects, outcome.found, outcome.targets, strict=True)
    ]
    energies = [None if edited is None else edited.energy_before, None if edited is None else edited.energy_after]
    before, after = (None if energy is None else float(energy.mean()) for energy in energies)
    return {
        "clip": {"frames": len(clip), "width": clip.width, "height": clip.height, "fps": clip.fps},
        "path": objects[0]["path"],
        "boxes": {"source": objects[0]["source"], "target": objects[0]["target"]},
        "objects": objects,
        "new_prompt": None if brief.words is None else brief.words.target,
        "figures": {
            "vae_psnr_db": round(psnr(outcome.reconstruction, seen), 2),
            "attention_concentration": round(float(concentration(outcome.attention_before[0]).mean()), 3),
            "energy_before": before,
            "energy_after": after,
        },
    }


def cost(outcome: Outcome | None, clock: Clock) -> dict[str, Any]:
    """What an edit cost: passes, seconds by stage, and the process's peak of memory in bytes."""
    edited = outcome.edited if outcome else None
    return {
        "edit_forwards": edited.forwards if edited else 0,
        "edit_gradient_passes": edited.guided if edited else 0,
        "seconds": clock.seconds,
        "peak_bytes": peak_memory(),
    }


def paths_drawn(frames: np.ndarray, outcome: Outcome) -> np.ndarray:
    """Every object's boxes and trail on copies of the frames."""
    for boxes in outcome.targets:
        frames = draw_boxes(frames, boxes, trail=True)
    return frames


def write_files(
    files: Mapping[str, Path],
    brief: Brief,
    outcome: Outcome,
    record: Mapping[str, Any],
    write_result: Callable[[Path], None],
    *,
    overwrite: bool,
    original: Callable[[Path], None] | None = None,
) -> None:
    """Write every file of a job, all or none; the video, by `write_result`, comes into its place last, so that where
    it is, all is. `original` writes the file of that kind, where the job has one."""
    clip, after = brief.clip, outcome.frames
    drawn = paths_drawn(clip.frames, outcome)
    rows = [("before", clip.frames), ("path", drawn), ("after", after)]
    named = [f"look at {one.obj}"[:24] if len(brief.objects) > 1 else "attention" for one in brief.objects]
    rows += [(name, heat(after, seen)) for name, seen in zip(named, outcome.attention_after, strict=True)]
    kinds = sorted(files, key=lambda kind: kind == "video")
    with replacing_together([files[kind] for kind in kinds], overwrite=overwrite) as places:
        place = dict(zip(kinds, places, strict=True))
        write_png(place["picture"], sheet(rows), overwrite=False)
        _write_extras(place, [clip.frames, drawn, after], outcome, clip.fps)
        if original is not None:
            original(place["original"])
        write_record(place["record"], record)
        write_result(place["video"])


def _write_extras(place: Mapping[str, Path], views: list[np.ndarray], outcome: Outcome, fps: Fraction) -> None:
    if "side_by_side" in place or "gif" in place:
        both = side_by_side(views)
    if "side_by_side" in place:
        write_video(place["side_by_side"], both, fps)
    if "gif" in place:
        write_gif(place["gif"], both, fps)
    if "attention" in place:
        pairs = zip(outcome.attention_before, outcome.attention_after, strict=True)
        shown = [heat(view, seen) for maps in pairs for view, seen in zip((views[0], views[2]), maps, strict=True)]
        write_video(place["attention"], side_by_side(shown), fps)
