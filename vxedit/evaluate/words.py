"""Words that become others: whether the new object is drawn where the old one was, and nothing else changes."""

from __future__ import annotations

import numpy as np

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import Outline
from vxedit.backbones.tokens import columns
from vxedit.clip import Clip
from vxedit.edit.locate import grown
from vxedit.edit.path import parse_path
from vxedit.edit.words import word_edit
from vxedit.evaluate.case import FPS, Case
from vxedit.evaluate.edits import AWAY, tflop
from vxedit.invert.inversion import Inversion
from vxedit.job import EditSettings
from vxedit.make import Brief, Clock, Outcome, edit_frames
from vxedit.objects import Wanted
from vxedit.render.objects import DRAWINGS
from vxedit.score.detect import detect
from vxedit.score.fidelity import psnr
from vxedit.score.flicker import flicker

NEAR = 0.15
"""How far, the frame's diagonal being 1, the new object's centre may be from the old one's: half an object."""


def other_word(seed: int, name: str) -> str:
    """What the object of a seed is to become: another that can be drawn, at random."""
    others = [other for other in DRAWINGS if other != name]
    return others[int(np.random.default_rng([seed, 11]).integers(len(others)))]


def measure_word(
    backbone: Backbone, outline: Outline, one: Case, inversion: Inversion, *, flops: float
) -> tuple[Outcome, dict[str, float]]:
    """Replace the word of an inverted case's object, which stays where it is: what it came to, and its figures.

    became: the share of the frames in which the new object is found where the old one is in the source. stayed: that in
    which the old one is still found there. new_likeness, old_likeness: how like their templates the best guesses are.
    """
    clock, clip, old = Clock(), one.clip, one.scene.actors[0].name
    new = other_word(one.seed, old)
    edit = word_edit(outline.tokens, clip.caption, replace={old: new})
    wanted = Wanted(old, columns(outline.tokens(clip.caption), clip.caption, old), parse_path("by:0,0"))
    frames = Clip(clip.frames, np.arange(len(clip.frames)) / float(FPS), FPS)
    brief = Brief(frames, (wanted,), EditSettings(), edit)
    outcome = edit_frames(brief, backbone, inversion, clip.frames, clock)
    seen = {name: detect(outcome.frames, name) for name in (new, old)}
    place, side = (clip.boxes[0, :, :2] + clip.boxes[0, :, 2:]) / 2, clip.frames.shape[2]
    there = {name: _near(found.boxes, place) for name, found in seen.items()}
    away = ~np.stack([grown(frame, 2 * AWAY * side / 128) for frame in clip.masks[0]])
    figures = {
        "became": float(there[new].mean()),
        "stayed": float(there[old].mean()),
        "new_likeness": float(seen[new].likeness.mean()),
        "old_likeness": float(seen[old].likeness.mean()),
        "background_db": psnr(outcome.frames, clip.frames, mask=away) if away.any() else float("nan"),
        "flicker": flicker(outcome.frames, clip.frames),
        "seconds": sum(clock.seconds.values()),
    }
    if outcome.edited is not None:
        figures |= {"forwards": float(outcome.edited.forwards), "gradient_passes": float(outcome.edited.guided)}
    return outcome, figures | tflop(backbone, figures, flops)


def _near(boxes: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(F,) bool: the frames whose found box (F, 4), NaN for none, has its centre near `place` (F, 2)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    with np.errstate(invalid="ignore"):
        return np.linalg.norm(centres - place, axis=1) / np.sqrt(2) < NEAR
