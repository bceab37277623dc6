"""AnimateDiff on its own classes at tiny size: a Stable Diffusion 1.5 folder with a motion adapter in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_t5 import save_part, write_json
from tests.tiny import WIDTH, write_tiny_checkpoint
from vxedit.backbones.animatediff import AnimateDiff
from vxedit.backbones.protocol import AttentionCall, Backbone
from vxedit.backbones.registry import KNOWN, load, outline
from vxedit.edit.attention import attention_maps
from vxedit.errors import ModelError, UsageError
from vxedit.invert.ddim import step

ROWS = 6
"""Frames that the motion modules have places for."""

UNET: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 2,
}
ADAPTER: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "motion_layers_per_block": 1,
    "motion_num_attention_heads": 2,
    "motion_norm_num_groups": 4,
    "motion_max_seq_length": ROWS,
    "use_motion_mid_block": False,
}

AUTHORS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "steps_offset": 1,
    "clip_sample": False,
}
"""What configs/inference/inference-v3.yaml of guoyww/AnimateDiff gives diffusers' DDIMScheduler."""


def write_tiny_animatediff(folder: Path, *, adapter: dict[str, Any] | None = None) -> Path:
    """Random weights in the layout of Stable Diffusion 1.5, whose scheduler is an image model's, with the motion
    adapter in a folder beside its parts."""
    from diffusers import MotionAdapter, UNet2DConditionModel

    write_tiny_checkpoint(folder)
    shutil.rmtree(folder / "unet")
    save_part(folder / "unet", UNet2DConditionModel(**UNET), spread=0.1)
    save_part(folder / "motion_adapter", MotionAdapter(**ADAPTER, **(adapter or {})), seed=1, spread=0.1)
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    write_json(folder / "model_index.json", index)
    return folder


