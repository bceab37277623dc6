"""What looks for an object in a clip by its name. Detectors know nothing of the model that made the clip."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from vxedit.errors import ModelError, UsageError
from vxedit.render.objects import DRAWINGS
from vxedit.score.detect import detect
from vxedit.score.job import OWL
from vxedit.score.weights import at_hand

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """boxes (F, 4) xyxy in [0, 1], NaN where nothing was found; scores (F,) in [0, 1] of the best guess in any case."""

    boxes: np.ndarray
    scores: np.ndarray


class Detector(Protocol):
    """Finds one object a frame."""

    @property
    def name(self) -> str:
        """What the record of a score calls it."""

    def find(self, frames: np.ndarray, word: str) -> Found:
        """The most likely `word` in each of frames uint8 (F, H, W, 3)."""


class Template:
    """The renderer's own objects, by their drawings (`vxedit.score.detect`)."""

    name = "template"

    def find(self, frames: np.ndarray, word: str) -> Found:
        """As Detector.find. Raises UsageError for a word that the renderer does not draw."""
        seen = detect(frames, drawn(word))
        return Found(seen.boxes, seen.likeness)


def drawn(word: str) -> str:
    """The drawing that a word names, in any case. Raises UsageError where there is none."""
    name = " ".join(word.lower().split())
    if name not in DRAWINGS:
        raise UsageError(
            f"--detector template has no {word!r}; it knows {', '.join(DRAWINGS)}: name one of them, or take "
            "--detector owl"
        )
    return name


def choose(kind: str, word: str, *, embedded: bool, owl: str = OWL, allow_pickle: bool = False) -> str:
    """Which detector looks for `word`, "template" or "owl", from what was asked for: one of these, or "auto".

    auto: the template where the renderer draws the word and the clip was made by the embedded model (`embedded`), else
    OWL-ViT where its weights are here. Nothing is loaded. Raises UsageError for a template that there is none of, and
    ModelError where auto finds neither.
    """
    if kind == "owl":
        return kind
    if kind == "template":
        drawn(word)
        return kind
    if embedded and " ".join(word.lower().split()) in DRAWINGS:
        return "template"
    if at_hand(owl, allow_pickle=allow_pickle):
        return "owl"
    made = "its clip was not made with the embedded model" if word.lower() in DRAWINGS else "the renderer draws none"
    raise ModelError(
        f"no detector for {word!r}: --detector template is not for it ({made}), and --detector owl needs weights: run "
        f"`hf download {owl}` where there is a network, or give their folder with --owl"
    )


class Detectors:
    """The detectors by name, each loaded when it is first asked for."""

    def __init__(self, *, owl: str = OWL, device: torch.device, allow_pickle: bool = False) -> None:
        self._owl, self._device, self._allow_pickle = owl, device, allow_pickle
        self._ready: dict[str, Detector] = {}

    def __getitem__(self, name: str) -> Detector:
        if name not in self._ready:
            logger.info("loading the %s detector", name)
            self._ready[name] = Template() if name == "template" else self._load_owl()
        return self._ready[name]

    def _load_owl(self) -> Detector:
        from vxedit.score.owl import load_owl

        return load_owl(self._owl, device=self._device, allow_pickle=self._allow_pickle)
