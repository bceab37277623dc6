"""Large clips in pieces: what looks at one cell gives the whole, and what doesn't fades."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vxedit.backbones.tiles import Axis, Run, Runs, faded, sharing_a_frame


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dim", [2, 3, 4])
@pytest.mark.parametrize("length", [5, 16, 17, 26, 28, 31, 52])
def test_pieces_of_what_looks_at_one_cell_are_the_whole(dim: int, length: int) -> None:
    lengths = []

    def doubled(x: Tensor) -> Tensor:
        lengths.append(x.shape[dim])
        return x.repeat_interleave(2, dim)

    x = noise(1, 2, 3, 3, 3).index_select(dim, torch.arange(length) % 3)
    pieces = faded(doubled, Axis(dim, 16, 4, 2))
    torch.testing.assert_close(pieces(x), doubled(x), rtol=0, atol=1e-6)
    assert lengths[:-1] == [min(16, length)] * (1 + max(0, -(-(length - 16) // 12)))

    def halved(x: Tensor) -> Tensor:
        return x[(slice(None),) * dim + (slice(None, None, 4),)]

    longer = x.repeat_interleave(4, dim)
    torch.testing.assert_close(faded(halved, Axis(dim, 64, 16, 1 / 4))(longer), x, rtol=0, atol=1e-6)


def numbered() -> Run:
    calls = iter(range(100))

    def run(x: Tensor) -> Tensor:
        return torch.full_like(x, float(next(calls)))

    return run


def test_one_piece_fades_into_the_next_and_the_last_is_as_long_as_the_others() -> None:
    for dim in (2, 3, 4):
        shape = [1] * 5
        shape[dim] = 17
        made = faded(numbered(), Axis(dim, 8, 4, 1))(torch.zeros(shape)).flatten()
        # Pieces 0 to 3 start at 0, 4, 8 and 9: the last one is moved back to end where the whole does.
        fade = [0, 0.25, 0.5, 0.75]
        assert made[:9].tolist() == [0.0] * 4 + fade + [1.0]
        before = [1.25, 1.5, 1.75, 2.0]  # the first three, where piece 3 begins
        assert made[9:13].tolist() == pytest.approx([old + (3 - old) * w for old, w in zip(before, fade, strict=True)])
        assert made[13:].tolist() == [3.0] * 4


def test_pieces_that_share_a_frame_drop_it_in_the_later() -> None:
    for frames, expected in ((1, [0]), (5, [0] * 5), (11, [0] * 5 + [1] * 4 + [2] * 2), (9, [0] * 5 + [1] * 4)):
        assert sharing_a_frame(numbered(), 5)(torch.zeros(1, 1, frames, 1, 1)).flatten().tolist() == expected


def test_two_runs_are_called_as_an_autoencoder() -> None:
    runs = Runs(nn.Linear(1, 1, dtype=torch.float64), lambda x: x + 1, lambda x: x - 1)
    assert runs.encode(torch.ones(1)).latent_dist.mode() == 2
    assert runs.decode(torch.ones(1)).sample == 0
    assert (runs.device, runs.dtype) == (torch.device("cpu"), torch.float64)
