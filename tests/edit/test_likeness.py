"""Energies of likeness against cases that can be worked out by hand, and their gradients against differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vxedit.edit.energy import normalised, rasterise
from vxedit.edit.likeness import (
    appearance,
    appearance_energy,
    carried,
    presence_energy,
    shape_energy,
    size,
    size_energy,
)

BOX = np.array([[0.25, 0.5, 0.75, 1.0]])  # 4 x 4 cells of an 8 x 8 grid
SHAPE = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

ENERGIES: dict[str, Callable[[Tensor], Tensor]] = {
    "presence": presence_energy,
    "size": lambda maps: size_energy(maps, torch.tensor([0.1, 0.5, 0.9]), 5.0),
    "shape": lambda maps: shape_energy(maps, SHAPE, 5.0),
}


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


def test_presence_is_the_highest_smoothed_cell() -> None:
    """A lone cell keeps the kernel's middle weight, 1 / (1 + 2 e^-2)^2; beside its like it keeps more."""
    middle, side = 1 / (1 + 2 * math.exp(-2)), math.exp(-2) / (1 + 2 * math.exp(-2))
    maps = torch.zeros(1, 2, 6, 6)
    maps[0, 0, 2, 3] = 0.8
    maps[0, 1, 2, 3:5] = 0.8
    wanted = [1 - 0.8 * middle**2, 1 - 0.8 * middle * (middle + side)]
    assert presence_energy(maps)[0].tolist() == pytest.approx(wanted, rel=1e-6)
    assert float(presence_energy(torch.full((1, 1, 1, 1), 0.3))) == pytest.approx(0.7, rel=1e-6)
    edge = torch.zeros(1, 1, 6, 6)
    edge[..., 0, 3] = 0.8  # goes on beyond the border
    assert float(presence_energy(edge)) == pytest.approx(1 - 0.8 * middle * (middle + side), rel=1e-6)


def test_a_size_is_the_share_of_the_frame_that_is_filled() -> None:
    maps = 0.05 + 0.3 * rasterise(BOX, 8, 8)[None]
    assert float(size(maps)) == pytest.approx(16 / 64, rel=1e-6)
    assert float(size_energy(maps, torch.tensor([0.25]))) == pytest.approx(0, abs=1e-12)
    assert float(size_energy(maps, torch.tensor([0.55]))) == pytest.approx(0.3**2, rel=1e-5)
    assert float(size(torch.full((1, 1, 8, 8), 0.4))) == 0


def test_too_much_and_too_little_do_not_balance_in_the_shape_energy() -> None:
    shape = rasterise(BOX, 8, 8)
    maps = 0.01 + 0.1 * shape[None]
    assert float(shape_energy(maps, shape)) == pytest.approx(0, abs=1e-6)
    shifted = torch.roll(maps, 1, -1)  # 4 cells too many, 4 too few
    assert float(shape_energy(shifted, shape)) == pytest.approx(8 / 64, rel=1e-5)


def test_an_appearance_is_the_mean_of_the_features_where_the_word_looks() -> None:
    made = torch.Generator().manual_seed(4)
    features = torch.randn(1, 2, 8, 8, 3, generator=made)
    maps = 0.01 + 0.1 * torch.cat([rasterise(BOX, 8, 8), rasterise(BOX - 0.25, 8, 8)])[None]
    wanted = torch.stack([features[0, 0, 4:8, 2:6].mean((0, 1)), features[0, 1, 2:6, 0:4].mean((0, 1))])
    torch.testing.assert_close(appearance(maps, features)[0], wanted, rtol=1e-4, atol=1e-5)
    energy = appearance_energy(maps, features, wanted + torch.tensor([0.3, -0.6, 0.0]))
    assert energy.tolist() == [pytest.approx([0.3, 0.3], abs=1e-4)]


def test_an_appearance_changes_the_features_and_not_where_the_word_looks() -> None:
    made = torch.Generator().manual_seed(5)
    maps = torch.rand(2, 3, 5, 4, generator=made, dtype=torch.float64).requires_grad_()
    features = torch.randn(2, 3, 5, 4, 2, generator=made, dtype=torch.float64).requires_grad_()
    source = torch.randn(3, 2, generator=made, dtype=torch.float64)
    energy = appearance_energy(maps, features, source, 5.0)
    assert energy.shape == (2, 3)
    on_maps, on_features = torch.autograd.grad(energy.sum(), (maps, features), allow_unused=True)
    assert on_maps is None and float(on_features.abs().max()) > 1e-3
    assert torch.autograd.gradcheck(lambda x: appearance_energy(maps, x, source, 5.0), (features,))


def test_the_appearance_of_a_flat_map_is_0_and_gives_no_nonsense() -> None:
    features = torch.randn(1, 1, 4, 4, 3, requires_grad=True)
    energy = appearance_energy(torch.zeros(1, 1, 4, 4), features, torch.tensor([[1.0, -1.0, 4.0]]))
    (gradient,) = torch.autograd.grad(energy.sum(), features)
    assert float(energy.detach()) == pytest.approx(2) and torch.equal(gradient, torch.zeros_like(gradient))


def test_a_map_carried_to_where_it_is_stays_and_by_whole_cells_moves() -> None:
    maps = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(6))
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0.3, 0.3, 0.4, 0.4]])
    torch.testing.assert_close(carried(maps, boxes, boxes), maps, rtol=0, atol=1e-5)
    moved = carried(maps, boxes, boxes + np.array([2 / 8, 1 / 6, 2 / 8, 1 / 6]))
    torch.testing.assert_close(moved[:, 1:, 2:], maps[:, :-1, :-2], rtol=0, atol=1e-5)
    assert float(moved[:, 0].abs().max()) < 1e-5 and float(moved[:, :, :2].abs().max()) < 1e-5


def test_a_carried_map_grows_with_its_box() -> None:
    """A ramp across the source box becomes the ramp across the target's: bilinear sampling of a plane is exact."""
    source, target = np.array([[0.25, 0.25, 0.5, 0.75]]), np.array([[0.3, 0.1, 0.8, 0.35]])
    xs, ys = (torch.arange(16) + 0.5) / 16, (torch.arange(16)[:, None] + 0.5) / 16
    plane = ((xs - 0.25) / 0.25 + 2 * (ys - 0.25) / 0.5)[None]
    wanted = ((xs - 0.3) / 0.5 + 2 * (ys - 0.1) / 0.25)[None]
    inside = (slice(None), slice(2, 5), slice(5, 12))
    torch.testing.assert_close(carried(plane, source, target)[inside], wanted[inside], rtol=0, atol=1e-4)


def test_the_scaled_shape_of_a_blob_is_the_blob_at_the_new_scale() -> None:
    def blob(x: float, y: float, spread: float) -> Tensor:
        points = (torch.arange(32) + 0.5) / 32
        return torch.exp(-((points[:, None] - y) ** 2 + (points - x) ** 2) / (2 * spread**2))[None]

    small, large = np.array([[0.2, 0.2, 0.4, 0.4]]), np.array([[0.4, 0.3, 0.8, 0.7]])
    shape = carried(normalised(blob(0.3, 0.3, 0.1)[None])[0], small, large)
    here, unscaled = blob(0.6, 0.5, 0.2)[None], blob(0.6, 0.5, 0.1)[None]
    assert float(shape_energy(here, shape)) < 0.02
    # A~ is half where A is: the discs of radius spread * sqrt(2 ln 2)
    ring = math.pi * 2 * math.log(2) * (0.2**2 - 0.1**2)
    assert float(shape_energy(unscaled, shape)) == pytest.approx(ring, abs=0.01)
