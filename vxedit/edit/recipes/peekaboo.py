"""Peekaboo: attention masked so that each object and the background look only at themselves.

Jain et al., CVPR 2024, arXiv 2312.07509. With fg(.) whether a pixel lies in the object's box, or a token is
one of its word's, the masks are 1 where both sides of a pair are foreground or both are background, for pixels and text
tokens of a frame, for pixels and pixels of a frame, and for a pixel's moments; where a mask is 0, -inf is added before
the softmax. With several objects, "foreground" is each object by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall, Control
from vxedit.edit.attending import masked
from vxedit.edit.recipes.controlled import first_steps, regenerate
from vxedit.edit.recipes.places import columns_of, on_tokens, places
from vxedit.edit.recipes.published import Published
from vxedit.edit.task import Edited, Task

STEPS, OF = 2, 40


def run(task: Task) -> Edited:
    """Regenerate the clip from its noise with the attention masked in the first steps."""
    under_control = first_steps(STEPS, OF, len(task.inversion.schedule))
    control = masking(task.aims(), [subject.columns for subject in task.subjects])
    return regenerate(task, task.inversion.pivot(0), under_control, control)


def masking(aims: Sequence[np.ndarray], words: Sequence[Sequence[int]]) -> Control:
    """The control that keeps apart what stands in the objects' boxes (f, 4), and the columns of their words."""

    def control(call: AttentionCall) -> Tensor:
        owner = on_tokens(places(aims, call.height, call.width).owner, call)
        if call.attention.kind == "text":
            return masked(call, text_mask(owner, words, call.key.shape[2]))
        return masked(call, own_mask(owner))

    return control


def own_mask(owner: Tensor) -> Tensor:
    """Which pairs of tokens belong to the same: owners (B', N) to bool (B', N, N)."""
    return owner[:, :, None] == owner[:, None, :]


def text_mask(owner: Tensor, words: Sequence[Sequence[int]], length: int) -> Tensor:
    """Which columns of a text of `length` a token may look at: owners (B', N) to bool (B', N, length). An object's
    cells look at its own word, the background at all that is no object's, with start, end and padding."""
    return columns_of(words, length).to(owner.device)[owner]


RECIPE = Published(
    name="peekaboo",
    paper='Jain et al., "PEEKABOO: Interactive Video Generation via Masked-Diffusion", CVPR 2024, arXiv 2312.07509',
    run=run,
    differs=(
        "The masks are the paper's, in every layer: the published code leaves the network's first half unmasked, hides "
        "the start token from all, and blanks the background in every second temporal attention, where it should mask "
        "it. The run starts from the clip's own noise, under its null embeddings, not from fresh noise."
    ),
)
