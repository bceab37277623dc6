"""The connected pieces of masks, and which of them are the object."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from vxedit.edit.viterbi import best_sequence

NEAR, FAR = 0.15, 0.3
"""How far from the piece before, in shares of the frame's side, a piece is still the same thing, and from where on
surely another."""

HOP = 2.5
"""What going on with another thing costs, in the logarithm of the score: it is done for twelve times as much."""

WEAK = 0.05
"""Pieces with less than this share of their frame's score are left out, unless all have."""


class _Pieces(NamedTuple):
    """A frame's pieces: where each is, by its number in `labels` (H, W), their `numbers` (n,), the logarithm of their
    shares of the score (n,), and their middles (n, 2) in shares of the frame's geometric mean side."""

    labels: np.ndarray
    numbers: np.ndarray
    worth: np.ndarray
    middles: np.ndarray


def strongest_piece(mask: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The connected piece of a mask (H, W) bool with the most score, or the peak's pixel where the mask is empty."""
    found = _pieces(mask, score)
    return found.labels == found.numbers[found.worth.argmax()]


def strongest_track(masks: np.ndarray, score: np.ndarray) -> np.ndarray:
    """A piece of each mask, bool (F, H, W): those that together have the most score (F, H, W) and hop the least, the
    best way through the frames (Viterbi 1967). Where a frame shows two of a kind, it goes on with the one that it came
    from. The peak's pixel stands for an empty mask.
    """
    frames = [_pieces(*one) for one in zip(masks, score, strict=True)]
    moves = []
    for before, now in pairwise(frames):
        apart = np.linalg.norm(now.middles[:, None] - before.middles[None], axis=-1)
        moves.append(HOP * np.clip((apart - NEAR) / (FAR - NEAR), 0, 1))
    chosen = best_sequence([one.worth for one in frames], moves)
    return np.stack([one.labels == one.numbers[k] for one, k in zip(frames, chosen, strict=True)])


def _pieces(mask: np.ndarray, score: np.ndarray) -> _Pieces:
    """The pieces of a mask (H, W) bool, or the peak's pixel where it is empty."""
    if not mask.any():
        mask = np.arange(score.size).reshape(score.shape) == score.argmax()
    count, labels, _, middles = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    total = np.bincount(labels.ravel(), score.ravel(), count)[1:]
    share = np.maximum(total, 1e-9) / max(float(total.sum()), 1e-9)
    kept = np.flatnonzero(share >= min(WEAK, share.max()))
    return _Pieces(labels, kept + 1, np.log(share[kept]), middles[kept + 1] / float(np.prod(mask.shape)) ** 0.5)
