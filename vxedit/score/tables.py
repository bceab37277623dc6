"""Scores as tables for reading and as JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vxedit.score.boxes import detected
from vxedit.score.files import ClipScore, ObjectScore, Scores
from vxedit.score.job import ProtocolName
from vxedit.score.measure import NAN, Figures
from vxedit.score.published import PeekabooMeans, peekaboo_means
from vxedit.score.summary import Mean, Row, Table, mean_interval

PLACE = {"cd": "CD", "miou": "mIoU", "ap50": "AP50", "coverage": "coverage"}
REST = {
    "background_db": "background dB",
    "background_ssim": "SSIM",
    "background_lpips": "LPIPS",
    "residue": "residue",
    "identity_db": "identity dB",
    "flicker": "flicker",
    "clip_text": "CLIP text",
    "clip_frames": "CLIP frames",
}
PEEKABOO_CODE = {
    "peekaboo_code_miou": "mIoU",
    "peekaboo_code_ap50": "AP50",
    "peekaboo_code_cd": "CD",
    "peekaboo_code_coverage": "coverage",
}
PEEKABOO = {"peekaboo_miou": "mIoU", "peekaboo_ap50": "AP50", "peekaboo_cd": "CD", "peekaboo_coverage": "coverage"}
TRAILBLAZER = {"trailblazer_code_miou": "mIoU of its code", "trailblazer_miou": "mIoU repaired"}

_DIGITS = {"background dB": 1, "identity dB": 1, "flicker": 2}

Titles = dict[str, Table]
"""Tables by their titles."""


def tables(scores: Scores, protocols: Sequence[ProtocolName]) -> Titles:
    """A row a clip, below it a row for each of its objects where it has several, and, for several clips, their mean
    with its 95 % bootstrap interval over clips. A column that no clip has a figure for is left out."""
    shown: Titles = {}
    if "ours" in protocols:
        shown["Place"] = _table(scores, PLACE, keep=True)
        rest = _table(scores, REST, keep=False)
        if rest.columns:
            shown["Background, object and motion, against the source"] = rest
    if "peekaboo" in protocols:
        shown["Peekaboo, as its code computes it"] = _table(scores, PEEKABOO_CODE, keep=True, weighted=True)
        shown["Peekaboo, repaired"] = _table(scores, PEEKABOO, keep=True)
    if "trailblazer" in protocols:
        shown["TrailBlazer"] = _table(scores, TRAILBLAZER, keep=True)
    return shown


def to_text(shown: Titles) -> str:
    """The tables under their titles."""
    return "\n\n".join(f"{title}\n{table.to_text()}" for title, table in shown.items())


def means(scores: Scores) -> dict[str, Mean]:
    """Every figure's mean over the clips that have it, with its 95 % bootstrap interval."""
    names = dict.fromkeys(name for clip in scores.clips for name in clip.figures)
    return {name: mean_interval([clip.figures.get(name, NAN) for clip in scores.clips]) for name in names}


def to_json(scores: Scores) -> dict[str, Any]:
    """Everything: each clip's figures, and each object's with the boxes that were found and asked for; the means; and
    Peekaboo's two lines as its code prints them. `vxedit.io.record.plain` makes JSON's own types of it."""
    weighted, plain = (asdict(_peekaboo(scores, weighted=flag)) for flag in (True, False))
    return {
        "clips": [_clip_json(clip) for clip in scores.clips],
        "means": {name: asdict(mean) for name, mean in means(scores).items()},
        "peekaboo_code": {"weighted": weighted, "unweighted": plain},
        "skipped": [{"clip": str(clip), "reason": reason} for clip, reason in scores.skipped],
    }


def _clip_json(clip: ClipScore) -> dict[str, Any]:
    objects = [_object_json(one) for one in clip.objects]
    return {"clip": str(clip.clip), "figures": clip.figures, "objects": objects, "warnings": list(clip.warnings)}


def _object_json(one: ObjectScore) -> dict[str, Any]:
    seen = one.seen
    return {
        "obj": seen.word,
        "detector": seen.detector,
        "figures": one.figures,
        "scores": seen.scores,
        "found": [box if has else None for box, has in zip(seen.found, detected(seen.found), strict=True)],
        "target": [box if has else None for box, has in zip(seen.target, detected(seen.target), strict=True)],
    }


def _table(scores: Scores, names: Mapping[str, str], *, keep: bool, weighted: bool = False) -> Table:
    """keep: also the columns that no clip has a figure for. weighted: with the line that Peekaboo's code weighs."""
    found = means(scores)
    columns = {name: label for name, label in names.items() if keep or (name in found and found[name].count)}
    rows = []
    for clip in scores.clips:
        rows.append(Row(clip.clip.name, _labelled(clip.figures, columns)))
        if len(clip.objects) > 1:
            rows += [Row(f"  {one.seen.word}", _labelled(one.figures, columns)) for one in clip.objects]
    if len(scores.clips) > 1:
        rows.append(Row("mean", {label: found[name] for name, label in columns.items()}))
    if weighted:
        line = _peekaboo(scores, weighted=True)
        ends = (line.mean_iou, line.ap50, line.centre_distance, line.coverage)
        rows.append(Row("weighted", dict(zip(names.values(), ends, strict=True))))
    return Table(tuple(columns.values()), tuple(rows), _DIGITS)


def _labelled(figures: Figures, columns: Mapping[str, str]) -> dict[str, float]:
    return {label: figures.get(name, NAN) for name, label in columns.items()}


def _peekaboo(scores: Scores, *, weighted: bool) -> PeekabooMeans:
    return peekaboo_means([one.peekaboo for clip in scores.clips for one in clip.objects], weighted=weighted)
