"""Whose each cell of a token grid and each column of the text is, from the boxes that objects should stand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall

NARROWEST = 1 / 3
"""The bell's least standard deviation in cells: a box of one cell."""


@dataclass(frozen=True)
class Places:
    """On a grid (f, h, w): `owner`, 0 for the background and k for the k-th object, the later one in front; `bell`, the
    owner's gaussian weight in (0, 1], 0 in the background."""

    owner: Tensor
    bell: Tensor


def places(aims: Sequence[np.ndarray], height: int, width: int) -> Places:
    """Whose the cells of `height` x `width` grids are, given each object's boxes (f, 4) xyxy in [0, 1]."""
    weights = [bells(boxes, height, width) for boxes in aims]
    owner, bell = torch.zeros(weights[0].shape, dtype=torch.long), torch.zeros_like(weights[0])
    for number, weight in enumerate(weights, 1):
        owner = torch.where(weight > 0, number, owner)
        bell = torch.where(weight > 0, weight, bell)
    return Places(owner, bell)


def bells(boxes: np.ndarray, height: int, width: int) -> Tensor:
    """A gaussian in every box, (f, h, w): centred on it, its deviations a third of the box's sides, its peak scaled
    to 1, 0 at the cells whose centres lie outside (Ma et al. 2024, arXiv 2401.00896, with their code's third).

    A box that no centre lies in takes the cell that its own centre lies in; one beyond the frame takes none.
    """
    columns = _profile(boxes[:, 0], boxes[:, 2], width)
    rows = _profile(boxes[:, 1], boxes[:, 3], height)
    bell = rows[:, :, None] * columns[:, None, :]
    peak = bell.max((1, 2), keepdims=True)
    return torch.from_numpy(bell / np.where(peak > 0, peak, 1)).float()


def _profile(low: np.ndarray, high: np.ndarray, cells: int) -> np.ndarray:
    """The bell along one side, (f, cells): at a box's own cells at least exp(-9/8), elsewhere 0."""
    low, high = np.asarray(low, float)[:, None], np.asarray(high, float)[:, None]
    at, middle = (np.arange(cells) + 0.5) / cells, (low + high) / 2
    held = (at >= low) & (at < high)
    nearest = np.floor(middle * cells) == np.arange(cells)
    held = np.where(held.any(1, keepdims=True), held, nearest)
    deviation = np.maximum((high - low) / 3, NARROWEST / cells)
    return np.where(held, np.exp(-0.5 * ((at - middle) / deviation) ** 2), 0.0)


def on_tokens(maps: Tensor, call: AttentionCall) -> Tensor:
    """Maps (f, h, w) on the call's grid in the order of its queries, (B', N), on their device."""
    flat = maps.to(call.query.device).flatten(1)  # (f, h w)
    if call.attention.kind == "time":
        flat = flat.T
    return flat.repeat(call.batch, 1)


def columns_of(words: Sequence[Sequence[int]], length: int) -> Tensor:
    """Whose the text's `length` columns are, bool (1 + objects, length): row k is True at the k-th object's columns,
    row 0 at those that are no object's."""
    table = torch.zeros(1 + len(words), length, dtype=torch.bool)
    for row, columns in zip(table[1:], words, strict=True):
        row[list(columns)] = True
    table[0] = ~table[1:].any(0)
    return table
