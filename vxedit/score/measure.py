"""One clip's figures, from its frames, the boxes found in them and the boxes that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vxedit.score import published
from vxedit.score.background import background, outside
from vxedit.score.boxes import detected, score_boxes
from vxedit.score.fidelity import identity
from vxedit.score.flicker import flicker
from vxedit.score.residue import residue

NAN = float("nan")

_LEAST_SIDE = 32  # optical flow's, in pixels

Figures = dict[str, float]
"""Figures by name, NaN where a clip has no answer."""


@dataclass(frozen=True)
class Seen:
    """One object: the `word` looked for, the `detector`'s name and its `scores` (F,), and boxes (F, 4) xyxy in [0, 1]:
    `found` with NaN where nothing was, `target` with NaN where nothing was asked for, `source` None where not known."""

    word: str
    detector: str
    found: np.ndarray
    scores: np.ndarray
    target: np.ndarray
    source: np.ndarray | None = None


def place_figures(
    found: np.ndarray, target: np.ndarray, *, frame: tuple[int, int]
) -> tuple[Figures, published.Peekaboo]:
    """Whether one object is where it should be, by every protocol, over the frames that have a target.

    found, target: (F, 4), NaN where there is none; frame: (height, width). The names that begin with `peekaboo_code`
    and `trailblazer_code` are `vxedit.score.published`'s, all others `vxedit.score.boxes`'s; Peekaboo's repaired mIoU
    is NaN for a clip that is not covered, as its paper takes the mean over covered clips.

    Raises ValueError where no frame has a target.
    """
    known = ~np.isnan(target).any(1)
    found, target = found[known], target[known]
    ours = score_boxes(found, target, frame=frame)
    theirs = published.peekaboo(found, target)
    return {
        "cd": ours.centre_distance,
        "miou": ours.mean_iou,
        "ap50": ours.ap50,
        "coverage": float(ours.covered),
        "detected": float(detected(found).mean()),
        "cd_penalised": ours.penalised_distance,
        "peekaboo_code_miou": theirs.volume_iou,
        "peekaboo_code_ap50": theirs.ap50,
        "peekaboo_code_cd": theirs.centre_distance,
        "peekaboo_code_coverage": float(theirs.covered),
        "peekaboo_miou": ours.mean_iou if ours.covered else NAN,
        "peekaboo_ap50": ours.ap50,
        "peekaboo_cd": ours.penalised_distance,
        "peekaboo_coverage": float(ours.covered),
        "trailblazer_code_miou": published.trailblazer(found, target),
        "trailblazer_miou": ours.detected_iou,
    }, theirs


def object_figures(edited: np.ndarray, source: np.ndarray, one: Seen, others: Sequence[Seen]) -> Figures:
    """What became of one object: what is left of it where it was, and how like its source it is. Clips: uint8
    (F, H, W, 3) of one shape. All NaN where its place in the source is not known."""
    if one.source is None:
        return {"residue": NAN, "identity_db": NAN, "identity_ssim": NAN}
    there = [boxes for other in others for boxes in (other.source, other.target) if boxes is not None]
    left = residue(edited, source, source_boxes=one.source, target_boxes=one.target, others=there)
    like = identity(edited, source, edited_boxes=one.found, source_boxes=one.source)
    return {"residue": left, "identity_db": like.psnr, "identity_ssim": like.ssim}


def rest_figures(edited: np.ndarray, source: np.ndarray, mask: np.ndarray) -> Figures:
    """What became of the rest of the clip: the background, over `mask` bool (F, H, W), and its steadiness."""
    kept = background(edited, source, mask)
    steady = flicker(edited, source) if min(edited.shape[1:3]) >= _LEAST_SIDE else NAN
    return {
        "background_db": kept.psnr,
        "background_ssim": kept.ssim,
        "background_share": kept.share,
        "flicker": steady,
    }


def edit_outside(seen: Sequence[Seen], height: int, width: int, *, margin: float) -> np.ndarray:
    """bool (F, height, width): outside every object's place before and after; see `vxedit.score.background.outside`."""
    boxes = [each for one in seen for each in (one.source, one.target) if each is not None]
    return outside(boxes, height, width, margin=margin)


def mean_figures(parts: Sequence[Mapping[str, float]]) -> Figures:
    """Each figure's mean over the parts that have it."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _mean([part[name] for part in parts if name in part]) for name in names}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else NAN
