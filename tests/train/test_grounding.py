"""The grounding loss against cases worked out by hand, and the maps it is made of against the package's own."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import capture
from vxedit.train.grounding import grounding_loss, word_maps

LEFT = torch.zeros(1, 1, 4, 4)
LEFT[..., :2] = 1


def flat(value: float, cells: int = 16) -> Tensor:
    return torch.full((1, 1, cells), value)


def test_a_flat_map_over_half_a_frame() -> None:
    """Share 1/2, so 1/4; and cross-entropy -(log 0.2 + log 0.8) / 2, a tenth of it; all at the weight."""
    loss, share = grounding_loss([flat(0.2)], LEFT, torch.tensor([0.6]))
    assert float(share) == pytest.approx(0.5, abs=1e-5)
    assert float(loss) == pytest.approx(0.6 * (0.25 - 0.1 * (log(0.2) + log(0.8)) / 2), rel=1e-4)
    without, _ = grounding_loss([flat(0.2)], LEFT, torch.tensor([1.0]), pixel=0.0)
    assert float(without) == pytest.approx(0.25, rel=1e-4)


def test_attention_on_the_object_alone_costs_nothing_and_beside_it_most() -> None:
    right, wrong = LEFT.flatten(2), 1 - LEFT.flatten(2)
    one = torch.ones(1)
    assert float(grounding_loss([right], LEFT, one)[0]) == pytest.approx(0, abs=1e-4)
    assert float(grounding_loss([wrong], LEFT, one, pixel=0.0)[0]) == pytest.approx(1, abs=1e-4)
    assert float(grounding_loss([wrong], LEFT, one)[1]) == pytest.approx(0, abs=1e-4)


def test_coarser_layers_are_compared_on_their_own_grid() -> None:
    coarse = torch.tensor([[[1.0, 0.0, 1.0, 0.0]]])  # 2 x 2: all on the left
    assert float(grounding_loss([coarse], LEFT, torch.ones(1))[0]) == pytest.approx(0, abs=1e-4)
    both, share = grounding_loss([coarse, flat(0.3)], LEFT, torch.ones(1), pixel=0.0)
    assert float(both) == pytest.approx(0.125, rel=1e-3) and float(share) == pytest.approx(0.75, rel=1e-3)


def test_words_without_an_object_do_not_count() -> None:
    coverage = torch.cat([LEFT, torch.zeros_like(LEFT)], 1)
    maps = torch.cat([flat(0.2), torch.rand(1, 1, 16, generator=torch.Generator().manual_seed(0))], 1).requires_grad_()
    loss, _ = grounding_loss([maps], coverage, torch.ones(1), pixel=0.0)
    assert float(loss.detach()) == pytest.approx(0.25, rel=1e-4)
    (gradient,) = torch.autograd.grad(loss, maps)
    assert gradient[:, 0].abs().max() > 0 and gradient[:, 1].abs().max() == 0
    none, share = grounding_loss([flat(0.2)], 0 * LEFT, torch.ones(1))
    assert float(none) == 0 == float(share)


def test_noisier_frames_weigh_less() -> None:
    maps = torch.cat([LEFT.flatten(2), 1 - LEFT.flatten(2)])
    coverage = LEFT.repeat(2, 1, 1, 1)
    loss, share = grounding_loss([maps], coverage, torch.tensor([0.9, 0.1]), pixel=0.0)
    assert float(share) == pytest.approx(0.9, abs=1e-4)
    assert float(loss) == pytest.approx(0.5 * 0.1, abs=1e-4)  # the mean weight times the weighted mean


def test_the_gradient_is_that_of_a_finite_difference() -> None:
    made = torch.Generator().manual_seed(0)
    maps = (0.1 + 0.8 * torch.rand(2, 2, 16, generator=made, dtype=torch.float64)).requires_grad_()
    coverage = torch.rand(2, 2, 4, 4, generator=made, dtype=torch.float64)
    weight = torch.tensor([0.3, 0.8], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m: grounding_loss([m], coverage, weight)[0], (maps,), atol=1e-7)


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> UNet3D:
    return load(str(checkpoint), device="cpu")


def test_word_maps_are_those_that_the_editor_sees(tiny: UNet3D) -> None:
    unet, embeds = tiny._modules.unet, torch.cat([tiny.text(p).embeds for p in ("a red ball", "the ball")])
    x = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    columns = torch.zeros(2, 2, 77)
    columns[:, 0, [2, 3]] = 1
    columns[:, 1, 1] = 1
    with torch.no_grad(), word_maps(unet, columns) as found:
        output = tiny.predict(x, 481, embeds)
    names = [layer.name for layer in tiny.layers()]
    assert len(found.maps) == len(names)
    for k, word in enumerate(((2, 3), (1,))):
        with torch.no_grad(), capture(tiny, word, layers=names) as seen:
            assert torch.equal(tiny.predict(x, 481, embeds), output)
        for mine, theirs in zip(found.maps, seen.maps.values(), strict=True):
            assert mine.shape[:2] == (6, 2)
            torch.testing.assert_close(mine[:, k], theirs.flatten(0, 1).flatten(1), rtol=1e-4, atol=1e-6)


def test_hooks_are_taken_off_even_after_an_error(tiny: UNet3D) -> None:
    unet = tiny._modules.unet
    with pytest.raises(ZeroDivisionError), word_maps(unet, torch.zeros(1, 1, 77)):
        assert sum(len(m._forward_pre_hooks) for m in unet.modules()) == len(tiny.layers())
        raise ZeroDivisionError
    assert sum(len(m._forward_pre_hooks) for m in unet.modules()) == 0
