"""The edited branch's network: its noise and its energy, under the prompt as it was or as its words became."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from vxedit.edit.attention import capture_words
from vxedit.edit.objective import Aim, Weights, energy_of
from vxedit.edit.sharing import Borrowing, Cover, Lent, SharingSettings, sharing_layers
from vxedit.edit.task import Task
from vxedit.edit.word_control import TakeoverSettings, WordDenoiser
from vxedit.invert.inversion import denoiser

FROM_SOURCE = ("size", "shape", "appearance")
"""Energies that compare with the source's own attention."""


class Branch:
    """Predictions for one task. `scale` None: the inversion's own. `cover`: what is where, for places to borrow the
    source's keys and values by; None: they don't. `forwards` counts passes without a gradient."""

    def __init__(
        self,
        task: Task,
        weights: Weights,
        settings: TakeoverSettings,
        *,
        scale: float | None,
        cover: Cover | None = None,
        sharing: SharingSettings | None = None,
    ) -> None:
        self.task, self.weights = task, weights
        self._plain = denoiser(task.backbone, task.inversion, scale)
        self._words: WordDenoiser | None = None
        self._embeds = self._plain.conditional
        self._columns = [subject.columns for subject in task.subjects]
        if task.words is not None:
            self._words = WordDenoiser(task.backbone, task.inversion, task.words, scale=scale, settings=settings)
            self._embeds = task.backbone.text(task.words.target).embeds
            self._columns = [task.words.carried(columns) for columns in self._columns]
        pairs = enumerate(zip(task.aims(), task.origins(), strict=True))
        self._aims = [Aim(boxes, order, source_boxes=origins) for order, (boxes, origins) in pairs]
        self._seen = 0
        self._cover, self._sharing = cover, sharing or SharingSettings()
        self._lenders = () if cover is None else sharing_layers(task.backbone, self._sharing.layers)

    @property
    def forwards(self) -> int:
        """Passes of the network without a gradient, those cut short included."""
        return self._plain.forwards + (self._words.forwards if self._words else 0) + self._seen

    def noise(self, x: Tensor, i: int, source: Callable[[int], Tensor]) -> Tensor:
        """The guided noise of x at step i; `source` gives the clip that words are taken over from."""
        if self._words is not None:
            return self._words(x, i, source(i))
        if self._cover is None or not self._lenders or i < self._sharing.start * len(self.task.inversion.schedule):
            return self._plain(x, i)
        backbone, lent = self.task.backbone, Lent(self._lenders)
        with torch.no_grad(), backbone.controlled(lent):
            self._plain.noise(self.task.inversion.pivot(i), i, self._plain.conditional)
        with backbone.controlled(Borrowing(lent, self._cover)):
            return self._plain(x, i)

    def blended(self, x: Tensor, i: int, rest: Tensor) -> Tensor:
        """x after step i, what is to be left of the source, `rest`, where no word that changed is looked at."""
        return x if self._words is None else self._words.blended(x, i, rest)

    def energy(self, i: int) -> Callable[[Tensor], Tensor]:
        """The energy (f,) of latents (1, C, f, h, w) at step i: what the words' attention lacks of its aims."""
        backbone, t = self.task.backbone, self.task.inversion.schedule.timesteps[i]
        aims = self._with_source(i)
        features = self.weights.appearance > 0

        def energy(x: Tensor) -> Tensor:
            with capture_words(backbone, self._columns, stop=True, features=features) as seen:
                backbone.predict(x, t, self._embeds)
            return energy_of(seen.maps, aims, self.weights, features=seen.features if features else None)

        return energy

    @torch.no_grad()
    def _with_source(self, i: int) -> list[Aim]:
        """The aims, with what the source's own pass at step i shows where an energy asks for it."""
        if not any(getattr(self.weights, name) for name in FROM_SOURCE):
            return self._aims
        self._seen += 1
        backbone, inversion = self.task.backbone, self.task.inversion
        words = [subject.columns for subject in self.task.subjects]
        with capture_words(backbone, words, stop=True, features=True) as seen:
            backbone.predict(inversion.pivot(i), inversion.schedule.timesteps[i], self._plain.conditional)
        return [
            replace(aim, source={name: maps[:, k] for name, maps in seen.maps.items()}, features=seen.features)
            for k, aim in enumerate(self._aims)
        ]
