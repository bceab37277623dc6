"""Energies of place against cases that can be worked out by hand, and their gradients against differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vxedit.edit.energy import (
    box_energy,
    centroid,
    centroid_energy,
    corner_energy,
    drawn_energy,
    inside_share,
    leak_energy,
    normalised,
    rasterise,
    smoothness_energy,
    topk_energy,
    union,
)

BOX = np.array([[0.25, 0.5, 0.75, 1.0]])  # 4 x 4 cells of an 8 x 8 grid
PATH = np.array([[0.1, 0.2, 0.6, 0.9], [0.4, 0.4, 1.0, 0.7], [0.0, 0.3, 0.3, 1.0]])
REGION = rasterise(PATH, 5, 4).double()
CENTRES = torch.tensor([[0.35, 0.55], [0.7, 0.55], [0.15, 0.65]], dtype=torch.float64)

ENERGIES: dict[str, Callable[[Tensor], Tensor]] = {
    "box": lambda maps: box_energy(maps, REGION),
    "leak": lambda maps: leak_energy(maps, REGION),
    "drawn": lambda maps: drawn_energy(maps, REGION, 5.0),
    "centroid": lambda maps: centroid_energy(maps, CENTRES),
    "smoothness": lambda maps: smoothness_energy(maps, CENTRES),
    "topk": lambda maps: topk_energy(maps, REGION),
    "corner": lambda maps: corner_energy(maps, REGION),
}


def test_a_raster_is_the_area_that_the_box_covers() -> None:
    boxes = np.array([[0.1, 0.2, 0.3, 0.9], [0.0, 0.0, 1.0, 1.0], [0.41, 0.47, 0.44, 0.49]])
    for height, width in ((8, 8), (5, 12), (1, 3)):
        raster = rasterise(boxes, height, width)
        assert raster.shape == (3, height, width)
        assert float(raster.min()) >= 0 and float(raster.max()) <= 1
        sides = boxes[:, 2:] - boxes[:, :2]
        assert raster.mean((1, 2)).numpy() == pytest.approx(sides.prod(1), rel=1e-5)


def test_a_raster_puts_area_where_the_box_is() -> None:
    """0.2 of 8 cells is 1.6 cells, from the middle of one: half of it, all of the next and a tenth of the third."""
    raster = rasterise(np.array([[1.5 / 8, 2 / 8, 3.1 / 8, 4 / 8]]), 8, 8)[0]
    wanted = torch.zeros(8, 8)
    wanted[2:4, 1:4] = torch.tensor([0.5, 1.0, 0.1])
    torch.testing.assert_close(raster, wanted, rtol=0, atol=1e-6)


def test_a_box_beyond_the_frame_covers_what_is_in_it() -> None:
    beyond = rasterise(np.array([[-0.5, 0.5, 0.5, 1.5], [1.2, 0.0, 1.5, 1.0]]), 4, 4)
    assert torch.equal(beyond[0], rasterise(np.array([[0.0, 0.5, 0.5, 1.0]]), 4, 4)[0])
    assert float(beyond[1].sum()) == 0


def test_the_energy_of_a_map_inside_outside_and_everywhere() -> None:
    region = rasterise(BOX, 8, 8)
    inside, outside, flat = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.3)
    inside[..., 5, 3], outside[..., 1, 3] = 0.2, 0.9
    assert float(box_energy(inside, region)) == pytest.approx(0, abs=1e-12)
    assert float(box_energy(outside, region)) == 1
    assert float(box_energy(flat, region)) == pytest.approx((1 - 0.25) ** 2, rel=1e-6)
    assert float(box_energy((inside + outside), region)) == pytest.approx((0.9 / 1.1) ** 2, rel=1e-6)


def test_every_frame_has_its_own_energy_whatever_the_maps_mass() -> None:
    maps = torch.rand(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    region = rasterise(np.repeat(BOX, 3, 0) + np.array([[0.0], [0.1], [-0.2]]), 8, 6)
    energy = box_energy(maps, region)
    assert energy.shape == (2, 3)
    torch.testing.assert_close(box_energy(1e-3 * maps, region), energy, rtol=1e-5, atol=0)
    for b in range(2):
        for f in range(3):
            alone = box_energy(maps[b : b + 1, f : f + 1], region[f : f + 1])
            torch.testing.assert_close(alone[0, 0], energy[b, f], rtol=1e-6, atol=0)
            share = float((maps[b, f] * region[f]).sum() / maps[b, f].sum())
            assert float(inside_share(maps, region)[b, f]) == pytest.approx(share, rel=1e-5)


def test_an_empty_map_is_outside_and_gives_no_nonsense() -> None:
    maps = torch.zeros(1, 1, 8, 8, requires_grad=True)
    energy = box_energy(maps, rasterise(BOX, 8, 8)).sum()
    energy.backward()
    assert float(energy.detach()) == 1 and maps.grad is not None and bool(torch.isfinite(maps.grad).all())


def test_the_gradient_is_that_of_a_finite_difference() -> None:
    made = torch.Generator().manual_seed(1)
    maps = torch.rand(1, 2, 4, 4, generator=made, dtype=torch.float64).add(0.1).requires_grad_()
    region = rasterise(np.array([[0.1, 0.2, 0.6, 0.9], [0.4, 0.4, 1.0, 0.7]]), 4, 4).double()
    (gradient,) = torch.autograd.grad(box_energy(maps, region).sum(), maps)
    flat, found = maps.detach().flatten(), []
    for i in range(flat.numel()):
        shift = torch.zeros_like(flat)
        shift[i] = 1e-6
        high, low = (box_energy((flat + s).view_as(maps), region).sum() for s in (shift, -shift))
        found.append((high - low) / 2e-6)
    torch.testing.assert_close(torch.stack(found).view_as(maps), gradient, rtol=1e-6, atol=1e-8)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("name", ENERGIES)
def test_every_energy_is_one_a_frame_with_the_gradient_of_a_finite_difference(name: str) -> None:
    maps = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    energy = ENERGIES[name](maps)
    assert energy.shape == (2, 3) and bool((energy >= 0).all())
    assert torch.autograd.gradcheck(ENERGIES[name], (maps,))
    (gradient,) = torch.autograd.grad(energy.sum(), maps)
    assert float(gradient.abs().max()) > 1e-3


@pytest.mark.parametrize("level", [0.0, 1e-30, 0.3])
@pytest.mark.parametrize("name", ENERGIES)
def test_a_flat_map_has_a_finite_energy_and_gradient(name: str, level: float) -> None:
    maps = torch.full((1, 3, 5, 4), level, requires_grad=True)
    energy = ENERGIES[name](maps)
    (gradient,) = torch.autograd.grad(energy.sum(), maps)
    assert bool(torch.isfinite(energy).all()) and bool(torch.isfinite(gradient).all())


def test_a_union_counts_no_area_twice() -> None:
    """Boxes along the 64ths of the frame, against counting the points of a 64 x 64 lattice."""
    made = np.random.default_rng(0)
    boxes = [np.sort(made.integers(0, 65, (3, 2, 2)), 1).reshape(3, 4) / 64 for _ in range(4)]
    boxes.append(np.array([[0.0, 0.0, 0.125, 0.125]] * 3))
    points = (np.arange(64) + 0.5) / 64
    hit = np.zeros((3, 64, 64), bool)
    for box in boxes:
        across = (points > box[:, :1]) & (points < box[:, 2:3])
        down = (points > box[:, 1:2]) & (points < box[:, 3:])
        hit |= down[:, :, None] & across[:, None, :]
    for height, width in ((8, 4), (2, 16), (1, 1)):
        share = hit.reshape(3, height, 64 // height, width, 64 // width).mean((2, 4))
        assert union(boxes, height, width).numpy() == pytest.approx(share, abs=1e-6)


def test_a_normalised_map_has_self_guidances_values() -> None:
    """0, 0.25, 0.5 and 1 of the range, at s = 4: sigmoid of -2, -1, 0 and 2, from the first to the last of them."""
    maps = torch.tensor([[[[0.1, 0.2], [0.3, 0.5]]]], dtype=torch.float64)
    raw = [1 / (1 + math.exp(-x)) for x in (-2.0, -1.0, 0.0, 2.0)]
    wanted = [(value - raw[0]) / (raw[3] - raw[0]) for value in raw]
    assert normalised(maps, 4.0).flatten().tolist() == pytest.approx(wanted, rel=1e-9)
    torch.testing.assert_close(normalised(1e-3 * maps + 0.2, 4.0), normalised(maps, 4.0))
    assert torch.equal(normalised(torch.full((1, 1, 3, 3), 0.2)), torch.zeros(1, 1, 3, 3))
    torch.testing.assert_close(normalised(maps, 400.0).flatten()[[0, 1, 3]], torch.tensor([0.0, 0, 1]).double())


def test_normalising_is_differentiable_through_the_least_and_the_largest_too() -> None:
    maps = torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: normalised(m, 6.0), (maps,))


def test_the_drawn_energy_is_0_on_the_drawing_and_counts_the_cells_off_it() -> None:
    target = rasterise(BOX, 8, 8)
    assert float(drawn_energy(0.01 + 0.2 * target[None], target)) == pytest.approx(0, abs=1e-12)
    elsewhere = rasterise(BOX - [[0, 0.5, 0, 0.5]], 8, 8)[None]
    assert float(drawn_energy(elsewhere, target)) == pytest.approx(32 / 64, rel=1e-6)
    assert float(drawn_energy(torch.zeros(1, 1, 8, 8), target)) == pytest.approx(16 / 64)


def test_a_centroid_is_in_shares_of_the_frame_whatever_the_grid() -> None:
    single = torch.zeros(1, 1, 4, 10)
    single[..., 2, 3] = 0.2
    assert centroid(single)[0, 0].tolist() == pytest.approx([0.35, 0.625])
    single[..., 0, 9] = 0.6
    assert centroid(single)[0, 0].tolist() == pytest.approx([0.25 * 0.35 + 0.75 * 0.95, 0.25 * 0.625 + 0.75 * 0.125])
    for blank in (torch.zeros(1, 1, 3, 5), torch.full((1, 1, 3, 5), 0.1)):
        assert centroid(blank)[0, 0].tolist() == pytest.approx([0.5, 0.5])
    for height, width in ((8, 8), (4, 16)):
        assert centroid(rasterise(BOX, height, width))[0].tolist() == pytest.approx([0.5, 0.75])


def test_the_centroid_energy_is_the_squared_distance() -> None:
    maps = rasterise(BOX, 8, 8)[None]
    assert float(centroid_energy(maps, torch.tensor([[0.5, 0.75]]))) == pytest.approx(0, abs=1e-12)
    assert float(centroid_energy(maps, torch.tensor([[0.2, 0.35]]))) == pytest.approx(0.3**2 + 0.4**2, rel=1e-5)


def test_smoothness_minds_jitter_about_the_path_and_not_its_bends() -> None:
    """A cell that keeps to a bent path is smooth, also at a steady distance or drift; one that leaves it once, by a
    tenth of the frame, bends by 1, -2 and 1 tenths."""
    columns = [2, 4, 7, 3, 5]
    maps = torch.zeros(1, 5, 1, 10)
    for frame, column in enumerate(columns):
        maps[0, frame, 0, column] = 0.4
    on_it = torch.tensor([[(column + 0.5) / 10, 0.5] for column in columns])
    drift = torch.stack([0.05 * torch.arange(5), torch.full((5,), 0.1)], 1)
    assert smoothness_energy(maps, on_it + drift)[0].tolist() == pytest.approx([0] * 5, abs=1e-12)
    once = on_it.clone()
    once[2, 0] += 0.1
    assert smoothness_energy(maps, once)[0].tolist() == pytest.approx([0, 0.01, 0.04, 0.01, 0], abs=1e-7)


@pytest.mark.parametrize("frames", [1, 2])
def test_fewer_than_three_frames_are_smooth_and_keep_the_graph(frames: int) -> None:
    maps = torch.rand(1, frames, 4, 4, requires_grad=True)
    energy = smoothness_energy(maps, torch.zeros(frames, 2))
    (gradient,) = torch.autograd.grad(energy.sum(), maps)
    assert torch.equal(energy, torch.zeros(1, frames)) and torch.equal(gradient, torch.zeros_like(maps))


def test_topk_takes_its_share_of_the_regions_own_cells() -> None:
    """16 cells inside, 48 outside: the 3.2 and the 9.6 largest, of which the last count in part."""
    region = rasterise(BOX, 8, 8)
    assert float(topk_energy(region[None], region)) == pytest.approx(0, abs=1e-6)
    assert float(topk_energy(1 - region[None], region)) == pytest.approx(2, rel=1e-6)
    assert float(topk_energy(torch.full((1, 1, 8, 8), 0.3), region)) == pytest.approx(1, rel=1e-6)
    maps = torch.zeros(1, 1, 8, 8)
    maps[..., 4, 2:6] = torch.tensor([0.5, 0.9, 0.6, 0.8])
    maps[..., 0, 0] = 0.24
    inner, outer = (0.9 + 0.8 + 0.6 + 0.2 * 0.5) / 3.2, 0.24 / 9.6
    assert float(topk_energy(maps, region)) == pytest.approx(1 - inner + outer, rel=1e-6)
    assert float(topk_energy(maps, region, 0.01)) == pytest.approx(1 - 0.9 + 0.24, rel=1e-6)


def test_topk_needs_no_cells_on_either_side() -> None:
    maps = torch.full((1, 1, 4, 4), 0.3)
    assert float(topk_energy(maps, torch.zeros(1, 4, 4))) == pytest.approx(1.3)
    assert float(topk_energy(maps, torch.ones(1, 4, 4))) == pytest.approx(0.7)


def test_the_corner_energy_looks_at_the_projections_beside_the_edges() -> None:
    """Of 8 columns the box has 2 to 5: edges beside 1, 2, 5 and 6. Of the rows it has 4 to 7, down to the border, which
    is no edge: 3 and 4."""
    region = rasterise(BOX, 8, 8)
    assert float(corner_energy(region[None], region)) == 0
    maps = region[None].clone()
    maps[..., 6] = 0.4  # one of the four columns; and rows 0 to 3, of which 3 is one of two
    assert float(corner_energy(maps, region)) == pytest.approx(0.4 / 4 + 0.4 / 2, rel=1e-6)
    far = region[None].clone()
    far[..., 0, 0] = 0.9  # no column or row beside an edge
    assert float(corner_energy(far, region)) == 0
    assert float(corner_energy(far, region, 2)) == pytest.approx(0.9 / 8, rel=1e-6)
    assert float(corner_energy(torch.zeros(1, 1, 8, 8), region)) == pytest.approx(2 / 4 + 1 / 2, rel=1e-6)
    assert float(corner_energy(maps, torch.ones(1, 8, 8))) == 0


def test_the_leak_is_the_share_of_mass_in_others_places() -> None:
    maps = torch.zeros(1, 1, 8, 8)
    maps[..., 5, 3], maps[..., 1, 3], maps[..., 0, 0] = 0.2, 0.3, 0.5
    assert float(leak_energy(maps, rasterise(BOX, 8, 8))) == pytest.approx(0.2**2, rel=1e-6)
    assert float(leak_energy(maps, torch.zeros(1, 8, 8))) == 0
