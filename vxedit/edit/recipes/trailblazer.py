"""TrailBlazer: the word's attention weakened outside the box and strengthened inside it, over text and over time.

Ma et al., SIGGRAPH Asia 2024, arXiv 2401.00896. Probabilities A become A W + S: W is 1 in the box and 0.001 outside, S
is 0.15 of the largest probability times a gaussian in the box. Over the text this is done at the word's columns and the
15 that trail the prompt (its end and padding, which hold much of what is seen), over time at each place whose box it is
in one of the two frames, less with their distance. What comes of it is no longer normalised.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall, Control, Piece
from vxedit.edit.attending import logits, mixed
from vxedit.edit.recipes.controlled import first_steps, regenerate
from vxedit.edit.recipes.places import columns_of, on_tokens, places
from vxedit.edit.recipes.published import Published
from vxedit.edit.task import Edited, Task

STEPS, OF = 5, 40
TRAILING = 15
WEAKEN, STRENGTHEN = 0.001, 0.15


def run(task: Task) -> Edited:
    """Regenerate the clip from its noise with the attention edited in the first steps."""
    under_control = first_steps(STEPS, OF, len(task.inversion.schedule))
    after = trailing(task.backbone.tokens(task.inversion.prompt))
    words = [(*subject.columns, *after) for subject in task.subjects]
    aims = task.aims()
    control, unconditional = steering(aims, words), steering(aims, None)
    return regenerate(task, task.inversion.pivot(0), under_control, control, unconditional=unconditional)


def trailing(pieces: Sequence[Piece]) -> tuple[int, ...]:
    """The columns that trail the prompt: its end token and the padding after it."""
    first = 1 + max((piece.column for piece in pieces), default=0)
    return tuple(range(first, first + TRAILING))


def steering(aims: Sequence[np.ndarray], words: Sequence[Sequence[int]] | None) -> Control:
    """The control that draws the columns of the objects' `words` to their boxes (f, 4), and each place's moments
    together. `words` None: over time alone."""

    def control(call: AttentionCall) -> Tensor | None:
        kind = call.attention.kind
        if kind == "space" or (kind == "text" and words is None):
            return None
        place = places(aims, call.height, call.width)
        owner, bell = on_tokens(place.owner, call), on_tokens(place.bell, call)
        probability = logits(call).softmax(-1)
        if kind == "time":
            return mixed(edit_time(probability, bell), call)
        assert words is not None
        length = call.key.shape[2]
        there = [[column for column in columns if column < length] for columns in words]
        return mixed(edit_text(probability, owner, bell, there), call)

    return control


def edit_text(probability: Tensor, owner: Tensor, bell: Tensor, words: Sequence[Sequence[int]]) -> Tensor:
    """Probabilities (B', heads, N, L) with each object's columns drawn to the cells that are its own, by `owner` and
    `bell` (B', N). A column that is several objects' is drawn to all of their cells; other columns stay as they are."""
    table = columns_of(words, probability.shape[-1]).to(owner.device)
    touched = ~table[0]
    own = (table & touched)[owner]  # (B', N, L); the background owns none of the touched
    weight = torch.where(own, 1.0, WEAKEN)
    strength = STRENGTHEN * probability.max() * bell[..., None] * own
    return torch.where(touched, probability * weight[:, None] + strength[:, None], probability)


def edit_time(probability: Tensor, bell: Tensor) -> Tensor:
    """Probabilities (B', heads, f, f) of a place's moments, drawn to those at which it lies in a box, by `bell`
    (B', f).

    The bell is the key frame's where that frame has the place in a box, else the query frame's, and falls by the share
    of the clip between them, below 0 far away; as in the published code, the sign of the sum is dropped.
    """
    frames = bell.shape[1]
    at = torch.arange(frames, device=bell.device)
    distance = (at[:, None] - at).abs() / frames
    query, key = bell[:, :, None], bell[:, None, :]
    higher = torch.where(key > 0, key, query)  # (B', f, f)
    weight = torch.where(higher > 0, 1.0, WEAKEN)
    strength = STRENGTHEN * probability.max() * torch.where(higher > 0, higher - distance, 0.0)
    return (probability * weight[:, None] + strength[:, None]).abs()


RECIPE = Published(
    name="trailblazer",
    paper='Ma et al., "TrailBlazer: Trajectory Control for Diffusion-Based Video Generation", SIGGRAPH Asia 2024, '
    "arXiv 2401.00896",
    run=run,
    differs=(
        "Attention over time is edited in all layers and both passes of classifier-free guidance; the published code "
        "reaches one layer at one frame size, in the pass without the prompt. Several objects are edited in one run, "
        "not made apart and composed; the run starts from the clip's own noise, under its null embeddings."
    ),
)