class TestAnimateDiff(FamilyContract):
    write = staticmethod(write_tiny_animatediff)  # type: ignore[assignment]
    family = "animatediff"
    guidance_scale = 7.5
    clip = (4, 64, 48)
    latents = (1, 4, 4, 8, 6)
    spans = ((0,), (1,), (2,), (3,))
    mixers = ("*.motion_modules.*.proj_out",)
    patch = (1, 1, 1)

    def test_a_clip_of_another_length_is_continued_and_cut(self, backbone: Backbone) -> None:
        """The network takes any length up to its table's: nothing is added."""
        clip = np.random.default_rng(0).integers(0, 256, (4, 64, 48, 3), dtype=np.uint8)
        torch.testing.assert_close(backbone.encode(clip[:3]), backbone.encode(clip)[:, :, :3], rtol=1e-4, atol=1e-5)
        assert len(backbone.decode(backbone.encode(clip[:3]), 3)) == 3

    def test_a_cell_of_the_map_comes_from_its_own_place(self, backbone: Backbone) -> None:
        """Convolutions and group norms mix a frame's places, so it is the frame alone that can be told."""
        layer, embeds = backbone.layers()[0].name, backbone.text(PROMPT).embeds
        point = self.noisy().requires_grad_()

        def reached() -> list[bool]:
            maps = attention_maps(backbone, point, 600.0, embeds, self.burger(backbone), layers=[layer])[layer]
            (gradient,) = torch.autograd.grad(maps[0, 2, 1, 1], point)
            return [bool(frame.abs().max() > 0) for frame in gradient[0].unbind(1)]

        with self.silenced(backbone):
            assert reached() == [False, False, True, False]

    def test_it_has_the_motion_modules_noise_levels_not_the_image_model_s(self, folder: Path) -> None:
        from diffusers import DDIMScheduler

        published = DDIMScheduler(**AUTHORS)
        published.set_timesteps(5)
        made = outline(str(folder)).schedule(5)
        assert list(made.timesteps) == published.timesteps.tolist()
        assert made.abar[:-1] == pytest.approx(published.alphas_cumprod[published.timesteps].tolist(), rel=1e-4)
        assert made.abar[-1] == pytest.approx(float(published.final_alpha_cumprod))
        assert json.loads((folder / "scheduler/scheduler_config.json").read_text())["beta_schedule"] == "scaled_linear"

    def test_a_run_is_the_published_pipeline_s(self, backbone: AnimateDiff, folder: Path) -> None:
        from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter, UNet2DConditionModel

        pipeline = AnimateDiffPipeline(
            vae=backbone._modules.vae,
            text_encoder=backbone._modules.text_encoder,
            tokenizer=backbone._modules.tokenizer,
            unet=UNet2DConditionModel.from_pretrained(folder, subfolder="unet"),
            motion_adapter=MotionAdapter.from_pretrained(folder, subfolder="motion_adapter"),
            scheduler=DDIMScheduler(**AUTHORS),
        )
        pipeline.set_progress_bar_config(disable=True)
        x, schedule = self.noisy(), backbone.schedule(3)
        expected = pipeline(
            PROMPT,
            latents=x.clone(),
            num_inference_steps=3,
            guidance_scale=1.0,
            num_frames=4,
            height=64,
            width=48,
            output_type="latent",
        ).frames
        embeds = backbone.text(PROMPT).embeds
        for i, t in enumerate(schedule.timesteps):
            with torch.no_grad():
                x = step(x, backbone.predict(x, t, embeds), schedule.abar[i], schedule.abar[i + 1])
        torch.testing.assert_close(x, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))

    def test_equal_text_on_every_frame_is_the_shared_text(self, backbone: AnimateDiff) -> None:
        latents = torch.cat([self.noisy(0), self.noisy(1)])
        embeds = torch.cat([backbone.text(prompt).embeds for prompt in (PROMPT, "ball")])
        with torch.no_grad():
            shared = backbone.predict(latents, 600.0, embeds)
            per_frame = backbone.predict(latents, 600.0, embeds[:, None].expand(-1, 4, -1, -1))
            alone = torch.cat([backbone.predict(latents[i : i + 1], 600.0, embeds[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(per_frame, shared, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone, shared, rtol=1e-4, atol=1e-5)

    def test_text_of_one_frame_goes_to_that_frame(self, backbone: AnimateDiff) -> None:
        embeds = backbone.text(PROMPT).embeds
        texts = embeds[:, None].repeat(1, 4, 1, 1)
        texts[:, 1] = backbone.text("ball").embeds
        with self.silenced(backbone), torch.no_grad():
            changed = backbone.predict(self.noisy(), 600.0, texts) - backbone.predict(self.noisy(), 600.0, embeds)
        moved = changed.abs().amax((0, 1, 3, 4))
        assert float(moved[1]) > 100 * float(moved[[0, 2, 3]].max())

    def test_every_attention_can_be_seen_and_replaced(self, backbone: AnimateDiff) -> None:
        latents, embeds, seen = self.noisy(), backbone.text(PROMPT).embeds, []

        def look(call: AttentionCall) -> None:
            places = call.height * call.width
            kind = call.attention.kind
            assert call.query.shape[0] == call.batch * (places if kind == "time" else call.frames)
            assert call.query.shape[2] == (call.frames if kind == "time" else places)
            assert kind != "text" or call.key.shape[2] == embeds.shape[1]
            seen.append(call.attention.name)

        def blank(call: AttentionCall) -> torch.Tensor | None:
            return torch.zeros_like(call.query) if call.attention.kind == "time" else None

        with torch.no_grad():
            plain = backbone.predict(latents, 600.0, embeds)
            with backbone.controlled(look):
                watched = backbone.predict(latents, 600.0, embeds)
            with backbone.controlled(blank):
                changed = backbone.predict(latents, 600.0, embeds)
        torch.testing.assert_close(watched, plain, rtol=1e-4, atol=1e-5)
        assert seen == [attention.name for attention in backbone.attentions()]
        kinds = [attention.kind for attention in backbone.attentions()]
        # To the text and over space: 1 in the upper block down, 1 in the middle, 2 in the upper block up; over time: 2
        # in each of 2 layers down and 4 up.
        assert (kinds.count("text"), kinds.count("space"), kinds.count("time")) == (4, 4, 12)
        assert float((changed - plain).abs().max()) > 1e-3

    def test_motion_modules_are_run_again_for_a_gradient_not_kept(self, backbone: AnimateDiff) -> None:
        runs: list[int] = []
        module = backbone._modules.unet.up_blocks[1].motion_modules[0].transformer_blocks[0]
        handle = module.register_forward_hook(lambda *_: runs.append(1))
        point, backbone.checkpoint_activations = self.noisy().requires_grad_(), True
        try:
            backbone.predict(point, 600.0, backbone.text(PROMPT).embeds).sum().backward()
        finally:
            backbone.checkpoint_activations = None
            handle.remove()
        assert len(runs) == 2

    def test_no_clip_is_longer_than_the_table_of_places(self, folder: Path) -> None:
        assert outline(str(folder)).max_frames == ROWS
        with pytest.raises(UsageError, match=f"it takes 1 to {ROWS}"):
            outline(str(folder)).check(ROWS + 1, 64, 64)


def test_layers_run_in_the_order_in_which_they_are_listed(tmp_path: Path) -> None:
    backbone = load(str(write_tiny_animatediff(tmp_path / "tiny")), device="cpu")
    order: list[str] = []
    handles = [
        layer.module.register_forward_pre_hook(lambda *_, name=layer.name: order.append(name))  # type: ignore[misc]
        for layer in backbone.layers()
    ]
    with torch.no_grad():
        backbone.predict(torch.randn(1, 4, 2, 8, 8), 600.0, backbone.text(PROMPT).embeds)
    for handle in handles:
        handle.remove()
    assert order == [layer.name for layer in backbone.layers()]
    shares = [layer.share for layer in backbone.layers()]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


def test_a_pipeline_that_was_saved_whole_is_the_same_model(tmp_path: Path) -> None:
    """Its network has the motion modules in it; its scheduler is the one it was run with."""
    from diffusers import DDIMScheduler

    apart = load(str(write_tiny_animatediff(tmp_path / "apart", adapter={})), device="cpu")
    assert isinstance(apart, AnimateDiff)
    folder = tmp_path / "whole"
    shutil.copytree(tmp_path / "apart", folder)
    shutil.rmtree(folder / "unet")
    apart._modules.unet.save_pretrained(folder / "unet")
    run = DDIMScheduler.from_pretrained(folder, subfolder="scheduler", beta_schedule="linear", steps_offset=3)
    run.save_pretrained(folder / "scheduler")
    whole = load(str(folder), device="cpu")
    assert isinstance(whole, AnimateDiff)
    latents, embeds = torch.randn(1, 4, 2, 8, 8), apart.text(PROMPT).embeds
    with torch.no_grad():
        torch.testing.assert_close(whole.predict(latents, 600.0, embeds), apart.predict(latents, 600.0, embeds))
    assert whole.max_frames == ROWS
    assert whole.schedule(4).timesteps == (753, 503, 253, 3)


def test_what_is_no_animatediff_over_stable_diffusion_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_animatediff(tmp_path / "tiny")
    image_model = tmp_path / "image"
    shutil.copytree(folder, image_model, ignore=shutil.ignore_patterns("motion_adapter"))
    with pytest.raises(ModelError, match=r"motion_adapter/config.json"):
        outline(str(image_model))
    config = folder / "unet" / "config.json"
    content = json.loads(config.read_text())
    write_json(config, content | {"cross_attention_dim": 2048})
    with pytest.raises(ModelError, match=r"2048 wide.*Stable Diffusion 1.5"):
        outline(str(folder))
    write_json(config, content | {"in_channels": 9})
    with pytest.raises(ModelError, match="9 channels"):
        outline(str(folder))


def test_an_adapter_for_another_network_is_refused(tmp_path: Path) -> None:
    from diffusers import MotionAdapter

    folder = write_tiny_animatediff(tmp_path / "tiny")
    save_part(folder / "motion_adapter", MotionAdapter(**dict(ADAPTER, block_out_channels=(16, 64))))
    with pytest.raises(ModelError, match="motion adapter doesn't fit"):
        load(str(folder), device="cpu")


def test_the_adapter_of_the_published_model_is_a_repository_of_its_own() -> None:
    assert set(KNOWN["animatediff"].sources) == {"", "motion_adapter"}
