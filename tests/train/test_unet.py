"""The U-Net, the text encoder and what they are trained on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vxedit.train.data import Labels
from vxedit.train.excerpts import Batch, LatentClips
from vxedit.train.loop import StageSettings
from vxedit.train.tokenizer import LENGTH, write_tokenizer
from vxedit.train.unet import (
    CELLS,
    HEAVIEST,
    Captions,
    build_text_encoder,
    build_unet,
    levels,
    spatial_only,
    train_unet,
)
from vxedit.train.vae import LATENT_CHANNELS


@pytest.fixture(scope="module")
def unet() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_unet().eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import CLIPTokenizer

    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


def latents(frames: int = 2) -> Tensor:
    made = torch.Generator().manual_seed(0)
    return torch.randn(1, LATENT_CHANNELS, frames, CELLS, CELLS, generator=made)


def text() -> Tensor:
    return torch.randn(1, LENGTH, 128, generator=torch.Generator().manual_seed(1))


def temporal(unet: nn.Module) -> list[nn.Module]:
    from diffusers.models.resnet import TemporalConvLayer
    from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel

    return [m for m in unet.modules() if isinstance(m, (TemporalConvLayer, TransformerTemporalModel))]


@torch.no_grad()
def test_the_video_model_starts_as_the_image_model(unet: Any) -> None:
    """Its temporal layers change nothing, so with and without them the output is the same, frame by frame."""
    whole = unet(latents(), 500, text()).sample
    assert whole.shape == latents().shape
    with spatial_only(unet):
        frames = [unet(latents()[:, :, i : i + 1], 500, text()).sample for i in range(2)]
    torch.testing.assert_close(torch.cat(frames, 2), whole, rtol=0, atol=1e-4)
    assert whole.std() > 1e-3


@torch.no_grad()
def test_spatial_only_skips_temporal_layers_and_puts_them_back(unet: Any) -> None:
    layers = temporal(unet)
    assert len(layers) > 8
    before = [p.clone() for layer in layers for p in layer.parameters()]
    for layer in layers:
        for p in layer.parameters():
            p.add_(0.05)  # now they do something
    try:
        whole = unet(latents(), 500, text()).sample
        with pytest.raises(ZeroDivisionError), spatial_only(unet):
            skipped = unet(latents(), 500, text()).sample
            raise ZeroDivisionError
        assert (skipped - whole).abs().max() > 1e-3
        assert not any("forward" in vars(layer) for layer in layers)
        assert torch.equal(unet(latents(), 500, text()).sample, whole)
    finally:
        for p, old in zip((p for layer in layers for p in layer.parameters()), before, strict=True):
            p.copy_(old)


def test_the_network_is_small_and_never_drops(unet: Any) -> None:
    assert 5e6 < sum(p.numel() for p in unet.parameters()) < 2e7
    assert all(m.p == 0 for m in unet.modules() if isinstance(m, nn.Dropout))


def test_the_text_encoder_gives_the_networks_width(tokenizer: Any) -> None:
    encoder = build_text_encoder(len(tokenizer)).eval()
    ids = tokenizer("a ball over sand", padding="max_length", max_length=LENGTH, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert encoder(ids).last_hidden_state.shape == (1, LENGTH, 128)
    assert (
        encoder.config.eos_token_id == tokenizer.eos_token_id and encoder.config.bos_token_id == tokenizer.bos_token_id
    )


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("a ball over sand", ("ball",)),
        ("a balloon and a ball over a meadow", ("balloon", "ball")),  # one is the beginning of the other
        ("a ball and a balloon over a meadow", ("ball", "balloon")),
        ("the night sky and an ice cream", ("ice cream",)),
        ("a car in front of a curtain", ("car",)),
        ("an apple and a star moving over a photo", ("apple", "star")),
    ],
)
def test_columns_are_those_of_the_objects_own_word(tokenizer: Any, caption: str, names: tuple[str, ...]) -> None:
    found = Captions(tokenizer, [Labels(caption, names, np.zeros((len(names), 1, CELLS, CELLS), np.float16))])
    assert found.ids.shape == (1, LENGTH) and found.empty.shape == (1, LENGTH)
    for k in range(2):
        columns = found.columns[0, k].nonzero()[:, 0]
        said = tokenizer.decode(found.ids[0, columns]).strip()
        assert said == (names[k] if k < len(names) else "")


def test_a_caption_without_its_object_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match=r"'cup'.*'a ball over sand'"):
        Captions(tokenizer, [Labels("a ball over sand", ("cup",), np.zeros((1, 1, CELLS, CELLS), np.float16))])


class Blank(nn.Module):
    """A network that sees no noise anywhere, and keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, t: Tensor, embeds: Tensor) -> SimpleNamespace:
        self.shown.append((x, t))
        return SimpleNamespace(sample=torch.zeros_like(x))


