"""What an editor is given, whichever way it goes about it: a clip's trajectory, its objects, where they should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.protocol import Backbone
from vxedit.edit.energy import rasterise
from vxedit.edit.locate import Located
from vxedit.edit.region import Region
from vxedit.edit.scene import Cutout, Moved, Scene
from vxedit.edit.words import WordEdit
from vxedit.invert.inversion import Inversion


@dataclass(frozen=True)
class Subject:
    """An object that is moved: its `word` and the `columns` of its tokens, where it was `found` in the source, and
    the `targets` (F, 4), boxes xyxy in [0, 1], where it should be. `cutout`: the other object that it becomes, if it
    does, at the size of the task's frames."""

    word: str
    columns: tuple[int, ...]
    found: Located
    targets: np.ndarray
    cutout: Cutout | None = None

    @property
    def moved(self) -> Moved:
        """What is to be laid of it."""
        return Moved(self.found, self.targets, self.cutout)


@dataclass(frozen=True)
class Task:
    """One edit. `inversion`: the clip's trajectory, inverted from a real clip or left by the generation of a new one.
    `frames` uint8 (F, H, W, 3): that clip at the model's size. `subjects`: where they overlap at their targets, a later
    one hides an earlier one. `generator`: for whatever is drawn at random. `words`: what becomes of the prompt's words;
    `settled` uint8 (n, H, W, 3): the first frames as they are already made, where these are a piece of a longer clip.
    Of both vxedit's own recipe alone knows what to do with them. `progress`: steps done and in all."""

    backbone: Backbone
    inversion: Inversion
    frames: np.ndarray
    subjects: tuple[Subject, ...]
    generator: torch.Generator
    words: WordEdit | None = None
    settled: np.ndarray | None = None
    progress: Callable[[int, int], None] | None = None

    @property
    def spans(self) -> tuple[tuple[int, ...], ...]:
        """For every frame of the latents, the frames that it covers."""
        return self.backbone.spans(len(self.frames))

    def aims(self) -> list[np.ndarray]:
        """Each subject's targets as boxes of the latents' frames, (f, 4): the mean over the frames that one covers."""
        return [np.stack([subject.targets[list(s)].mean(0) for s in self.spans]) for subject in self.subjects]

    def origins(self) -> list[np.ndarray]:
        """Each subject's boxes in the source, (f, 4) like `aims`."""
        return [np.stack([subject.found.boxes[list(s)].mean(0) for s in self.spans]) for subject in self.subjects]

    def tell(self, done: int, total: int) -> None:
        """Report progress to whoever asked for it."""
        if self.progress:
            self.progress(done, total)


@dataclass(frozen=True)
class Edited:
    """`latents` (1, C, f, h, w) of the edited clip; `expected`, those of the scene as it was laid, and `held` (F, H, W)
    in [0, 1], where that scene is vouched for, or None where the editor lays none; its `region` and `scene`; energies
    (f,) of the attention before and after guidance; forward passes of the network, and passes with a gradient
    (early-stopped)."""

    latents: Tensor
    expected: Tensor | None
    held: np.ndarray | None
    region: Region
    scene: Scene | None
    energy_before: Tensor | None
    energy_after: Tensor | None
    forwards: int
    guided: int


def everywhere(task: Task) -> Region:
    """The region of an editor that makes the whole frame anew: all of the result is taken from it."""
    height, width = task.frames.shape[1:3]
    source = np.logical_or.reduce([subject.found.masks for subject in task.subjects]).astype(np.float32)
    target = np.max([rasterise(subject.targets, height, width).numpy() for subject in task.subjects], 0)
    return Region(source, target, np.clip(source - target, 0, 1), np.ones_like(source))
