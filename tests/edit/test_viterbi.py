"""The best sequence of states, against every sequence there is."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np

from vxedit.edit.viterbi import best_sequence


def test_it_is_the_best_of_all_sequences_of_any_numbers_of_states() -> None:
    rng = np.random.default_rng(0)
    for sizes in ((3,), (2, 4), (3, 1, 2, 4)):
        worth = [rng.normal(size=n) for n in sizes]
        moves = [rng.uniform(0, 2, (after, before)) for before, after in pairwise(sizes)]

        def value(states: tuple[int, ...], worth: list = worth, moves: list = moves) -> float:
            going = sum(cost[b, a] for cost, a, b in zip(moves, states, states[1:], strict=False))
            return float(sum(w[s] for w, s in zip(worth, states, strict=True)) - going)

        assert tuple(best_sequence(worth, moves)) == max(product(*map(range, sizes)), key=value)
