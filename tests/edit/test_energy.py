"""The box energy against cases that can be worked out by hand, and its gradient against differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vxedit.edit.energy import box_energy, inside_share, rasterise

BOX = np.array([[0.25, 0.5, 0.75, 1.0]])  # 4 x 4 cells of an 8 x 8 grid


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
