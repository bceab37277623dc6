"""Open-Sora-Plan 1.2.0: what every family has to do, its published layout, and its autoencoder in pieces."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_allegro import NETWORK, write_tiny_opensora_plan
from vxedit.backbones.opensora_plan import adapter
from vxedit.backbones.opensora_plan.causal_vae import CausalVae
from vxedit.backbones.protocol import Backbone, Size
from vxedit.backbones.registry import load, outline
from vxedit.errors import ModelError


class TestOpenSoraPlan(FamilyContract):
    write = staticmethod(write_tiny_opensora_plan)
    family = "opensora-plan"
    guidance_scale = 7.5
    clip = (9, 32, 48)
    latents = (1, 4, 3, 4, 6)
    spans = ((0,), (1, 2, 3, 4), (5, 6, 7, 8))
    mixers = ("transformer_blocks.*.attn1",)
    patch = (1, 2, 2)

    def test_levels_are_those_of_the_scheduler_as_it_is(self, folder: Path) -> None:
        """What the authors sample with, without settings."""
        from diffusers import EulerAncestralDiscreteScheduler

        made, theirs = outline(str(folder)).schedule(4), EulerAncestralDiscreteScheduler()
        theirs.set_timesteps(4)
        assert list(made.timesteps) == theirs.timesteps.tolist()
        abar = 1 / (1 + theirs.sigmas[:-1] ** 2)
        assert made.abar[:-1] == pytest.approx(abar.tolist(), rel=1e-3)

    def test_latents_are_the_mean_by_the_authors_scale(self, backbone: Any) -> None:
        clip = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
        pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 255 * 2 - 1
        vae: CausalVae = backbone.codec.vae.module
        with torch.no_grad():
            torch.testing.assert_close(backbone.encode(clip), vae.encode(pixels) * 0.18215, rtol=1e-4, atol=1e-6)
            latents = torch.randn(1, 4, 2, 2, 3, generator=torch.Generator().manual_seed(0))
            exact = ((vae.decode(latents / 0.18215) + 1) * 127.5).clamp(0, 255)[0].permute(1, 2, 3, 0).numpy()
        assert np.abs(backbone.decode(latents, 5) - exact).max() < 0.51

    def test_the_network_s_weights_and_scales_are_those_of_its_folder(self, folder: Path, backbone: Any) -> None:
        written = load_file(folder / "93x720p" / "diffusion_pytorch_model.safetensors")
        taken = backbone.network.state_dict()
        assert written.keys() == taken.keys()
        assert all(torch.equal(written[name], taken[name]) for name in written)
        names = ("interpolation_scale_t", "interpolation_scale_h", "interpolation_scale_w", "num_layers")
        assert {name: backbone.network.config[name] for name in names} == {name: NETWORK[name] for name in names}

    def test_a_large_clip_goes_through_in_pieces(self, backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (("PIECE_FRAMES", 5), ("PIECE_PX", 32), ("OVERLAP_PX", 16)):
            monkeypatch.setattr(adapter, name, value)
        sizes: dict[str, list[tuple[int, ...]]] = {"encode": [], "decode": []}

        class Noted(CausalVae):
            def encode(self, pixels: torch.Tensor) -> torch.Tensor:
                sizes["encode"].append(tuple(pixels.shape[2:]))
                return super().encode(pixels)

            def decode(self, latents: torch.Tensor) -> torch.Tensor:
                sizes["decode"].append(tuple(latents.shape[2:]))
                return super().decode(latents)

        plain: CausalVae = backbone.codec.vae.module
        noted = Noted(plain.config).eval()
        noted.load_state_dict(plain.state_dict())
        codec = adapter.codec(noted)
        clip = np.random.default_rng(0).integers(0, 256, (9, 16, 48, 3), dtype=np.uint8)
        latents = codec.encode(clip)
        assert latents.shape == (1, 4, 3, 2, 6)
        assert codec.decode(latents, 9).shape == clip.shape
        assert sizes == {"encode": [(5, 16, 32)] * 4, "decode": [(2, 2, 4)] * 4}
        corner = torch.from_numpy(clip[:5, :, :32]).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        with torch.no_grad():  # the first two columns are the first piece's alone
            expected = plain.encode(corner)[..., :2] * 0.18215
        torch.testing.assert_close(latents[:, :, :2, :, :2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("place", "sample", "native"),
    [
        ("29x720p", {"sample_size": [90, 160], "sample_size_t": 8}, Size(29, 720, 1280)),
        ("93x480p", {"sample_size": [60, 80], "sample_size_t": 24}, Size(93, 480, 640)),
    ],
)
def test_each_published_folder_has_its_size(tmp_path: Path, place: str, sample: dict[str, Any], native: Size) -> None:
    shown = outline(str(write_tiny_opensora_plan(tmp_path / "tiny", place=place, settings=sample)))
    assert shown.native == native
    assert shown.layout.family.name == f"opensora-plan-{place}"


def test_the_published_checkpoint_gives_the_averaged_weights(tmp_path: Path) -> None:
    plain, folder = write_tiny_opensora_plan(tmp_path / "plain"), tmp_path / "published"
    write_tiny_opensora_plan(folder, pickled=True)
    with pytest.raises(ModelError, match="--allow-pickle"):
        outline(str(folder))
    published: Backbone = load(str(folder), device="cpu", allow_pickle=True)
    clip = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    torch.testing.assert_close(published.encode(clip), load(str(plain), device="cpu").encode(clip), rtol=0, atol=0)
    assert published.text(PROMPT).embeds.shape == (1, 512, 32)


def test_an_autoencoder_that_lacks_a_weight_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_opensora_plan(tmp_path / "tiny")
    file = folder / "vae" / "checkpoint.safetensors"
    weights = load_file(file)
    del weights["decoder.conv_out.conv.bias"]
    save_file(weights, file)
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors.*decoder\.conv_out\.conv\.bias"):
        load(str(folder), device="cpu")
    file.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors can't be loaded"):
        load(str(folder), device="cpu")


def test_diffusers_says_nothing_of_the_authors_own_settings(tmp_path: Path) -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("diffusers")
    before = logger.level
    logger.addHandler(handler)
    try:
        load(str(write_tiny_opensora_plan(tmp_path / "tiny")), device="cpu")
    finally:
        logger.removeHandler(handler)
    assert said == []
    assert logger.level == before


@pytest.mark.parametrize("settings", [{"use_rope": False}, {"downsampler": "k333_s222"}])
def test_another_network_of_the_authors_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = write_tiny_opensora_plan(tmp_path / "tiny", settings=settings)
    with pytest.raises(ModelError, match=next(iter(settings))):
        load(str(folder), device="cpu")
