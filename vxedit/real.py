"""One edit of a real clip from file to file: read, invert or find the inversion, edit, put back, write, record."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import load
from vxedit.edit.locate import Located, concentration, locate, mask_boxes, word_attention
from vxedit.edit.real import Edited, Parts, edit, recipe
from vxedit.edit.refine import refine
from vxedit.edit.scene import enlarge, with_detail
from vxedit.edit.track import follow, follow_mask
from vxedit.errors import VxeditError
from vxedit.invert.inversion import Inversion, from_tensors, invert, to_tensors
from vxedit.invert.store import Store
from vxedit.io.atomic import replacing_together
from vxedit.io.fit import composite, resize_frames
from vxedit.io.pictures import draw_boxes, heat, sheet, side_by_side, write_png
from vxedit.io.record import environment, write_record
from vxedit.io.write import write_gif, write_video
from vxedit.job import Progress, RealJob
from vxedit.job_json import job_to_json
from vxedit.plan import Plan, plan, preview
from vxedit.score.cost import peak_memory
from vxedit.score.fidelity import psnr

__all__ = ["Plan", "RealResult", "edit_real", "plan", "preview"]

logger = logging.getLogger(__name__)

DIFFUSE = 2.5
"""Below this concentration the word's attention says little about where the object is."""

STORE_VERSION = 1


