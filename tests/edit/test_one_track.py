"""The best way through a word's attention, the energy of what lies off it, and latents guided to it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vxedit.backbones.tokens import columns
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import words_maps
from vxedit.edit.guidance import GuidanceSettings
from vxedit.edit.one_track import CELLS, OneTrack, best_way, keep_on_track, track_energy

PROMPT = "the burger on the red ball"
STRIDE = OneTrack().stride


def blob(x: float, y: float, height: int = 16, width: int = 16, spread: float = 0.06) -> Tensor:
    """A bell of attention at x, y, shares of the frame."""
    rows, cols = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    side = (height * width) ** 0.5
    apart = ((rows - y * height) / side)[:, None] ** 2 + ((cols - x * width) / side)[None] ** 2
    return torch.exp(-apart / (2 * spread**2))


def test_the_way_follows_a_moving_object() -> None:
    xs = torch.linspace(0.2, 0.8, 16)  # 0.04 a frame
    way = best_way(torch.stack([blob(float(x), 0.4) for x in xs]), STRIDE)
    assert float((way - torch.stack([xs, torch.full((16,), 0.4)], 1)).abs().max()) < 1 / 16


def test_of_two_places_it_keeps_to_the_one_with_more() -> None:
    here, there = blob(0.2, 0.3), blob(0.8, 0.7)
    maps = torch.stack([here + 0.5 * there] * 3 + [0.5 * here + there] * 6)
    way = best_way(maps, STRIDE)
    assert float((way - torch.tensor([0.8, 0.7])).abs().max()) < 1 / 16  # also where that is the weaker one
    hops = best_way(maps, 10.0)
    assert float((hops[:3] - torch.tensor([0.2, 0.3])).abs().max()) < 1 / 16


def test_a_frame_s_brightness_does_not_count() -> None:
    """Attention is compared within a frame: one frame that looks at the word more doesn't decide for all."""
    here, there = blob(0.2, 0.5), blob(0.8, 0.5)
    maps = torch.stack([1000 * here, *[there] * 6])
    assert float(best_way(maps, STRIDE)[-1, 0]) > 0.7


def test_places_are_in_shares_of_the_mean_side() -> None:
    way = best_way(torch.stack([blob(0.75, 0.5, 8, 32)] * 2), STRIDE)
    assert float((way[0] - torch.tensor([0.75 * 2.0, 0.5 * 0.5])).abs().max()) < 1 / 16


def test_the_energy_is_nothing_on_the_way_and_grows_off_it() -> None:
    how = OneTrack()
    still = {"a": torch.stack([blob(0.3, 0.3)] * 6)[None, None]}
    assert float(track_energy(still, how).max()) < 0.02
    astray = {"a": torch.stack([blob(0.3, 0.3)] * 5 + [blob(0.9, 0.9)])[None, None]}
    energy = track_energy(astray, how)
    assert float(energy[:5].max()) < 0.02 and float(energy[5]) > 0.9


def test_the_energy_is_the_mean_over_words_and_layers() -> None:
    how = OneTrack()
    one, two = (torch.stack([blob(x, 0.5)] * 3 + [blob(1 - x, 0.5)])[None, None] for x in (0.1, 0.2))
    alone = [track_energy({"a": maps}, how) for maps in (one, two)]
    together = track_energy({"a": torch.cat([one, two], 1)}, how)
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)
    # a way is found on all layers together, so two of the same are as one
    torch.testing.assert_close(track_energy({"a": one, "b": one}, how), alone[0])


def test_the_energy_s_gradient_pulls_the_stray_frame_to_the_way() -> None:
    maps = torch.stack([blob(0.3, 0.3)] * 5 + [0.4 * blob(0.3, 0.3) + blob(0.9, 0.9)])[None, None].requires_grad_()
    (gradient,) = torch.autograd.grad(track_energy({"a": maps}, OneTrack()).sum(), maps)
    at_way, astray = gradient[0, 0, 5, 4, 4], gradient[0, 0, 5, 14, 14]
    assert float(at_way) < 0 < float(astray)


def test_a_large_grid_is_searched_on_a_coarser_one() -> None:
    side = 2 * CELLS
    maps = torch.stack([blob(0.3, 0.6, side, side)] * 2)[None, None]
    assert float(track_energy({"a": maps}, OneTrack()).max()) < 0.02


@pytest.mark.parametrize("words", [("burger",), ("burger", "ball")])
def test_latents_are_guided_until_the_attention_lies_nearer_its_way(tiny: UNet3D, words: tuple[str, ...]) -> None:
    own = [columns(tiny.tokens(PROMPT), PROMPT, word) for word in words]
    embeds = tiny.text(PROMPT).embeds
    x = torch.randn(1, 4, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    how = OneTrack(guidance=GuidanceSettings(iterations=3, rate=0.1, enough=0.02))
    kept = keep_on_track(tiny, x, 901, embeds, own, how)
    before, after = (track_energy(words_maps(tiny, at, 901, embeds, own), how) for at in (x, kept.latents))
    torch.testing.assert_close(before.detach(), kept.before)
    assert float(after.sum()) < float(before.sum()) and 1 < kept.passes <= 4
    assert not kept.latents.requires_grad
