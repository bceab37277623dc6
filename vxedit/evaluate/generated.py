"""Generated clips and their twins: whether the object is drawn, and whether it goes where it is asked to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import Outline
from vxedit.backbones.tokens import columns
from vxedit.clip import Clip
from vxedit.edit.locate import grown
from vxedit.edit.path import parse_path
from vxedit.evaluate.case import FPS
from vxedit.evaluate.edits import AWAY, Way, side_ratio, tflop
from vxedit.evaluate.sample import sample
from vxedit.invert.inversion import Inversion
from vxedit.job import GenerateSettings
from vxedit.make import Brief, Clock, Outcome, edit_frames
from vxedit.objects import Wanted
from vxedit.render.backgrounds import BACKGROUNDS
from vxedit.render.objects import DRAWINGS
from vxedit.render.scene import never_trained
from vxedit.score.background import boxes_mask
from vxedit.score.boxes import covered, score_boxes
from vxedit.score.cost import peak_memory
from vxedit.score.detect import Detections, detect
from vxedit.score.fidelity import identity, psnr
from vxedit.score.flicker import flicker
from vxedit.score.residue import residue


@dataclass(frozen=True)
class Drawn:
    """A generated clip: what its prompt asked for, whether that pair of object and place was never trained on, its
    trajectory and its frames, those frames through the autoencoder, and the object found in them."""

    seed: int
    name: str
    place: str
    unseen: bool
    path: str
    made: Inversion
    frames: np.ndarray
    again: np.ndarray
    seen: Detections

    @property
    def prompt(self) -> str:
        """The clip's caption."""
        return self.made.prompt


def drawn(backbone: Backbone, seed: int, how: GenerateSettings | None = None) -> Drawn:
    """Generate the clip of a seed, one object over one background; odd seeds take pairs that training never saw."""
    rng = np.random.default_rng([seed, 3])
    pairs = [
        (name, place) for name in DRAWINGS for place in BACKGROUNDS if never_trained(name, place) == bool(seed % 2)
    ]
    name, place = pairs[int(rng.integers(len(pairs)))]
    prompt = f"{'an' if name[0] in 'aeiou' else 'a'} {name} over {place}"
    ends = rng.uniform(0.25, 0.75, (2, 2))
    path = " ".join(f"{when}:{x:.3f},{y:.3f}" for when, (x, y) in zip(("0%", "100%"), ends, strict=True))
    made = sample(backbone, prompt, name, torch.Generator().manual_seed(seed), how)
    frames = backbone.decode(made.clean, backbone.native.frames)
    again = backbone.decode(backbone.encode(frames), len(frames))
    return Drawn(seed, name, place, bool(seed % 2), path, made, frames, again, detect(frames, name))


def drawn_figures(one: Drawn) -> dict[str, float]:
    """The share of the frames in which the right object is found, and how like its template it is."""
    seen = one.seen
    return {"found": float(seen.found.mean()), "likeness": float(seen.likeness.mean()), "unseen": float(one.unseen)}


def measure_twin(
    backbone: Backbone, outline: Outline, one: Drawn, way: Way, *, flops: float
) -> tuple[Outcome, dict[str, float]]:
    """Edit a generated clip in one way: what it came to, and its figures with its cost, as `edits.edit_figures`. The
    source is the unedited twin; `residue` stands for the ghost, since nobody knows the background behind the object.
    `flops`: of one pass of the network."""
    clock = Clock()
    pieces = outline.tokens(one.prompt)
    wanted = Wanted(one.name, columns(pieces, one.prompt, one.name), parse_path(one.path))
    clip = Clip(one.frames, np.arange(len(one.frames)) / float(FPS), FPS)
    brief = Brief(clip, (wanted,), way.settings)
    outcome = edit_frames(brief, backbone, one.made, one.frames, clock, parts=way.parts)
    source, edited, targets = one.frames, outcome.frames, outcome.targets[0]
    seen, before = detect(edited, one.name), one.seen
    height, width = source.shape[1:3]
    boxes = score_boxes(seen.boxes, targets, frame=(height, width))
    like = identity(edited, source, edited_boxes=seen.boxes, source_boxes=before.boxes)
    touched = outcome.found[0].masks | boxes_mask(targets, height, width)
    away = ~np.stack([grown(frame, AWAY * width / 128) for frame in touched])
    figures = {
        "source_found": float(before.found.mean()),
        "cd": boxes.centre_distance,
        "cd_all": boxes.penalised_distance,
        "miou": boxes.mean_iou,
        "ap50": boxes.ap50,
        "coverage": float(covered(seen.boxes)),
        "likeness": float(seen.likeness.mean()),
        "ghost": residue(edited, source, source_boxes=outcome.found[0].boxes, target_boxes=targets),
        "identity_db": like.psnr,
        "identity_ssim": like.ssim,
        "flicker": flicker(edited, source),
        "side": side_ratio(seen.boxes, targets),
        "background_db": psnr(edited, source, mask=away) if away.any() else float("nan"),
        "background_vae_db": psnr(one.again, source, mask=away) if away.any() else float("nan"),
        "seconds": sum(clock.seconds.values()),
        "peak_gb": peak_memory() / 1e9,
    }
    if outcome.edited is not None:
        figures["forwards"] = float(outcome.edited.forwards)
        figures["gradient_passes"] = float(outcome.edited.guided)
        figures |= tflop(backbone, figures, flops)
    return outcome, figures
