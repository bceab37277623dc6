"""FreeTraj: the object's noise laid along the path, and attention that keeps object and background apart.

Qiu et al. 2024, arXiv 2406.16863. Noise: its low frequencies are taken from the noise whose patch was moved, its high
ones are fresh. Attention over space and time: logits of pairs across the box's border times 0.01. Attention to the
text: outside the boxes a softmax without the objects' tokens; inside, the object's own tokens added with
0.25 / (box's area) / (number of tokens) times a gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall, Control
from vxedit.edit.attending import logits, mixed
from vxedit.edit.recipes.controlled import first_steps, regenerate
from vxedit.edit.recipes.places import Places, columns_of, on_tokens, places
from vxedit.edit.recipes.published import Published
from vxedit.edit.task import Edited, Task
from vxedit.edit.transport import carry_noise

STEPS, OF = 6, 50
ACROSS = 0.01
"""The weight of a logit between what belongs to different places."""
MASS = 0.25
"""The attention added to a word, over its box's area."""
ORDER, SPACE_STOP, TIME_STOP = 4, 0.25, 0.1
"""The low-pass filter's order, and the shares of the highest frequency at which it lets half through."""


def run(task: Task) -> Edited:
    """Regenerate the clip from its noise, moved along, with the attention kept apart in the first steps."""
    under_control = first_steps(STEPS, OF, len(task.inversion.schedule))
    start = path_noise(task.inversion.pivot(0), task.origins(), task.aims())
    control = isolating(task.aims(), [subject.columns for subject in task.subjects])
    return regenerate(task, start, under_control, control)


def path_noise(noise: Tensor, origins: Sequence[np.ndarray], aims: Sequence[np.ndarray]) -> Tensor:
    """Noise (1, C, f, h, w) whose low frequencies have the patches of the objects' boxes `origins` (f, 4) carried to
    their `aims`; its high ones are its own. A later object's patch lies over an earlier one's."""
    own = noise.cpu()
    owner = places(aims, *noise.shape[-2:]).owner
    moved = own
    for number, (origin, aim) in enumerate(zip(origins, aims, strict=True), 1):
        here = owner == number
        moved = torch.where(here, carry_noise(own, origin, aim, here.float()), moved)
    return low_pass_mix(moved, own).to(noise.device)


def low_pass_mix(low: Tensor, high: Tensor) -> Tensor:
    """The low frequencies of one, the high ones of the other, (..., f, h, w) both: high + filter(low - high), so that
    where they agree nothing changes (Wu et al. 2024, FreeInit, arXiv 2312.07537)."""
    axes = (-3, -2, -1)
    frames, height, width = low.shape[-3:]
    passed = torch.fft.fftn((low - high).float(), dim=axes) * butterworth(frames, height, width).to(low.device)
    return high + torch.fft.ifftn(passed, dim=axes).real.to(high.dtype)


def butterworth(frames: int, height: int, width: int) -> Tensor:
    """The filter's gain at the frequencies of a Fourier transform in its own order, (f, h, w): 1 / (1 + r^2n), with r
    the distance from the constant term in stop frequencies and n its order."""
    t, y, x = (2 * torch.fft.fftfreq(size) for size in (frames, height, width))  # 1 is the highest frequency
    time, space = (t / TIME_STOP) ** 2, (y[:, None] / SPACE_STOP) ** 2 + (x / SPACE_STOP) ** 2
    return 1 / (1 + (time[:, None, None] + space) ** ORDER)


def isolating(aims: Sequence[np.ndarray], words: Sequence[Sequence[int]]) -> Control:
    """The control that keeps what stands in the objects' boxes (f, 4) apart from the rest, and puts their words
    there."""

    def control(call: AttentionCall) -> Tensor:
        place = places(aims, call.height, call.width)
        owner = on_tokens(place.owner, call)
        if call.attention.kind != "text":
            return isolated(call, owner)
        added = on_tokens(word_weight(place, aims, words), call)
        return mixed(edit_text(logits(call), owner, added, words), call)

    return control


def isolated(call: AttentionCall, owner: Tensor) -> Tensor:
    """The output (B', heads, N, d) of attention whose logits are weighted by `ACROSS` where `owner` (B', N) of query
    and key differ.

    The weight is ACROSS + (1 - ACROSS) sum over owners of [query's] [key's]: a sum of products, so queries and keys
    repeated once an owner give the weighted logits as they are, and no N x N matrix is made.
    """

    def spread(tokens: Tensor) -> Tensor:
        own = [tokens * (owner == number)[:, None, :, None] for number in owner.unique().tolist()]
        return torch.cat([ACROSS**0.5 * tokens, *((1 - ACROSS) ** 0.5 * one for one in own)], -1)

    scale = call.query.shape[-1] ** -0.5
    return F.scaled_dot_product_attention(
        spread(call.query), spread(call.key), call.value, attn_mask=call.bias, scale=scale
    )


def word_weight(place: Places, aims: Sequence[np.ndarray], words: Sequence[Sequence[int]]) -> Tensor:
    """What is added at each cell to the probability of each of its owner's columns, (f, h, w). A box smaller than a
    cell counts as one."""
    frames, height, width = place.owner.shape
    amounts = torch.zeros(1 + len(aims), frames)
    for row, boxes, columns in zip(amounts[1:], aims, words, strict=True):
        area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1 / (height * width))
        row[:] = torch.from_numpy(MASS / area / len(columns))
    frame = torch.arange(frames)[:, None, None]
    return amounts[place.owner, frame] * place.bell


def edit_text(scores: Tensor, owner: Tensor, added: Tensor, words: Sequence[Sequence[int]]) -> Tensor:
    """Probabilities (B', heads, N, L) of logits of that shape, by `owner` and `added` (B', N).

    In the background a softmax over the columns that are no object's; in an object's box, where no column is left to a
    softmax, all alike, as the published code's finite minimum has it, and `added` at the object's own.
    """
    length = scores.shape[-1]
    table = columns_of(words, length).to(owner.device)
    free = table[0] if bool(table[0].any()) else ~table[0]
    outside = scores.masked_fill(~free, -torch.inf).softmax(-1)
    box = (owner > 0)[..., None]
    inside = 1 / length + added[..., None] * table[owner]  # (B', N, L)
    return torch.where(box[:, None], inside[:, None], outside)


RECIPE = Published(
    name="freetraj",
    paper='Qiu et al., "FreeTraj: Tuning-Free Trajectory Control in Video Diffusion Models", 2024, arXiv 2406.16863',
    run=run,
    differs=(
        "The patch laid along the path is each frame's own noise at the object's place, and the high frequencies are "
        "the clip's own noise, not fresh; the place that the object leaves keeps its noise. Boxes may change in size, "
        "there may be several, and sampling is deterministic, under the inversion's null embeddings."
    ),
)
