"""Edits of unseen rendered clips, scored against the truth: what the issue of moving an object comes to in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import Outline
from vxedit.backbones.tokens import columns
from vxedit.clip import Clip
from vxedit.edit.locate import Located, grown
from vxedit.edit.path import parse_path
from vxedit.edit.real import Parts
from vxedit.edit.recipes.names import NAMES
from vxedit.errors import UsageError
from vxedit.evaluate.case import FPS, Case, case
from vxedit.evaluate.model import forward_flops, gradient_share
from vxedit.invert.inversion import Inversion, invert, replay_inversion
from vxedit.job import EditSettings, InvertSettings
from vxedit.make import Brief, Clock, Outcome, edit_frames
from vxedit.objects import Wanted
from vxedit.score.boxes import HALF, covered, iou, score_boxes
from vxedit.score.cost import peak_memory
from vxedit.score.detect import Detections, detect
from vxedit.score.fidelity import identity, psnr
from vxedit.score.flicker import flicker
from vxedit.score.ghost import ghost

AWAY = 14.0
"""Pixels of a frame 128 wide round the object's places that do not count as background: an edit's margin and seam."""


@dataclass(frozen=True)
class Way:
    """One way of editing that is measured: its name, its settings, and which parts of vxedit's own take part."""

    name: str
    settings: EditSettings = field(default_factory=EditSettings)
    parts: Parts = field(default_factory=Parts)


OURS = Way("vxedit")
PERFECT = "a perfect edit"
RECIPES = tuple(Way(name, EditSettings(recipe=name)) for name in NAMES if name != OURS.name)
ABLATIONS = (
    Way("without transport", parts=Parts(transport=False)),
    Way("without guidance", parts=Parts(guidance=False)),
    Way("without the anchor", parts=Parts(anchor=False)),
    Way("without pinning", parts=Parts(pinning=False)),
    Way("with the source's keys and values", parts=Parts(sharing=True)),
)
"""Each part taken out, and one that is left out put in."""

WAYS = (OURS, *RECIPES, *ABLATIONS)


def brief_of(outline: Outline, one: Case, settings: EditSettings) -> Brief:
    """The case as a checked job, without files."""
    clip = one.clip
    frames = Clip(clip.frames, np.arange(len(clip.frames)) / float(FPS), FPS)
    pieces = outline.tokens(clip.caption)
    wanted = [
        Wanted(actor.name, columns(pieces, clip.caption, actor.name), parse_path(path))
        for actor, (path, _) in zip(one.scene.actors, one.paths, strict=False)
    ]
    return Brief(frames, tuple(wanted), settings)


def replay_figures(backbone: Backbone, one: Case, inversion: Inversion) -> dict[str, float]:
    """PSNR in dB against the clip: of the autoencoder alone, of the honest replay, and of the pinned one."""
    frames = one.clip.frames
    decoded = {
        "vae": backbone.decode(inversion.clean, len(frames)),
        "honest": backbone.decode(replay_inversion(backbone, inversion, pinned=False), len(frames)),
        "pinned": backbone.decode(replay_inversion(backbone, inversion, pinned=True), len(frames)),
    }
    figures = {f"replay_{name}_db": psnr(made, frames) for name, made in decoded.items()}
    return figures | {"replay_honest_to_vae_db": psnr(decoded["honest"], decoded["vae"])}


def edit_figures(backbone: Backbone, one: Case, outcome: Outcome, clock: Clock) -> dict[str, float]:
    """DESIGN's figures for one edited clip; a frame without a detection counts as an IoU of 0, and in `cd_all` as the
    corner farthest from the target. `background_db` is taken away from the object's true places, old and new, so that
    it means the same whatever part of the frame an editor makes anew."""
    source, edited = one.clip.frames, outcome.frames
    seen = detect(edited, one.scene.actors[0].name)
    frame = (source.shape[1], source.shape[2])
    boxes = score_boxes(seen.boxes, one.targets, frame=frame)
    like = identity(edited, source, edited_boxes=seen.boxes, source_boxes=one.clip.boxes[0])
    away = ~np.stack([grown(frame, AWAY * source.shape[2] / 128) for frame in _touched(one)])
    inside = outcome.alpha > 0
    found = outcome.found[0].masks
    figures = {
        "cd": boxes.centre_distance,
        "cd_all": boxes.penalised_distance,
        "miou": boxes.mean_iou,
        "ap50": boxes.ap50,
        "coverage": float(covered(seen.boxes)),
        "likeness": float(seen.likeness.mean()),
        "ghost": ghost(edited, source, one.clip.clean, source_mask=one.clip.masks[0], target_mask=one.truth.masks[0]),
        "identity_db": like.psnr,
        "identity_ssim": like.ssim,
        "flicker": flicker(edited, source),
        "side": side_ratio(seen.boxes, one.targets),
        "truth_db": psnr(edited, one.truth.frames, mask=inside) if inside.any() else float("nan"),
        "background_db": psnr(edited, source, mask=away),
        "mask_iou": float((found & one.clip.masks[0]).sum() / (found | one.clip.masks[0]).sum()),
        "seconds": sum(clock.seconds.values()),
        "peak_gb": peak_memory() / 1e9,
    }
    if one.more:
        figures |= _together(one, edited, seen)
    if outcome.edited is not None:
        made = backbone.decode(outcome.edited.latents, len(source))
        figures["background_made_db"] = psnr(made, source, mask=away)
        figures["background_vae_db"] = psnr(outcome.reconstruction, source, mask=away)
        figures["forwards"] = float(outcome.edited.forwards)
        figures["gradient_passes"] = float(outcome.edited.guided)
    return figures


