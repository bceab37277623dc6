"""What is measured of a model before any edit: the figures' meaning, on random weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from vxedit.backbones.protocol import Size
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D
from vxedit.evaluate import sample as sampling
from vxedit.evaluate.model import attention_share, forward_flops, generated_clips, gradient_share, vae_figures
from vxedit.render.backgrounds import BACKGROUNDS
from vxedit.render.objects import DRAWINGS
from vxedit.render.scene import never_trained, random_scene, render


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> UNet3D:
    return cast(UNet3D, load(str(checkpoint), device="cpu"))


def test_the_attention_s_share_is_between_none_and_all_and_the_area_is_the_box_s(tiny: UNet3D) -> None:
    shares = attention_share(tiny, [1])
    assert set(shares) == {"area", *tiny.steering_layers()}
    box = render(random_scene(1, split="test", actors=1)).boxes[0]
    assert shares["area"][0] == pytest.approx(np.prod(box[:, 2:] - box[:, :2], axis=1).mean(), abs=0.005)
    for name in tiny.steering_layers():
        assert shares[name][0] == pytest.approx(shares["area"][0], abs=0.1)  # random weights look everywhere alike


def test_an_autoencoder_that_loses_nothing_is_perfect(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "encode", lambda frames: frames)
    monkeypatch.setattr(tiny, "decode", lambda frames, count: frames)
    assert vae_figures(tiny, [0, 1]) == {"vae_drawn_db": [100.0, 100.0], "vae_photo_db": [100.0, 100.0]}
    monkeypatch.setattr(tiny, "decode", lambda frames, count: np.bitwise_xor(frames, 1))  # off by one level everywhere
    for values in vae_figures(tiny, [0]).values():
        assert values == [pytest.approx(20 * np.log10(255), abs=1e-3)]


def test_clips_are_generated_at_the_model_s_own_size_each_from_its_own_seed(
    tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, asked = sampling.generate, []

    def quickly(*given: Any, generator: torch.Generator, **how: Any) -> Any:
        asked.append(how)
        return make(*given, steps=1, guidance_scale=1.0, generator=generator)

    monkeypatch.setattr(sampling, "generate", quickly)
    (one, two), (same, _), (other, _) = (generated_clips(tiny, 2, seed) for seed in (1, 1, 2))
    assert one.frames.shape == (16, 64, 64, 3) and one.frames.dtype == np.uint8
    assert np.array_equal(one.frames, same.frames)
    assert not np.array_equal(one.frames, two.frames) and not np.array_equal(one.frames, other.frames)
    assert all(how == {"steps": None, "guidance_scale": None, "eta": None, "steady": []} for how in asked)


def test_every_second_generated_pair_was_never_trained(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(backbone: UNet3D, prompt: str, size: Size, **how: Any) -> SimpleNamespace:
        asked.append(prompt)
        assert size == backbone.native
        return SimpleNamespace(clean=torch.zeros(1, 4, size.frames, 8, 8))

    monkeypatch.setattr(sampling, "generate", note)
    told: list[int] = []
    clips = generated_clips(tiny, 6, 0, told.append)
    assert [clip.unseen for clip in clips] == [False, True] * 3 and told == [1, 2, 3, 4, 5, 6]
    for clip, prompt in zip(clips, asked, strict=True):
        assert clip.name in DRAWINGS and clip.place in BACKGROUNDS
        assert never_trained(clip.name, clip.place) == clip.unseen
        assert clip.name in prompt and clip.place in prompt


def test_the_cost_of_a_pass(tiny: UNet3D) -> None:
    small, large = (forward_flops(tiny, torch.zeros(1, 4, frames, 8, 8)) for frames in (2, 4))
    assert 1.9 < large / small < 2.2  # all but the attention along time grows with the frames
    assert 0 < gradient_share(tiny) <= 3
