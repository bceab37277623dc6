"""The best sequence of states, one a frame (Viterbi 1967)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best_sequence(worth: Sequence[np.ndarray], moves: Sequence[np.ndarray]) -> list[int]:
    """The state of every frame: those that together are worth most, less what going from one to the next costs.

    `worth`: a frame's states, (n,), one frame or more; `moves`: from every frame to the next, the cost of going to each
    of its states from each of those before, (n of the next, n).
    """
    total, came = worth[0], []
    for now, cost in zip(worth[1:], moves, strict=True):
        ways = total[None] - cost
        came.append(ways.argmax(1))
        total = now + ways.max(1)
    chosen = [int(total.argmax())]
    for back in reversed(came):
        chosen.append(int(back[chosen[-1]]))
    return chosen[::-1]
