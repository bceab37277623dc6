"""Edits of unseen rendered clips, scored against the truth: what the issue of moving an object comes to in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import Outline
from vxedit.backbones.tokens import columns
from vxedit.clip import Clip
from vxedit.edit.locate import Located
from vxedit.edit.path import parse_path
from vxedit.edit.real import Parts
from vxedit.errors import UsageError
from vxedit.evaluate.model import forward_flops, gradient_share
from vxedit.invert.inversion import Inversion, invert, replay_inversion
from vxedit.io.prompts import Prompt
from vxedit.job import EditSettings, InvertSettings, RealJob
from vxedit.plan import Plan
from vxedit.real import Clock, Outcome, edit_frames
from vxedit.render.scene import Rendered, Scene, moved, random_scene, render
from vxedit.score.boxes import covered, score_boxes
from vxedit.score.cost import peak_memory
from vxedit.score.detect import detect
from vxedit.score.fidelity import identity, psnr
from vxedit.score.flicker import flicker
from vxedit.score.ghost import ghost

FPS = Fraction(8)


@dataclass(frozen=True)
class Row:
    """One way of editing that is measured: its parts and its settings."""

    name: str
    parts: Parts = field(default_factory=Parts)
    settings: EditSettings = field(default_factory=EditSettings)


OURS = Row("vxedit")
PERFECT = "a perfect edit"
PAPER = Row(
    "guidance alone (the paper's recipe)",
    Parts(transport=False, anchor=False, pinning=False),
    EditSettings(strength=1.0),
)
ROWS = (
    OURS,
    PAPER,
    Row("guidance and pinning", Parts(transport=False, anchor=False), EditSettings(strength=1.0)),
    Row("without guidance", Parts(guidance=False)),
    Row("without the anchor", Parts(anchor=False)),
)


@dataclass(frozen=True)
class Case:
    """A rendered clip, its truth, and the path asked of it; `targets` (F, 4) are the true box's size at the path's
    centres.
    `truth`: the clip as a perfect edit would leave it."""

    seed: int
    scene: Scene
    clip: Rendered
    path: str
    targets: np.ndarray
    truth: Rendered


def case(seed: int) -> Case:
    """An unseen clip with one object and a random path at least an eighth of the frame, on average, from its own
    track."""
    scene = random_scene(seed, split="test", actors=1)
    clip = render(scene)
    rng = np.random.default_rng([seed, 99])
    boxes = clip.boxes[0]
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = sizes.max(0) / 2 + 0.01
    time = np.linspace(0, 1, len(boxes))[:, None]
    while True:
        ends = rng.uniform(half, 1 - half, (2, 2)).round(3)
        track = ends[0] + (ends[1] - ends[0]) * time
        if np.linalg.norm(track - centres, axis=1).mean() > 0.18:
            break
    targets = np.concatenate([track - sizes / 2, track + sizes / 2], 1)
    path = " ".join(f"{when}:{x:.3f},{y:.3f}" for when, (x, y) in zip(("0%", "100%"), ends, strict=True))
    truth = render(moved(scene, 0, scene.actors[0].centres + track - centres))
    return Case(seed, scene, clip, path, targets, truth)


def planned(outline: Outline, one: Case, settings: EditSettings, how: InvertSettings) -> Plan:
    """The case as a checked job, without files."""
    clip = one.clip
    obj = one.scene.actors[0].name
    job = RealJob(Path("rendered"), Path("edited.mp4"), obj, one.path, clip.caption, edit=settings, invert=how)
    frames = Clip(clip.frames, np.arange(len(clip.frames)) / float(FPS), FPS)
    pieces = outline.tokens(clip.caption)
    size = outline.fit(len(clip.frames), *clip.frames.shape[1:3])
    word = columns(pieces, clip.caption, obj)
    return Plan(job, frames, parse_path(one.path), Prompt(clip.caption, "given"), outline, size, word, pieces, None, ())


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
    """DESIGN's figures for one edited clip; a frame without a detection counts as an IoU of 0."""
    source, edited = one.clip.frames, outcome.frames
    seen = detect(edited, one.scene.actors[0].name)
    frame = (source.shape[1], source.shape[2])
    boxes = score_boxes(seen.boxes, one.targets, frame=frame)
    like = identity(edited, source, edited_boxes=seen.boxes, source_boxes=one.clip.boxes[0])
    outside, inside = outcome.alpha == 0, outcome.alpha > 0
    figures = {
        "cd": boxes.centre_distance,
        "miou": boxes.mean_iou,
        "ap50": boxes.ap50,
        "coverage": float(covered(seen.boxes)),
        "likeness": float(seen.likeness.mean()),
        "ghost": ghost(edited, source, one.clip.clean, source_mask=one.clip.masks[0], target_mask=one.truth.masks[0]),
        "identity_db": like.psnr,
        "identity_ssim": like.ssim,
        "flicker": flicker(edited, source),
        "truth_db": psnr(edited, one.truth.frames, mask=inside) if inside.any() else float("nan"),
        "background_db": psnr(edited, source, mask=outside),
        "mask_iou": float(
            (outcome.found.masks & one.clip.masks[0]).sum() / (outcome.found.masks | one.clip.masks[0]).sum()
        ),
        "seconds": sum(clock.seconds.values()),
        "peak_gb": peak_memory() / 1e9,
    }
    if outcome.edited is not None:
        made = backbone.decode(outcome.edited.latents, len(source))
        figures["background_made_db"] = psnr(made, source, mask=outside)
        figures["background_vae_db"] = psnr(outcome.reconstruction, source, mask=outside)
        figures["forwards"] = float(outcome.edited.forwards)
        figures["gradient_passes"] = float(outcome.edited.guided)
    return figures


