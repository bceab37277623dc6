"""What an edit leaves: its record, and the files beside the video."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.backbones.protocol import Backbone, Size
from vxedit.clip import Clip
from vxedit.edit.words import WordEdit
from vxedit.io.atomic import replacing_together
from vxedit.io.frames import OpenClip
from vxedit.io.pictures import write_png
from vxedit.io.record import environment, write_record
from vxedit.io.write import write_gif, write_video
from vxedit.job import GenJob, RealJob
from vxedit.job_json import job_to_json
from vxedit.make import Clock
from vxedit.objects import Wanted
from vxedit.score.cost import peak_memory
from vxedit.story import Story
from vxedit.views import Views


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


def edit_part(objects: Sequence[Wanted], words: WordEdit | None, story: Story) -> dict[str, Any]:
    """The part of a record that says what an edit did: the paths, the boxes, and figures of them. Where there are
    several objects, `boxes` and `path` are the first one's and `objects` has all."""
    told_of = [
        {"obj": one.obj, "path": one.motion.to_json(), "source": found.round(5), "target": boxes.round(5)}
        for one, found, boxes in zip(objects, story.found, story.targets, strict=True)
    ]
    return {
        "path": told_of[0]["path"],
        "boxes": {"source": told_of[0]["source"], "target": told_of[0]["target"]},
        "objects": told_of,
        "new_prompt": None if words is None else words.target,
        "figures": {
            "vae_psnr_db": round(story.vae_psnr_db, 2),
            "attention_concentration": round(story.concentration, 3),
            "energy_before": story.energy_before,
            "energy_after": story.energy_after,
        },
    }


def clip_part(clip: Clip | OpenClip) -> dict[str, Any]:
    """The part of a record that says what the edited clip is."""
    return {"clip": {"frames": len(clip), "width": clip.width, "height": clip.height, "fps": clip.fps}}


def cost(story: Story | None, clock: Clock) -> dict[str, Any]:
    """What an edit cost: passes, seconds by stage, and the process's peak of memory in bytes."""
    return {
        "edit_forwards": story.forwards if story else 0,
        "edit_gradient_passes": story.gradient_passes if story else 0,
        "seconds": clock.seconds,
        "peak_bytes": peak_memory(),
    }


def write_files(
    files: Mapping[str, Path],
    names: Sequence[str],
    fps: Fraction,
    write_result: Callable[[Path], Views],
    record: Callable[[Story], Mapping[str, Any]],
    *,
    overwrite: bool,
    original: Callable[[Path], None] | None = None,
) -> Story:
    """Write every file of a job, all or none; the video comes into its place last, so that where it is, all is.

    `write_result` writes it and says what to show of it; `original` writes the file of that kind, where the job has
    one; `record` is what the sidecar holds. `names`: the objects'.
    """
    kinds = sorted(files, key=lambda kind: kind == "video")
    with replacing_together([files[kind] for kind in kinds], overwrite=overwrite) as places:
        place = dict(zip(kinds, places, strict=True))
        with closing(write_result(place["video"])) as views:
            write_png(place["picture"], views.picture(names), overwrite=False)
            if "side_by_side" in place:
                write_video(place["side_by_side"], views.abreast(), fps)
            if "gif" in place:
                write_gif(place["gif"], np.stack(list(views.abreast())), fps)
            if "attention" in place:
                write_video(place["attention"], views.attention(), fps)
        if original is not None:
            original(place["original"])
        write_record(place["record"], record(views.story))
    return views.story
