"""Latte on its own classes at tiny size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_t5 import WIDTH, save_part, write_json, write_text
from vxedit.backbones.latte import Latte, positions
from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import load, outline
from vxedit.errors import UsageError
from vxedit.invert.ddim import guided, step

ROWS = 4
"""Frames that the network has places for."""

NETWORK: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 3,
    "cross_attention_dim": 24,
    "attention_bias": True,
    "sample_size": 8,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "norm_type": "ada_norm_single",
    "norm_elementwise_affine": False,
    "caption_channels": WIDTH,
    "video_length": ROWS,
}
VAE: dict[str, Any] = {
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (8, 8, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
OVER_TIME: dict[str, Any] = {
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
}
SCHEDULER: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "clip_sample": False,
    "steps_offset": 0,
    "set_alpha_to_one": True,
}


def write_tiny_latte(folder: Path, *, over_time: bool = False, vxedit: dict[str, Any] | None = None) -> Path:
    """Random weights in the layout of maxin-cn/Latte-1."""
    from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, LatteTransformer3DModel

    save_part(folder / "transformer", LatteTransformer3DModel(**NETWORK))
    save_part(folder / "vae", AutoencoderKL(**VAE), spread=0.05)
    if over_time:
        save_part(folder / "vae_temporal_decoder", AutoencoderKLTemporalDecoder(**OVER_TIME), spread=0.05)
    write_text(folder, kind="T5EncoderModel")
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_json(folder / "model_index.json", {"_class_name": "LattePipeline", "vxedit": vxedit or {}})
    return folder


class TestLatte(FamilyContract):
    write = staticmethod(write_tiny_latte)  # type: ignore[assignment]
    family = "latte"
    guidance_scale = 7.5
    clip = (ROWS, 32, 48)
    latents = (1, 4, ROWS, 4, 6)
    spans = ((0,), (1,), (2,), (3,))
    mixers = ("transformer_blocks.*.attn1", "temporal_transformer_blocks.*")
    patch = (1, 2, 2)

    def test_a_shorter_clip_is_continued_and_a_generated_one_has_the_network_s_length(self, folder: Path) -> None:
        seen = outline(str(folder))
        assert seen.fit(2, 64, 64).frames == 2
        assert seen.facts.sizes.length.latents(2) == ROWS
        assert seen.facts.sizes.length.spans(2) == ((0,), (1,), (1,), (1,))
        with pytest.raises(UsageError, match=r"--num-frames 4"):
            seen.check_generated(3, 64, 64)

    def test_the_prompt_is_read_in_small_letters(self, backbone: Backbone) -> None:
        plain, shouted = backbone.text(PROMPT), backbone.text(PROMPT.upper())
        assert torch.equal(plain.embeds, shouted.embeds)
        assert plain.pieces == shouted.pieces
        assert plain.embeds.shape == (1, 120, WIDTH)

    def test_hidden_columns_are_as_good_as_cut(self, backbone: Latte) -> None:
        latents, embeds = self.noisy(), backbone.text(PROMPT).embeds
        short = embeds[:, : int((embeds.abs().amax(-1) > 0).sum())]
        assert 0 < short.shape[1] < embeds.shape[1]
        with torch.no_grad():
            found = backbone.predict(latents, 600.0, embeds)
            cut = backbone.network(latents, torch.tensor([600]), short, return_dict=False)[0]
        assert cut.shape[1] == 8
        torch.testing.assert_close(found, cut[:, :4], rtol=1e-4, atol=1e-5)

    def test_each_clip_of_a_batch_hides_its_own_padding(self, backbone: Latte) -> None:
        latents = torch.cat([self.noisy(0), self.noisy(1)])
        embeds = torch.cat([backbone.text(prompt).embeds for prompt in (PROMPT, "ball")])
        with torch.no_grad():
            both = backbone.predict(latents, 600.0, embeds)
            alone = torch.cat([backbone.predict(latents[i : i + 1], 600.0, embeds[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)

    def test_a_run_is_the_published_pipeline_s(self, backbone: Latte, folder: Path) -> None:
        """With guidance: the empty prompt stands on the prompt's columns, its padding shown."""
        from diffusers import DDIMScheduler, LattePipeline

        pipeline = LattePipeline(
            backbone.prompts.tokenizer,
            backbone.prompts.encoder,
            backbone.codec.vae,  # type: ignore[attr-defined]
            backbone.network,
            DDIMScheduler.from_pretrained(folder, subfolder="scheduler"),
        )
        pipeline.set_progress_bar_config(disable=True)
        x, schedule = self.noisy(), backbone.schedule(3)
        expected = pipeline(
            PROMPT,
            latents=x.clone(),
            num_inference_steps=3,
            guidance_scale=3.0,
            video_length=ROWS,
            height=32,
            width=48,
            output_type="latent",
            clean_caption=False,
        ).frames
        conditional, unconditional = backbone.text(PROMPT).embeds, backbone.unconditional(PROMPT)
        assert torch.equal(unconditional.abs().amax(-1) > 0, conditional.abs().amax(-1) > 0)
        for i, t in enumerate(schedule.timesteps):
            with torch.no_grad():
                eps = guided(backbone.predict(x, t, unconditional), backbone.predict(x, t, conditional), 3.0)
            x = step(x, eps, schedule.abar[i], schedule.abar[i + 1])
        torch.testing.assert_close(x, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_table_of_places_grows_with_the_clip_and_is_put_back(tmp_path: Path) -> None:
    from diffusers import LatteTransformer3DModel

    backbone = load(str(write_tiny_latte(tmp_path / "long", vxedit={"max_frames": 6})), device="cpu")
    assert isinstance(backbone, Latte)
    longer = LatteTransformer3DModel(**dict(NETWORK, video_length=6)).eval()
    longer.load_state_dict(backbone.network.state_dict())
    latents, embeds = torch.randn(1, 4, 6, 4, 6), backbone.text(PROMPT).embeds[:, :3]
    with torch.no_grad():
        expected: Tensor = longer(latents, torch.tensor([500]), embeds, return_dict=False)[0]
        found = backbone.predict(latents, 500.0, embeds)
    torch.testing.assert_close(found, expected[:, :4], rtol=1e-4, atol=1e-5)
    own = backbone.network.temp_pos_embed
    with pytest.raises(ZeroDivisionError), positions(backbone.network, 6):
        assert backbone.network.temp_pos_embed.shape[1] == 6
        raise ZeroDivisionError
    assert backbone.network.temp_pos_embed is own
    assert own.shape[1] == ROWS


def test_the_decoder_over_time_is_taken_where_it_is_there(tmp_path: Path) -> None:
    backbone = load(str(write_tiny_latte(tmp_path / "both", over_time=True)), device="cpu")
    assert isinstance(backbone, Latte)
    clip = np.random.default_rng(0).integers(0, 256, (ROWS, 16, 16, 3), dtype=np.uint8)
    latents = backbone.encode(clip)
    codec: Any = backbone.codec
    with torch.no_grad():
        cells = latents[0].transpose(0, 1) / codec.vae.config.scaling_factor
        exact = (codec.over_time.decode(cells, num_frames=ROWS).sample + 1) / 2 * 255
    found = backbone.decode(latents, ROWS - 1)
    assert found.shape == (ROWS - 1, 16, 16, 3)
    assert np.abs(found - exact.clamp(0, 255).permute(0, 2, 3, 1).numpy()[: ROWS - 1]).max() < 0.501
    with pytest.raises(ValueError, match="4 latents, got 3"):
        backbone.decode(latents[:, :, :3], 3)
