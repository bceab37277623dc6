"""Wan on its own classes at tiny size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_t5 import WIDTH, save_part, write_json, write_text
from vxedit.backbones.registry import load, outline
from vxedit.backbones.wan import Wan
from vxedit.errors import ModelError, UsageError

NETWORK: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": WIDTH,
    "freq_dim": 16,
    "ffn_dim": 32,
    "num_layers": 3,
    "rope_max_seq_len": 32,
}
VAE: dict[str, Any] = {
    "base_dim": 8,
    "z_dim": 4,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
    "latents_mean": (0.1, -0.2, 0.3, 0.0),
    "latents_std": (2.0, 1.5, 0.5, 1.0),
}


def write_tiny_wan(folder: Path, *, experts: int = 1, index: dict[str, Any] | None = None) -> Path:
    """Random weights in the layout of Wan-AI/Wan2.1-T2V-1.3B-Diffusers, or of Wan2.2-T2V-A14B-Diffusers with two
    experts."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    for number in range(experts):
        part = "transformer" if number == 0 else "transformer_2"
        save_part(folder / part, WanTransformer3DModel(**NETWORK), seed=number)
    save_part(folder / "vae", AutoencoderKLWan(**VAE), spread=0.05)
    write_text(folder, kind="UMT5EncoderModel")
    scheduler = {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction", "flow_shift": 3.0}
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / "model_index.json", {"_class_name": "WanPipeline", **(index or {})})
    return folder


class TestWan(FamilyContract):
    write = staticmethod(write_tiny_wan)
    family = "wan"
    guidance_scale = 5.0
    clip = (9, 32, 48)
    latents = (1, 4, 3, 4, 6)
    spans = ((0,), (1, 2, 3, 4), (5, 6, 7, 8))
    mixers = ("blocks.*.attn1",)
    patch = (1, 2, 2)

    def test_it_takes_the_published_steps(self, folder: Path) -> None:
        """Wan's own: sigmas 1, 1 - 1/N, …, shifted."""
        made = outline(str(folder)).schedule(4)
        expected = [3 * u / (1 + 2 * u) for u in (1.0, 0.75, 0.5, 0.25)]
        assert made.timesteps == pytest.approx([1000 * s for s in expected])

    def test_lengths_that_it_does_not_make_are_answered_with_the_nearest(self, folder: Path) -> None:
        with pytest.raises(UsageError, match=r"--num-frames 9 or 13"):
            outline(str(folder)).check_generated(11, 32, 32)
        assert outline(str(folder)).check(11, 32, 32).frames == 11


def predicted(backbone: Any, timestep: float) -> torch.Tensor:
    latents = torch.randn(1, 4, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found: torch.Tensor = backbone.predict(latents, timestep, backbone.text(PROMPT).embeds)
    return found


def test_each_expert_has_its_levels(tmp_path: Path) -> None:
    one = load(str(write_tiny_wan(tmp_path / "one")), device="cpu")
    folder = write_tiny_wan(tmp_path / "two", experts=2, index={"boundary_ratio": 0.875})
    two = load(str(folder), device="cpu")
    assert torch.equal(predicted(two, 880.0), predicted(one, 880.0))
    assert not torch.equal(predicted(two, 870.0), predicted(one, 870.0))
    assert len(two.layers()[0].twins) == 1


def test_maps_are_seen_in_either_expert(tmp_path: Path) -> None:
    from vxedit.edit.attention import attention_maps

    folder = write_tiny_wan(tmp_path / "two", experts=2, index={"boundary_ratio": 0.5})
    two = load(str(folder), device="cpu")
    latents = torch.randn(1, 4, 3, 4, 6)
    with torch.no_grad():
        high, low = (
            attention_maps(two, latents, timestep, two.text(PROMPT).embeds, [2]) for timestep in (900.0, 100.0)
        )
    assert high.keys() == low.keys() == set(two.steering_layers())
    assert not torch.equal(*(next(iter(maps.values())) for maps in (high, low)))


def test_experts_and_their_boundary_come_together(tmp_path: Path) -> None:
    """Said before any weights are loaded."""
    folder = write_tiny_wan(tmp_path / "two", experts=2)
    with pytest.raises(ModelError, match="lacks boundary_ratio"):
        outline(str(folder))
    folder = write_tiny_wan(tmp_path / "half", index={"boundary_ratio": 0.875})
    with pytest.raises(ModelError, match=r"boundary_ratio 0\.875.*transformer_2"):
        outline(str(folder))


def test_an_expert_without_weights_is_missing(tmp_path: Path) -> None:
    folder = write_tiny_wan(tmp_path / "two", experts=2, index={"boundary_ratio": 0.5})
    (folder / "transformer_2" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"missing: transformer_2/diffusion_pytorch_model\.safetensors"):
        outline(str(folder))
    shutil.rmtree(folder / "transformer_2")
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds transformer, vae, text_encoder, scheduler, tokenizer,"):
        outline(str(folder))


def test_a_network_that_is_given_a_picture_too_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_wan(tmp_path / "picture")
    config = folder / "transformer" / "config.json"
    write_json(config, json.loads(config.read_text()) | {"in_channels": 9})
    with pytest.raises(ModelError, match=r"takes 9 channels and gives 4.*text-to-video"):
        outline(str(folder))


def test_a_timestep_for_every_token_is_the_one_for_all(tmp_path: Path) -> None:
    """The 5B model is told the noise token by token; where it is the same everywhere, so is the output."""
    plain = load(str(write_tiny_wan(tmp_path / "plain")), device="cpu")
    by_token = load(str(write_tiny_wan(tmp_path / "by", index={"expand_timesteps": True})), device="cpu")
    assert isinstance(by_token, Wan)
    assert by_token.by_token
    torch.testing.assert_close(predicted(by_token, 500.0), predicted(plain, 500.0), rtol=1e-4, atol=1e-5)