class Steps:
    """What `train_unet` would train on, step by step, without training. Clean latents are zero, so what the network is
    shown is noise alone: x = sqrt(1 - abar) eps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tokenizer: Any, folder: Path) -> None:
        self.folder, self.tokenizer, self.unet = folder, tokenizer, Blank()
        caption = Labels("a ball over sand", ("ball",), np.zeros((1, 8, CELLS, CELLS), np.float16))
        self.data = LatentClips(torch.zeros(2, 8, LATENT_CHANNELS, CELLS, CELLS).half(), (caption, caption))
        self.losses: list[Callable[[int], dict[str, Tensor]]] = []
        monkeypatch.setattr("vxedit.train.unet.run_stage", self._note)
        nothing = torch.tensor(0.0)
        monkeypatch.setattr("vxedit.train.unet.grounding_loss", lambda *_: (nothing, nothing))

    def _note(self, settings: StageSettings, modules: Any, loss: Any, folder: Path, log: Any) -> SimpleNamespace:
        self.losses.append(loss)
        return SimpleNamespace(shadow=modules)

    def run(self, batches: list[Batch], *, structure: bool, steps: int) -> list[dict[str, Tensor]]:
        text = nn.Module()
        text.forward = lambda ids: SimpleNamespace(last_hidden_state=torch.zeros(len(ids), LENGTH, 128))
        train_unet(
            StageSettings("joint", steps, lr=1e-3),
            self.unet,
            text,
            self.tokenizer,
            self.data,
            self.folder,
            lambda _: None,
            batches=batches,
            scale=1.0,
            device=torch.device("cpu"),
            structure=structure,
        )
        return [self.losses[-1](step) for step in range(steps)]

    def noise(self) -> list[tuple[Tensor, Tensor]]:
        """The noise (B, C, f, h, w) of each step, and its levels' abar (B,)."""
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square()
        levels = (1 - betas).cumprod(0)
        found = []
        for x, t in self.unet.shown:
            abar = levels[t]
            found.append((x / (1 - abar).sqrt().view(-1, 1, 1, 1, 1), abar))
        return found


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tokenizer: Any, tmp_path: Path) -> Steps:
    return Steps(monkeypatch, tokenizer, tmp_path)


def test_batches_take_turns_each_with_its_frames_and_clips(steps: Steps) -> None:
    parts = steps.run([Batch(1, 5), Batch(4, 2)], structure=False, steps=4)
    assert [x.shape[:3:2] for x, _ in steps.unet.shown] == [(5, 1), (2, 4)] * 2
    assert [("weighted1" in one, "weighted4" in one) for one in parts] == [(True, False), (False, True)] * 2
    (only,) = steps.run([Batch(4, 2)], structure=False, steps=1)
    assert set(only) == {"loss", "mse", "share"}


