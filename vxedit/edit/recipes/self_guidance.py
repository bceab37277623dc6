"""Self-guidance: one object's shape is moved, every other shape and all looks are kept, by a term in the score.

Epstein et al., "Diffusion Self-Guidance for Controllable Image Generation", NeurIPS 2023 (arXiv 2306.00986).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.protocol import Piece
from vxedit.backbones.tokens import WORD
from vxedit.edit.attention import Capture, capture_words
from vxedit.edit.energy import normalised
from vxedit.edit.likeness import appearance, appearance_energy, carried, shape_energy
from vxedit.edit.recipes.gradient import Steered, alternates, regenerate, slope
from vxedit.edit.recipes.published import Published
from vxedit.edit.task import Edited, Task
from vxedit.invert.inversion import denoiser

SCALE = 750.0
OTHERS, LOOKS, MOVE = 1.5, 0.25, 2.0
"""v, and w0, w1, w2 of the energy."""

NAMELESS = (
    "a an the this that these those its his her their my our your some and or but nor with without of in on at by to "
    "from into onto over under above below behind beside near next between among through across along around against "
    "off up down out for as is are was were be being been it"
)
"""Articles, pronouns, conjunctions, prepositions and forms of to be: words that name nothing to be seen."""


def run(task: Task) -> Edited:
    """eps += v sigma dE/dx, sigma = sqrt(1 - abar), in the steps that `alternates` names. Energies are E of each
    frame; what the source looked like is read at the trajectory's own latents of the same level."""
    backbone, inversion, schedule = task.backbone, task.inversion, task.inversion.schedule
    denoise, origins, aims = denoiser(backbone, inversion), task.origins(), task.aims()
    words = [subject.columns for subject in task.subjects]
    words += other_words(inversion.prompt, backbone.tokens(inversion.prompt), words)

    def look(x: Tensor, i: int) -> Capture:
        with capture_words(backbone, words, stop=True, features=True) as seen:
            backbone.predict(x, schedule.timesteps[i], denoise.conditional)
        return seen

    def steer(x: Tensor, i: int) -> Steered | None:
        if not alternates(i, len(schedule)):
            return None
        with torch.no_grad():
            source = look(inversion.pivot(i), i)
        values, gradient = slope(lambda latents: energy_of(look(latents, i), source, origins, aims), x)
        return Steered(x, values, values, 1, score=score(gradient, schedule.abar[i]), forwards=1)

    return regenerate(task, denoise, steer)


def score(gradient: Tensor, abar: float) -> Tensor:
    """What the gradient of the energy adds to the noise at a level of signal `abar`: v sigma dE/dx."""
    return SCALE * (1 - abar) ** 0.5 * gradient


def energy_of(now: Capture, source: Capture, origins: Sequence[np.ndarray], aims: Sequence[np.ndarray]) -> Tensor:
    """E = w0 mean_o |shape_o - shape_o'| + w1 mean_o |look_o - look_o'| + w2 sum_k |T(shape_k') - shape_k|, (f,), each
    a mean over cells or channels and over the layers (' is the source's).

    Both captures' words: the objects k that are moved, from `origins` to `aims` (f, 4), and after them the others, of
    which alone the first mean is; the second is over all.
    """
    total = []
    for layer, maps in now.maps.items():
        then, moved = source.maps[layer], len(aims)
        words = range(maps.shape[1])
        kept = [shape_energy(maps[:, o], normalised(then[:, o])[0])[0] for o in words[moved:]]
        looks = [
            appearance_energy(maps[:, o], now.features[layer], appearance(then[:, o], source.features[layer])[0])[0]
            for o in words
        ]
        moves = [
            shape_energy(maps[:, k], moved_shape(normalised(then[:, k])[0], *boxes))[0]
            for k, boxes in enumerate(zip(origins, aims, strict=True))
        ]
        value = LOOKS * torch.stack(looks).mean(0) + MOVE * torch.stack(moves).sum(0)
        total.append(value + OTHERS * torch.stack(kept).mean(0) if kept else value)
    return torch.stack(total).mean(0)


def moved_shape(shape: Tensor, sources: np.ndarray, targets: np.ndarray) -> Tensor:
    """T: the shape (f, h, w) carried with the box (f, 4); a box that stays leaves its frame as it is, bit for bit,
    since |x| has a whole gradient at the smallest difference."""
    stays = torch.from_numpy((sources == targets).all(1)).to(shape.device)
    return torch.where(stays[:, None, None], shape, carried(shape, sources, targets))


def other_words(prompt: str, pieces: Sequence[Piece], taken: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The columns of each word of the prompt that names something and has none of its columns in `taken`."""
    used = {column for columns in taken for column in columns}
    found = []
    for match in WORD.finditer(prompt):
        columns = tuple(piece.column for piece in pieces if piece.start < match.end() and piece.end > match.start())
        says = any(letter.isalpha() for letter in match[0]) and match[0].lower() not in NAMELESS.split()
        if columns and says and used.isdisjoint(columns):
            found.append(columns)
    return found


RECIPE = Published(
    name="self-guidance",
    paper="Epstein et al., NeurIPS 2023, arXiv 2306.00986",
    run=run,
    differs="Made for pictures of a model of pixels, from noise: here every frame is taken as one, from the "
    "inverted noise, in steps of DDIM, and the source's shapes and looks are read along its trajectory, "
    "not along a second sampling. v is 750: at the paper's 7500 the term outweighs the noise of latents, "
    "and the embedded model's clips dissolve. Looks are those of the steering layers' tokens, not of the "
    "decoder's last activations but one. What is kept is every word of the prompt that names something. T "
    "carries a shape with its box, so that it may change its size too. A public reimplementation takes "
    "signed means for absolute values and swaps source and edit in the looks; this does not.",
)
