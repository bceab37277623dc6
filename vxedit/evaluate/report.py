"""The figures as tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vxedit.backbones.protocol import Backbone
from vxedit.evaluate.case import Case
from vxedit.evaluate.edits import Report
from vxedit.evaluate.model import attention_share, generated_clips, vae_figures
from vxedit.io.pictures import draw_boxes, heat, sheet
from vxedit.make import Outcome
from vxedit.score.detect import detect
from vxedit.score.summary import Row, Table, mean_interval

Figures = dict[str, list[float]]

EDIT_FIGURES = (
    *(
        "cd",
        "cd_all",
        "miou",
        "ap50",
        "coverage",
        "ghost",
        "likeness",
        "identity_db",
        "identity_ssim",
        "flicker",
        "truth_db",
    ),
    *("background_made_db", "background_vae_db", "background_db", "mask_iou"),
    *("forwards", "gradient_passes", "tflop", "seconds", "peak_gb"),
)
REPLAY_FIGURES = (
    *("replay_vae_db", "replay_honest_db", "replay_pinned_db", "replay_honest_to_vae_db"),
    *("inversion_forwards", "inversion_backwards", "invert"),
)


def model_figures(backbone: Backbone, seeds: Sequence[int], generated: int, tell: Callable[[str], None]) -> Figures:
    """The autoencoder, the word's attention by layer and over all steering layers, and generated clips, a value a
    clip."""
    figures: Figures = dict(vae_figures(backbone, seeds))
    tell("autoencoder measured")
    shares = attention_share(backbone, seeds)
    area = shares.pop("area")
    figures |= {"box_area": area} | {f"share {name}": values for name, values in shares.items()}
    figures["share, mean of layers"] = [float(np.mean(values)) for values in zip(*shares.values(), strict=True)]
    tell("attention measured")
    for drawn in generated_clips(backbone, generated, 0):
        kind = "generated, unseen pair" if drawn.unseen else "generated, trained pair"
        figures.setdefault(kind, []).append(float(detect(drawn.frames, drawn.name).found.mean()))
    return figures


def model_table(figures: Figures) -> Table:
    """One row a figure."""
    rows = tuple(Row(name, {"mean": mean_interval(values)}) for name, values in figures.items())
    return Table(("mean",), rows)


def replay_table(report: Report) -> Table:
    """The autoencoder, honest and pinned replay, and what they cost: a row a figure."""
    return _table(REPLAY_FIGURES, {"replay": report["replay"]})


def edit_table(report: Report) -> Table:
    """A column a way of editing, a row a figure."""
    return _table(EDIT_FIGURES, {name: found for name, found in report.items() if name != "replay"})


def _table(names: Sequence[str], ways: Report) -> Table:
    rows = [
        Row(name, {way: mean_interval([clip[name] for clip in clips if name in clip]) for way, clips in ways.items()})
        for name in names
    ]
    return Table(tuple(ways), tuple(rows))


def sheet_of(case: Case, outcome: Outcome) -> np.ndarray:
    """A picture of an edit beside the clip as a perfect edit would leave it."""
    asked = draw_boxes(case.clip.frames, case.targets, trail=True)
    rows = [("before", case.clip.frames), ("path", asked), ("after", outcome.frames), ("truth", case.truth.frames)]
    return sheet([*rows, ("attention", heat(outcome.frames, outcome.attention_after[0]))])