@dataclass(frozen=True)
class RealResult:
    """What an edit wrote: the video, its record, every file, and what the user should know."""

    output: Path
    record: dict[str, Any]
    files: tuple[Path, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """An edit of frames: the result at the source's size and what it was made from."""

    frames: np.ndarray
    alpha: np.ndarray
    found: Located
    targets: np.ndarray
    attention_before: np.ndarray
    attention_after: np.ndarray
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


def edit_real(
    job: RealJob, *, progress: Progress | None = None, backbone: Backbone | None = None, store: Store | None = None
) -> RealResult:
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
        inversion, cached = inverted(planned, backbone, clean, seen, store or Store(), _stage(progress, "invert"))
    outcome = edit_frames(planned, backbone, inversion, seen, clock, progress)
    warnings = (*planned.warnings, *outcome.warnings)
    record = _record(planned, backbone, inversion, seen, outcome, clock, cached, warnings)
    with clock("write"):
        _write(planned, outcome, record)
    return RealResult(job.output, record, tuple(planned.files.values()), warnings)


def _stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return (lambda done, total: progress(name, done, total)) if progress else None


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


def find_object(planned: Plan, seen: np.ndarray, attention: np.ndarray) -> Located:
    """Where the object is at the model's size: from the masks or box that the job gives, else from its attention."""
    if planned.masks is not None:
        masks = np.stack(
            [
                resize_frames(np.repeat(m[None, ..., None].astype(np.uint8) * 255, 3, -1), *seen.shape[1:3])[0, ..., 0]
                > 127
                for m in planned.masks
            ]
        )
        return follow_mask(seen, masks[0]) if len(masks) == 1 else Located(masks, mask_boxes(masks))
    if planned.job.box is not None:
        return follow(seen, np.array(planned.job.box, float))
    return refine(seen, locate(seen, attention))


def edit_frames(
    planned: Plan,
    backbone: Backbone,
    inversion: Inversion,
    seen: np.ndarray,
    clock: Clock,
    progress: Progress | None = None,
    *,
    parts: Parts | None = None,
) -> Outcome:
    """Everything between the inversion and the finished frames."""
    job, clip = planned.job, planned.clip
    with clock("locate"):
        attention = word_attention(backbone, inversion, planned.columns).numpy()
        found = find_object(planned, seen, attention)
    warnings = []
    spread = float(concentration(attention).mean())
    if spread < DIFFUSE and job.box is None and job.mask is None:
        warnings.append(
            f"the model's attention on {job.obj!r} is diffuse (its strongest tenth holds {spread / 10:.0%}): "
            "look at the picture, and say where the object is with --box or --mask"
        )
    sampled = planned.motion.sample(clip.times_s, start_boxes=found.boxes)
    warnings += [w for w in sampled.warnings if w not in planned.warnings]
    with clock("decode"):
        reconstruction = backbone.decode(inversion.clean, len(clip))
    if job.edit.strength == 0:
        nothing = np.zeros(clip.frames.shape[:3], np.float32)
        return Outcome(
            clip.frames, nothing, found, sampled.boxes, attention, attention, None, reconstruction, tuple(warnings)
        )
    with clock("edit"):
        edited = edit(
            backbone,
            inversion,
            seen,
            found,
            sampled.boxes,
            planned.columns,
            recipe(job.edit.strength, parts),
            generator=torch.Generator().manual_seed(job.edit.seed),
            progress=_stage(progress, "edit"),
        )
    with clock("decode"):
        tell = _stage(progress, "decode")
        frames, alpha = finish(backbone, clip.frames, found, sampled.boxes, edited)
        after = word_attention(backbone, _as_inversion(inversion, edited), planned.columns).numpy()
        if tell:
            tell(1, 1)
    return Outcome(frames, alpha, found, sampled.boxes, attention, after, edited, reconstruction, tuple(warnings))


def finish(
    backbone: Backbone, frames: np.ndarray, found: Located, targets: np.ndarray, edited: Edited
) -> tuple[np.ndarray, np.ndarray]:
    """The edited clip at the source's size, and how much of each pixel is the edit's: decoded, given the source's own
    detail, and composited into the source frames (F, H, W, 3), which outside the edit region stay bit for bit."""
    count, height, width, _ = frames.shape
    made = resize_frames(backbone.decode(edited.latents, count), height, width)
    if edited.expected is not None:
        expected = resize_frames(backbone.decode(edited.expected, count), height, width)
        made = with_detail(made, expected, enlarge(edited.scene, frames, found, targets).frames)
    alpha = _resize_maps(edited.region.alpha, height, width)
    return composite(frames, made, alpha), alpha


def _as_inversion(inversion: Inversion, edited: Edited) -> Inversion:
    """The edited latents at every level, with the inversion's own noise: what the word's attention is read from."""
    pivots = []
    for i, a in enumerate(inversion.schedule.abar):
        pivots.append(a**0.5 * edited.latents + (1 - a) ** 0.5 * inversion.noise(i))
    return replace(inversion, pivots=torch.cat(pivots))


def _resize_maps(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    return np.stack([cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR) for m in maps])


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
    job, clip, edited = planned.job, planned.clip, outcome.edited
    source = clip.source
    return {
        "job": job_to_json(job),
        "command": sys.argv,
        "versions": environment(),
        "source": None
        if source is None
        else {"path": source.path, "sha256": source.sha256, "indices": source.indices, "reader": source.reader},
        "clip": {"frames": len(clip), "width": clip.width, "height": clip.height, "fps": clip.fps},
        "model": {
            "name": backbone.name,
            "identity": backbone.identity,
            "device": str(backbone.device),
            "dtype": str(backbone.dtype),
            "size": planned.size._asdict(),
        },
        "prompt": {"text": planned.prompt.text, "origin": planned.prompt.origin},
        "path": planned.motion.to_json(),
        "boxes": {"source": outcome.found.boxes.round(5), "target": outcome.targets.round(5)},
        "figures": {
            "vae_psnr_db": round(psnr(outcome.reconstruction, seen), 2),
            "attention_concentration": round(float(concentration(outcome.attention_before).mean()), 3),
            "energy_before": None
            if edited is None or edited.energy_before is None
            else float(edited.energy_before.mean()),
            "energy_after": None
            if edited is None or edited.energy_after is None
            else float(edited.energy_after.mean()),
        },
        "cost": {
            "inversion_forwards": inversion.forwards,
            "inversion_backwards": inversion.backwards,
            "inversion_from_store": cached,
            "edit_forwards": edited.forwards if edited else 0,
            "edit_gradient_passes": edited.guided if edited else 0,
            "seconds": clock.seconds,
            "peak_bytes": peak_memory(),
        },
        "warnings": warnings,
    }


def _write(planned: Plan, outcome: Outcome, record: dict[str, Any]) -> None:
    """Write every file of the job, all or none; the video comes into its place last, so that where it is, all is."""
    job, clip = planned.job, planned.clip
    kinds = sorted(planned.files, key=lambda kind: kind == "video")
    path_drawn = draw_boxes(clip.frames, outcome.targets, trail=True)
    rows = [
        ("before", clip.frames),
        ("path", path_drawn),
        ("after", outcome.frames),
        ("attention", heat(outcome.frames, outcome.attention_after)),
    ]
    with replacing_together([planned.files[kind] for kind in kinds], overwrite=job.overwrite) as places:
        files = dict(zip(kinds, places, strict=True))
        write_png(files["picture"], sheet(rows), overwrite=False)
        if "side_by_side" in files or "gif" in files:
            both = side_by_side([clip.frames, path_drawn, outcome.frames])
        if "side_by_side" in files:
            write_video(files["side_by_side"], both, clip.fps)
        if "gif" in files:
            write_gif(files["gif"], both, clip.fps)
        if "attention" in files:
            seen = side_by_side(
                [heat(clip.frames, outcome.attention_before), heat(outcome.frames, outcome.attention_after)]
            )
            write_video(files["attention"], seen, clip.fps)
        write_record(files["record"], record)
        write_video(
            files["video"],
            outcome.frames,
            clip.fps,
            audio_from=job.input,
            audio_start_s=float(clip.times_s[0]),
            comment=f"edited with vxedit: {job.obj} along {job.path}",
        )