def _perfect(one: Case, plan: Plan) -> Outcome:
    """The truth as an outcome: what the figures can come to at best."""
    region = one.truth.masks[0] | one.clip.masks[0]
    found = Located(one.clip.masks[0], one.clip.boxes[0])
    nothing = np.zeros((len(region), 1, 1), np.float32)
    return Outcome(
        one.truth.frames, region.astype(np.float32), found, one.targets, nothing, nothing, None, one.clip.frames, ()
    )


Report = dict[str, list[dict[str, float]]]
"""For each row, one dict of figures a clip."""


def evaluate(
    backbone: Backbone,
    outline: Outline,
    seeds: Sequence[int],
    rows: Sequence[Row],
    how: InvertSettings,
    *,
    others: int,
    tell: Callable[[str], None],
    keep: Callable[[Case, Row, Outcome], None] | None = None,
) -> Report:
    """Invert every seed's clip once, replay it, and edit it with the first row, the first `others` clips with all rows.

    `keep` is shown each outcome.
    """
    report: Report = {"replay": [], PERFECT: [], **{row.name: [] for row in rows}}
    for number, seed in enumerate(seeds):
        one = case(seed)
        clock = Clock()
        plan = planned(outline, one, OURS.settings, how)
        if plan.size[1:] != one.clip.frames.shape[1:3]:
            raise UsageError(
                f"{outline.name} sees {plan.size.width}x{plan.size.height}, but the truth is drawn at 128x128: "
                "measure a model of that size"
            )
        seen = one.clip.frames
        with clock("invert"):
            inversion = invert(backbone, backbone.encode(seen), plan.prompt.text, how)
        flops = forward_flops(backbone, inversion.clean)
        cost = {"inversion_forwards": float(inversion.forwards), "inversion_backwards": float(inversion.backwards)}
        report["replay"].append(replay_figures(backbone, one, inversion) | cost | clock.seconds)
        report[PERFECT].append(edit_figures(backbone, one, _perfect(one, plan), Clock()))
        for row in rows if number < others else rows[:1]:
            clock = Clock()
            outcome = edit_frames(
                planned(outline, one, row.settings, how), backbone, inversion, seen, clock, parts=row.parts
            )
            figures = edit_figures(backbone, one, outcome, clock)
            passes = figures.get("forwards", 0.0) + gradient_share(backbone) * figures.get("gradient_passes", 0.0)
            report[row.name].append(figures | {"tflop": passes * flops / 1e12})
            if keep:
                keep(one, row, outcome)
        first = report[rows[0].name][-1]
        tell(f"{seed}: {one.clip.caption}: CD {first['cd']:.3f}, mIoU {first['miou']:.2f}, ghost {first['ghost']:.3f}")
    return report
