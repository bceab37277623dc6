"""Inversion and replay: the whole chain on the tiny checkpoint, and on a denoiser whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.invert.gaussian import GaussianBackbone
from vxedit.backbones.protocol import Parameterization
from vxedit.backbones.unet3d import UNet3D
from vxedit.invert.inversion import Inversion, denoiser, from_tensors, invert, replay_inversion, to_tensors
from vxedit.invert.store import Store
from vxedit.job import InvertSettings

PROMPT = "a red ball"
STEPS = 4


@pytest.fixture(scope="module")
def clean() -> Tensor:
    smooth = torch.randn(1, 4, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    drift = torch.linspace(0.9, 1.1, 3).view(1, 1, 3, 1, 1)
    return smooth * drift


@pytest.fixture(scope="module")
def inversion(tiny: UNet3D, clean: Tensor) -> Inversion:
    return invert(tiny, clean, PROMPT, InvertSettings("null-text", STEPS, 2.5))


class Counted:
    """Counts a backbone's calls of predict while it is open."""

    def __init__(self, backbone: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        predict = backbone.predict

        def counted(*args: Tensor) -> Tensor:
            self.calls += 1
            return predict(*args)

        monkeypatch.setattr(backbone, "predict", counted)


def miss(backbone: UNet3D, inversion: Inversion, *, pinned: bool = False) -> float:
    return float((replay_inversion(backbone, inversion, pinned=pinned) - inversion.clean).square().mean())


def test_a_pivot_for_every_level(tiny: UNet3D, inversion: Inversion, clean: Tensor) -> None:
    assert inversion.pivots.shape == (STEPS + 1, 4, 3, 8, 8)
    assert inversion.schedule == tiny.schedule(STEPS)
    assert torch.equal(inversion.clean, clean) and torch.equal(inversion.pivot(STEPS), clean)
    assert not inversion.pivots.requires_grad
    assert inversion.null is not None and inversion.null.shape == (STEPS, 77, 32)


def test_a_pinned_replay_gives_the_latents_back(tiny: UNet3D, inversion: Inversion, clean: Tensor) -> None:
    torch.testing.assert_close(replay_inversion(tiny, inversion, pinned=True), clean, rtol=0, atol=1e-6)
    bare = replace(inversion, null=None)
    torch.testing.assert_close(replay_inversion(tiny, bare, pinned=True), clean, rtol=0, atol=1e-6)


def test_null_text_makes_an_honest_replay_under_guidance_closer(tiny: UNet3D, inversion: Inversion) -> None:
    assert inversion.settings.guidance_scale == 2.5
    with_null, with_empty = miss(tiny, inversion), miss(tiny, replace(inversion, null=None))
    assert with_null < 0.5 * with_empty


def test_uni_inv_inverts_better_than_the_plain_rule(tiny: UNet3D, clean: Tensor) -> None:
    plain = invert(tiny, clean, PROMPT, InvertSettings("ddim", STEPS, 1.0))
    uni = invert(tiny, clean, PROMPT, InvertSettings("uni", STEPS, 1.0))
    assert plain.null is None and uni.null is None
    assert miss(tiny, uni) < 0.5 * miss(tiny, plain)


@pytest.mark.parametrize(("kind", "scale", "fewest"), [("ddim", 2.5, 4), ("uni", 2.5, 5), ("null-text", 1.0, 5)])
def test_every_pass_is_counted(
    tiny: UNet3D, clean: Tensor, monkeypatch: pytest.MonkeyPatch, kind: str, scale: float, fewest: int
) -> None:
    counted = Counted(tiny, monkeypatch)
    made = invert(tiny, clean, PROMPT, InvertSettings(kind, STEPS, scale))  # type: ignore[arg-type]
    assert made.forwards == counted.calls
    assert made.forwards >= fewest if kind == "null-text" else made.forwards == fewest
    assert made.backwards == 0 and made.null is None


def test_null_text_passes_are_counted_too(tiny: UNet3D, clean: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(tiny, monkeypatch)
    made = invert(tiny, clean, PROMPT, InvertSettings("null-text", 2, 2.5, per_frame=True))
    assert made.forwards == counted.calls >= 3 + 2
    assert made.null is not None and made.null.shape == (2, 3, 77, 32)


def test_a_replay_at_scale_one_costs_one_pass_a_step(tiny: UNet3D, inversion: Inversion) -> None:
    one, guided = denoiser(tiny, inversion, 1.0), denoiser(tiny, inversion)
    x = inversion.pivot(1)
    eps = one(x, 1)
    assert one.forwards == 1
    assert torch.equal(eps, tiny.predict(x, inversion.schedule.timesteps[1], tiny.text(PROMPT).embeds))
    found = guided(x, 1)
    assert guided.forwards == 2
    assert inversion.null is not None
    uncond = tiny.predict(x, inversion.schedule.timesteps[1], inversion.null[1:2])
    torch.testing.assert_close(found, uncond + 2.5 * (eps - uncond), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["ddim", "uni", "null-text"])
def test_progress_ends_with_everything_done(tiny: UNet3D, clean: Tensor, kind: str) -> None:
    told: list[tuple[int, int]] = []
    settings = InvertSettings(kind, 2, 2.5)  # type: ignore[arg-type]
    invert(tiny, clean, PROMPT, settings, progress=lambda done, total: told.append((done, total)))
    assert len({total for _, total in told}) == 1
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("kind", ["null-text", "uni"])
def test_an_inversion_goes_through_the_store(tiny: UNet3D, inversion: Inversion, tmp_path: Path, kind: str) -> None:
    plain = replace(inversion, null=None, settings=InvertSettings("uni", STEPS, 2.5))
    kept = inversion if kind == "null-text" else plain
    store, key = Store(tmp_path), Store.key({"clip": kind})
    assert store.put(key, *to_tensors(kept))
    got = store.get(key)
    assert got is not None
    back = from_tensors(*got)
    assert torch.equal(back.pivots, kept.pivots)
    assert (back.null is None) == (kept.null is None)
    assert back.null is None or (kept.null is not None and torch.equal(back.null, kept.null))
    for name in ("schedule", "prompt", "settings", "forwards", "backwards"):
        assert getattr(back, name) == getattr(kept, name)
    assert torch.equal(replay_inversion(tiny, back, pinned=False), replay_inversion(tiny, kept, pinned=False))


def test_fresh_noise_goes_through_the_store_and_takes_part_in_the_replay(
    tiny: UNet3D, inversion: Inversion, tmp_path: Path
) -> None:
    fresh = torch.randn(inversion.pivots[1:-1].shape, generator=torch.Generator().manual_seed(0))
    kept = replace(inversion, eta=0.5, fresh=fresh)
    store, key = Store(tmp_path), Store.key({"clip": "fresh"})
    assert store.put(key, *to_tensors(kept))
    got = store.get(key)
    assert got is not None
    back = from_tensors(*got)
    assert back.eta == 0.5 and back.fresh is not None and torch.equal(back.fresh, fresh)
    plain, renewed = (replay_inversion(tiny, one, pinned=False) for one in (inversion, back))
    assert float((plain - renewed).abs().mean()) > 0.01
    x, eps, last = kept.pivot(1), torch.ones_like(kept.pivot(1)), len(kept.schedule) - 1
    assert torch.equal(kept.step(x, eps, last), inversion.step(x, eps, last))  # nothing removes what the last adds


def test_what_is_missing_in_the_store_is_a_key_error(inversion: Inversion) -> None:
    tensors, meta = to_tensors(inversion)
    for name in meta:
        with pytest.raises(KeyError):
            from_tensors(tensors, {key: value for key, value in meta.items() if key != name})
    with pytest.raises(KeyError):
        from_tensors({}, meta)
    with pytest.raises(TypeError):
        from_tensors(tensors, meta | {"settings": {"unknown": 1}})


def test_all_parameterizations_of_one_denoiser_invert_alike() -> None:
    model = GaussianBackbone("epsilon").model
    clean, settings = model.sample(1, 2, 2, 4, 4), InvertSettings("uni", 8, 1.0)
    eps, v, flow = (
        invert(GaussianBackbone(kind), clean, PROMPT, settings)  # type: ignore[arg-type]
        for kind in get_args(Parameterization)
    )
    torch.testing.assert_close(v.pivots, eps.pivots, rtol=0, atol=1e-9)
    torch.testing.assert_close(flow.pivots, eps.pivots, rtol=0, atol=1e-9)
    assert (v.pivots[0] - clean).abs().max() > 0.1


def test_null_text_undoes_what_a_prompt_pushes() -> None:
    """The prompt shifts the noise by its length; the empty prompt doesn't, so guidance with it goes astray."""
    backbone = GaussianBackbone("v_prediction", push=0.02)
    made = invert(backbone, backbone.model.sample(1, 2, 2, 4, 4), PROMPT, InvertSettings("null-text", 8, 2.5))
    honest = replay_inversion(backbone, made, pinned=False)
    astray = replay_inversion(backbone, replace(made, null=None), pinned=False)
    assert (honest - made.clean).square().mean() < 0.05 * (astray - made.clean).square().mean()


def test_numbers_that_are_not_finite_are_refused() -> None:
    backbone = GaussianBackbone("epsilon", push=float("inf"))
    with pytest.raises(ValueError, match="finite"):
        invert(backbone, torch.zeros(1, 1, 1, 2, 2, dtype=torch.float64), PROMPT, InvertSettings("uni", 8, 1.0))
