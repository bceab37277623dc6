"""The edit region in pixels and in cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vxedit.edit.region import region_of, to_cells, touched_cells


def cover(x0: int, y0: int, x1: int, y1: int, side: int = 48) -> np.ndarray:
    mask = np.zeros((1, side, side), np.float32)
    mask[0, y0:y1, x0:x1] = 1
    return mask


SOURCE, TARGET = cover(8, 8, 18, 18), cover(14, 8, 24, 18)


def test_what_is_vacated_is_the_source_without_the_target() -> None:
    region = region_of(SOURCE, TARGET, margin=2, seam=3, source_margin=2)
    assert np.array_equal(region.source, SOURCE) and np.array_equal(region.target, TARGET)
    assert np.array_equal(region.vacated, cover(8, 8, 14, 18))
    half = region_of(SOURCE, 0.25 * SOURCE, margin=2, seam=3, source_margin=2)
    assert half.vacated[0, 10, 10] == pytest.approx(0.75)


@pytest.mark.parametrize(("margin", "seam"), [(0, 1), (3, 4), (5, 0)])
def test_alpha_is_one_to_the_margin_and_nothing_beyond_the_seam(margin: int, seam: int) -> None:
    alpha = region_of(SOURCE, TARGET, margin=margin, seam=seam, source_margin=margin).alpha[0]
    assert (alpha[8:18, 8:24] == 1).all()
    row, edge = alpha[13], 23 + margin  # the union's last column, grown
    assert row[edge] == 1
    assert (row[edge + max(seam, 1) :] == 0).all()
    between = row[edge : edge + seam + 1]
    assert (np.diff(between) < 0).all()
    assert alpha.min() >= 0 and alpha.max() == 1


def test_where_the_object_was_has_a_margin_of_its_own() -> None:
    alpha = region_of(SOURCE, TARGET, margin=6, seam=2, source_margin=1).alpha[0]
    assert alpha[13, 7] == 1 and 0 < alpha[13, 6] < 1 and alpha[13, 5] == 0  # SOURCE's first column is 8
    assert alpha[13, 29] == 1 and 0 < alpha[13, 30] < 1 and alpha[13, 31] == 0  # TARGET's last is 23


def test_no_object_is_no_region() -> None:
    nothing = np.zeros((2, 16, 16), np.float32)
    region = region_of(nothing, nothing, margin=3, seam=3, source_margin=3)
    assert region.alpha.shape == (2, 16, 16) and region.alpha.max() == 0


def test_every_frame_has_its_own_region() -> None:
    both = region_of(
        np.concatenate([SOURCE, TARGET]), np.concatenate([SOURCE, TARGET]), margin=2, seam=2, source_margin=2
    )
    assert np.array_equal(both.alpha[1], region_of(TARGET, TARGET, margin=2, seam=2, source_margin=2).alpha[0])
    assert not np.array_equal(both.alpha[0], both.alpha[1])


def test_cells_hold_the_share_that_is_covered() -> None:
    mask = cover(4, 0, 12, 8)  # cells of 8: half of two
    found = to_cells(mask, 6, 6)
    wanted = torch.zeros(1, 6, 6)
    wanted[0, 0, :2] = 0.5
    torch.testing.assert_close(found, wanted)
    assert float(to_cells(mask, 5, 7).mean()) == pytest.approx(mask.mean(), rel=0.2)  # sides that 48 is no multiple of


def test_a_cell_is_touched_by_one_pixel() -> None:
    mask = cover(15, 8, 17, 9)
    found = touched_cells(mask, 6, 6)
    wanted = torch.zeros(1, 6, 6)
    wanted[0, 1, 1:3] = 1
    assert torch.equal(found, wanted)


def test_a_frame_of_the_latents_tells_of_all_that_it_covers() -> None:
    mask = np.concatenate([cover(0, 0, 8, 8), cover(8, 0, 16, 8), cover(16, 0, 24, 8)])
    spans = ((0,), (1, 2))
    share, touched = to_cells(mask, 6, 6, spans), touched_cells(mask, 6, 6, spans)
    assert share.shape == touched.shape == (2, 6, 6)
    assert share[1, 0, :4].tolist() == [0, 0.5, 0.5, 0]
    assert touched[1, 0, :4].tolist() == [0, 1, 1, 0]
    assert torch.equal(share[0], to_cells(mask[:1], 6, 6)[0])


def test_all_that_shows_the_edit_lies_in_touched_cells() -> None:
    """Otherwise the composite would show cells that the pinning holds at the source."""
    region = region_of(SOURCE, TARGET, margin=2, seam=5, source_margin=2)
    cells = touched_cells(region.alpha, 6, 6)[0].numpy().repeat(8, 0).repeat(8, 1)
    assert (region.alpha[0][cells == 0] <= 0.01).all()
    assert cells.min() == 0