def _together(one: Case, edited: np.ndarray, first: Detections) -> dict[str, float]:
    """Figures of a case of several objects, the `first` of which has been looked for. `*_second`: the next one's.
    `found_both`: the share of the frames in which all overlap their own boxes by a half or more; `found_shown`: the
    same, of the frames in which a perfect edit shows at least half of each."""
    frame = (edited.shape[1], edited.shape[2])
    found = [first.boxes, *(detect(edited, actor.name).boxes for actor in one.scene.actors[1 : len(one.paths)])]
    second = score_boxes(found[1], one.paths[1][1], frame=frame)
    each = [iou(boxes, targets) for boxes, (_, targets) in zip(found, one.paths, strict=True)]
    both, shown = np.min(each, 0) >= HALF, _shown(one.truth.masks[: len(one.paths)]).min(0) >= HALF
    return {
        "cd_second": second.penalised_distance,
        "miou_second": second.mean_iou,
        "ap50_second": second.ap50,
        "found_both": float(both.mean()),
        "found_shown": float(both[shown].mean()) if shown.any() else float("nan"),
    }


def _shown(masks: np.ndarray) -> np.ndarray:
    """How much of each object, of masks (n, F, H, W) bool that lie over each other, the last in front, is to be seen:
    (n, F)."""
    over = np.cumsum(masks[::-1], 0)[::-1] - masks
    return (masks & (over == 0)).sum((2, 3)) / np.maximum(masks.sum((2, 3)), 1)


def _touched(one: Case) -> np.ndarray:
    """Where the moved objects are or should be, bool (F, H, W)."""
    count = len(one.paths)
    return np.logical_or.reduce([*one.clip.masks[:count], *one.truth.masks[:count]])


def side_ratio(found: np.ndarray, target: np.ndarray) -> float:
    """How far the found box's side (the root of its area) is from the target's, as a share of it: mean over the frames
    with a detection, NaN without any."""
    has = np.isfinite(found).all(1)
    sides = [np.sqrt(np.prod(boxes[has, 2:] - boxes[has, :2], axis=1)) for boxes in (found, target)]
    return float(np.abs(sides[0] / sides[1] - 1).mean()) if has.any() else float("nan")


def perfect(one: Case) -> Outcome:
    """The truth as an outcome: what the figures can come to at best."""
    region = one.truth.masks[0] | one.clip.masks[0]
    found = Located(one.clip.masks[0], one.clip.boxes[0])
    flat = (np.zeros((len(region), 1, 1), np.float32),)
    return Outcome(
        one.truth.frames, region.astype(np.float32), (found,), (one.targets,), flat, flat, None, one.clip.frames, ()
    )


def check_size(outline: Outline, one: Case) -> None:
    """Raises UsageError where the model sees the clip at another size than its truth is drawn at."""
    size = outline.fit(len(one.clip.frames), *one.clip.frames.shape[1:3])
    if size[1:] != one.clip.frames.shape[1:3]:
        raise UsageError(
            f"{outline.name} sees {size.width}x{size.height}, but the truth is drawn at 128x128: "
            "measure a model of that size"
        )


Report = dict[str, list[dict[str, float]]]
"""For each way, one dict of figures a clip."""


def evaluate(
    backbone: Backbone,
    outline: Outline,
    seeds: Sequence[int],
    ways: Sequence[Way],
    how: InvertSettings,
    *,
    others: int,
    tell: Callable[[str], None],
    keep: Callable[[Case, Way, Outcome], None] | None = None,
) -> Report:
    """Invert every seed's clip once, replay it, and edit it in the first way, the first `others` clips in all ways.

    `keep` is shown each outcome.
    """
    report: Report = {"replay": [], PERFECT: [], **{way.name: [] for way in ways}}
    for number, seed in enumerate(seeds):
        one = case(seed)
        clock = Clock()
        check_size(outline, one)
        seen = one.clip.frames
        with clock("invert"):
            inversion = invert(backbone, backbone.encode(seen), one.clip.caption, how)
        cost = {"inversion_forwards": float(inversion.forwards), "inversion_backwards": float(inversion.backwards)}
        report["replay"].append(replay_figures(backbone, one, inversion) | cost | clock.seconds)
        report[PERFECT].append(edit_figures(backbone, one, perfect(one), Clock()))
        flops = forward_flops(backbone, inversion.clean)
        for way in ways if number < others else ways[:1]:
            outcome, figures = measure(backbone, outline, one, inversion, way, flops=flops)
            report[way.name].append(figures)
            if keep:
                keep(one, way, outcome)
        first = report[ways[0].name][-1]
        tell(f"{seed}: {one.clip.caption}: CD {first['cd']:.3f}, mIoU {first['miou']:.2f}, ghost {first['ghost']:.3f}")
    return report


def measure(
    backbone: Backbone, outline: Outline, one: Case, inversion: Inversion, way: Way, *, flops: float
) -> tuple[Outcome, dict[str, float]]:
    """Edit an inverted case in one way: what it came to, and its figures with its cost. `flops`: of one pass."""
    clock = Clock()
    brief = brief_of(outline, one, way.settings)
    outcome = edit_frames(brief, backbone, inversion, one.clip.frames, clock, parts=way.parts)
    figures = edit_figures(backbone, one, outcome, clock)
    return outcome, figures | tflop(backbone, figures, flops)


def tflop(backbone: Backbone, figures: Mapping[str, float], flops: float) -> dict[str, float]:
    """What an edit's passes come to, a pass of the whole network being `flops` operations."""
    passes = figures.get("forwards", 0.0) + gradient_share(backbone) * figures.get("gradient_passes", 0.0)
    return {"tflop": passes * flops / 1e12}
