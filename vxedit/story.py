"""What an edit did, without its frames: what of it is kept, however long the clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vxedit.edit.locate import concentration
from vxedit.make import Brief, Outcome
from vxedit.score.fidelity import psnr


@dataclass(frozen=True)
class Story:
    """What an edit did, without its frames. Boxes (F, 4) in shares of the frame and attention maps (F, h, w), one an
    object; mean energies of the attention before and after, None where there was no guidance; `vae_psnr_db` of the
    autoencoder on the source, and `concentration` of the first object's attention; passes of the network."""

    found: tuple[np.ndarray, ...]
    targets: tuple[np.ndarray, ...]
    attention_before: tuple[np.ndarray, ...]
    attention_after: tuple[np.ndarray, ...]
    energy_before: float | None
    energy_after: float | None
    vae_psnr_db: float
    concentration: float
    forwards: int
    gradient_passes: int
    warnings: tuple[str, ...] = ()


def told(brief: Brief, outcome: Outcome, seen: np.ndarray) -> Story:
    """What an outcome has to tell; `seen` uint8 (F, H, W, 3): the clip at the model's size."""
    edited = outcome.edited
    energies = [None if edited is None else edited.energy_before, None if edited is None else edited.energy_after]
    before, after = (None if energy is None else float(energy.mean()) for energy in energies)
    return Story(
        found=tuple(brief.in_frame(found.boxes) for found in outcome.found),
        targets=tuple(brief.in_frame(boxes) for boxes in outcome.targets),
        attention_before=outcome.attention_before,
        attention_after=outcome.attention_after,
        energy_before=before,
        energy_after=after,
        vae_psnr_db=psnr(outcome.reconstruction, seen),
        concentration=float(concentration(outcome.attention_before[0]).mean()),
        forwards=edited.forwards if edited else 0,
        gradient_passes=edited.guided if edited else 0,
        warnings=outcome.warnings,
    )


def joined(stories: Sequence[Story], shared: Sequence[int]) -> Story:
    """The story of a clip from those of its windows, of each of which the first `shared` frames are the end of the one
    before and have been told."""
    if len(stories) == 1:
        return stories[0]

    def together(name: str) -> tuple[np.ndarray, ...]:
        own = [[one[skip:] for one in getattr(story, name)] for story, skip in zip(stories, shared, strict=True)]
        return tuple(np.concatenate(pieces) for pieces in zip(*own, strict=True))

    def mean(name: str) -> float | None:
        known = [getattr(story, name) for story in stories if getattr(story, name) is not None]
        return float(np.mean(known)) if known else None

    return Story(
        found=together("found"),
        targets=together("targets"),
        attention_before=together("attention_before"),
        attention_after=together("attention_after"),
        energy_before=mean("energy_before"),
        energy_after=mean("energy_after"),
        vae_psnr_db=float(np.mean([story.vae_psnr_db for story in stories])),
        concentration=float(np.mean([story.concentration for story in stories])),
        forwards=sum(story.forwards for story in stories),
        gradient_passes=sum(story.gradient_passes for story in stories),
        warnings=tuple(dict.fromkeys(said for story in stories for said in story.warnings)),
    )