def test_single_frames_skip_the_temporal_layers_and_clips_do_not(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped: list[int] = []

    def noted(unet: nn.Module) -> Any:
        skipped.append(len(steps.unet.shown))
        return spatial_only(unet)

    monkeypatch.setattr("vxedit.train.unet.spatial_only", noted)
    steps.run([Batch(1, 2), Batch(4, 1)], structure=True, steps=4)
    assert skipped == [0, 2]


def test_without_structure_every_level_counts_the_same_and_frames_share_no_noise(steps: Steps) -> None:
    parts = steps.run([Batch(4, 2)], structure=False, steps=6)
    for one, (noise, _) in zip(parts, steps.noise(), strict=True):
        torch.testing.assert_close(one["loss"], noise.square().mean(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one["mse"], one["loss"])
        assert max(abs(value) for clip in correlations(noise) for value in clip) < 0.06


def test_with_structure_noisy_levels_count_more_and_frames_share_a_random_part(steps: Steps) -> None:
    """eps is off by eps itself here; its velocity's error is 1 / abar times that, of which HEAVIEST is the most."""
    parts = steps.run([Batch(4, 2)], structure=True, steps=12)
    weights, shared = [], []
    for one, (noise, abar) in zip(parts, steps.noise(), strict=True):
        error, weight = noise.square().mean((1, 2, 3, 4)), (1 / abar).clamp(max=HEAVIEST)
        torch.testing.assert_close(one["loss"], (error * weight).mean(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one["mse"], error.mean(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(error, torch.ones(2), rtol=0, atol=0.06)  # it is unit noise whatever is shared
        weights += weight.tolist()
        for clip in correlations(noise):
            assert max(clip) - min(clip) < 0.08  # the same part in all of a clip's frames
            shared.append(sum(clip) / len(clip))
    assert max(weights) == HEAVIEST and min(weights) < 2
    assert min(shared) < 0.25 and max(shared) > 0.75  # drawn anew for every clip


@pytest.mark.parametrize("structure", [True, False])
def test_with_structure_an_error_counts_more_where_an_object_is(steps: Steps, structure: bool) -> None:
    """The ball covers the frame's left quarter: its cells weigh 5 / (1 + 4 / 4) and the others 1 / (1 + 4 / 4)."""
    coverage = np.zeros((1, 8, CELLS, CELLS), np.float16)
    coverage[..., : CELLS // 4] = 1
    ball = Labels("a ball over sand", ("ball",), coverage)
    steps.data = LatentClips(steps.data.latents, (ball, ball))
    parts = steps.run([Batch(4, 2)], structure=structure, steps=2)
    for one, (noise, abar) in zip(parts, steps.noise(), strict=True):
        error = noise.square()
        at, beside = error[..., : CELLS // 4].sum((1, 2, 3, 4)), error[..., CELLS // 4 :].sum((1, 2, 3, 4))
        weighted = (2.5 * at + 0.5 * beside) / error[0].numel() * (1 / abar).clamp(max=HEAVIEST)
        plain = error.mean((1, 2, 3, 4))
        torch.testing.assert_close(one["loss"], (weighted if structure else plain).mean(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one["mse"], plain.mean(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [1, 4, 64])
def test_a_step_sees_little_noise_and_much(count: int) -> None:
    seen = np.stack([levels(np.random.default_rng(seed), count) for seed in range(400)])
    assert seen.min() >= 0 and seen.max() <= 999
    width = 1000 / count
    gaps = np.diff(np.sort(seen, axis=1), axis=1)
    assert np.all(np.abs(gaps - width) <= 1)  # one a part; whole numbers round
    assert abs(seen[:, 0].mean() - 499.5) < 60 and seen[:, 0].std() > 240  # each, alone, from the whole range


def test_levels_are_drawn_towards_much_noise() -> None:
    """Shifted by 2, a half of them lie above two thirds of the range: 2 u / (1 + u) = 2/3 where u = 1/2."""
    seen = np.concatenate([levels(np.random.default_rng(seed), 64, 2.0) for seed in range(50)])
    assert seen.min() >= 0 and seen.max() <= 999
    assert abs((seen < 667).mean() - 0.5) < 0.02
    dense, sparse = (((seen >= low) & (seen < low + 100)).mean() for low in (900, 0))
    assert 1.7 < dense / 0.1 < 2.05 and 0.45 < sparse / 0.1 < 0.6


def test_with_structure_much_noise_is_seen_more_often(steps: Steps) -> None:
    found = {}
    for structure in (True, False):
        steps.unet.shown.clear()
        steps.run([Batch(1, 64)], structure=structure, steps=6)
        found[structure] = float(torch.cat([t.float() for _, t in steps.unet.shown]).median())
    assert abs(found[False] - 500) < 25 and abs(found[True] - 667) < 25


def correlations(noise: Tensor) -> list[list[float]]:
    """E[x y] of every two frames of each clip of noise (B, C, f, h, w)."""
    pairs = list(combinations(range(noise.shape[2]), 2))
    return [[float((clip[:, i] * clip[:, j]).mean()) for i, j in pairs] for clip in noise]
