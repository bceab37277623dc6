"""LTX-Video on its own classes at tiny size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_t5 import WIDTH, save_part, write_json, write_text
from vxedit.backbones.flow import scale_of
from vxedit.backbones.ltx import LTXVideo, places
from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import KNOWN, load, outline
from vxedit.edit.attention import attention_maps
from vxedit.errors import ModelError, UsageError
from vxedit.invert.ddim import guided, noise_of, step

NETWORK: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 8,
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "cross_attention_dim": 48,
    "caption_channels": WIDTH,
    "num_layers": 3,
}
VAE: dict[str, Any] = {
    "latent_channels": 8,
    "block_out_channels": (8, 8, 8, 8),
    "decoder_block_out_channels": (8, 8, 8, 8),
    "layers_per_block": (1, 1, 1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1, 1, 1),
    "scaling_factor": 0.5,
}
CONDITIONED: dict[str, Any] = {"timestep_conditioning": True, "decoder_inject_noise": (True, True, False, False, False)}
PUBLISHED: dict[str, Any] = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "base_image_seq_len": 1024,
    "base_shift": 0.95,
    "max_image_seq_len": 4096,
    "max_shift": 2.05,
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "shift_terminal": 0.1,
    "use_dynamic_shifting": True,
}
LATER: dict[str, Any] = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": False}
MEAN, STD = torch.linspace(-1, 1, 8), torch.linspace(0.5, 2, 8)


def write_tiny_ltx(
    folder: Path,
    *,
    scheduler: dict[str, Any] = PUBLISHED,
    vae: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
) -> Path:
    """Random weights in the layout of Lightricks/LTX-Video."""
    from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel

    save_part(folder / "transformer", LTXVideoTransformer3DModel(**NETWORK, **(network or {})))
    autoencoder = AutoencoderKLLTXVideo(**VAE, **(vae or {}))
    autoencoder.latents_mean.copy_(MEAN)
    autoencoder.latents_std.copy_(STD)
    save_part(folder / "vae", autoencoder, spread=0.05)
    write_text(folder, most=128)
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / "model_index.json", {"_class_name": "LTXPipeline"})
    return folder


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> LTXVideo:
    folder = write_tiny_ltx(tmp_path_factory.mktemp("models") / "later", scheduler=LATER)
    found = load(str(folder), device="cpu")
    assert isinstance(found, LTXVideo)
    return found


class TestLTX(FamilyContract):
    write = staticmethod(write_tiny_ltx)
    family = "ltx"
    guidance_scale = 3.0
    clip = (17, 64, 96)
    latents = (1, 8, 3, 2, 3)
    spans = ((0,), tuple(range(1, 9)), tuple(range(9, 17)))
    mixers = ("transformer_blocks.*.attn1",)
    patch = (1, 1, 1)

    @pytest.mark.parametrize("size", [(17, 64, 96), (97, 512, 704)])
    @pytest.mark.parametrize("shift", ["exponential", "linear"])
    def test_the_levels_are_diffusers_own(self, tmp_path: Path, size: tuple[int, int, int], shift: Any) -> None:
        from diffusers import FlowMatchEulerDiscreteScheduler
        from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift

        frames, height, width = size
        config = PUBLISHED | {"time_shift_type": shift}
        folder = write_tiny_ltx(tmp_path / "tiny", scheduler=config)
        own = FlowMatchEulerDiscreteScheduler.from_config(config)
        tokens = ((frames - 1) // 8 + 1) * (height // 32) * (width // 32)
        mu = calculate_shift(tokens, 1024, 4096, 0.95, 2.05)
        own.set_timesteps(sigmas=np.linspace(1.0, 1 / 20, 20), mu=mu)
        shape = (1, 8, (frames - 1) // 8 + 1, height // 32, width // 32)
        made = load(str(folder), device="cpu").schedule(20, shape)
        assert made.timesteps == pytest.approx(own.timesteps.tolist(), abs=1e-2)
        sigmas = own.sigmas.double()
        shares = (1 - sigmas) ** 2 / ((1 - sigmas) ** 2 + sigmas**2)
        assert made.abar == pytest.approx(shares.tolist(), abs=1e-6)

    def test_without_a_shape_the_levels_are_those_of_the_native_size(self, folder: Path, backbone: Backbone) -> None:
        shown = outline(str(folder))
        assert shown.schedule(10) == backbone.schedule(10, backbone.latent_shape(shown.native))
        assert shown.schedule(10) != backbone.schedule(10, self.latents)

    def test_a_run_is_the_one_of_diffusers_pipeline(self, backbone: LTXVideo) -> None:
        """Text, mask, packing, positions, levels and guidance, all at once."""
        from diffusers import FlowMatchEulerDiscreteScheduler, LTXPipeline

        scheduler = FlowMatchEulerDiscreteScheduler.from_config(PUBLISHED)
        compare_runs(backbone, LTXPipeline(**parts(backbone), scheduler=scheduler))

    def test_padding_has_no_part_in_the_maps(self, backbone: Backbone) -> None:
        text = backbone.text(PROMPT)
        assert text.embeds.shape[1] == 128
        with torch.no_grad():
            real, pad = (
                attention_maps(backbone, self.noisy(), 600.0, text.embeds, columns) for columns in ([0], [100, 127])
            )
        assert all(float(seen.max()) == 0 for seen in pad.values())
        assert all(float(seen.min()) > 0 for seen in real.values())

    def test_latents_have_the_published_scale(self, backbone: LTXVideo) -> None:
        frames = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
        pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        vae = vae_of(backbone)
        with torch.no_grad():
            plain = vae.encode(pixels).latent_dist.mode()
        expected = (plain - MEAN.view(1, 8, 1, 1, 1)) * 0.5 / STD.view(1, 8, 1, 1, 1)
        torch.testing.assert_close(backbone.encode(frames), expected)
        with torch.no_grad():
            again = ((vae.decode(plain).sample[0] + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 3, 0)
        assert np.abs(backbone.decode(backbone.encode(frames), 9) - again.numpy()).max() <= 1

    def test_lengths_and_sides_that_it_does_not_make(self, folder: Path) -> None:
        with pytest.raises(UsageError, match=r"--num-frames 9 or 17"):
            outline(str(folder)).check_generated(12, 64, 96)
        with pytest.raises(UsageError, match="multiples of 32"):
            outline(str(folder)).check(9, 80, 96)

    def test_levels_of_another_kind_are_refused(self, tmp_path: Path) -> None:
        folder = write_tiny_ltx(tmp_path / "tiny", scheduler=PUBLISHED | {"use_karras_sigmas": True})
        with pytest.raises(ModelError, match="use_karras_sigmas"):
            outline(str(folder))

    def test_a_network_with_larger_patches_is_refused(self, tmp_path: Path) -> None:
        folder = write_tiny_ltx(tmp_path / "tiny", network={"patch_size": 2})
        with pytest.raises(ModelError, match="patches of 2 cells"):
            outline(str(folder))


def test_a_run_of_a_later_model_is_the_one_of_its_pipeline(later: LTXVideo) -> None:
    """From 0.9.5 on: other levels, other positions in time, and an encoder of text that is told the mask."""
    from diffusers import FlowMatchEulerDiscreteScheduler, LTXConditionPipeline

    scheduler = FlowMatchEulerDiscreteScheduler.from_config(LATER)
    compare_runs(later, LTXConditionPipeline(**parts(later), scheduler=scheduler))


@pytest.mark.parametrize("steps", [4, 30])
def test_the_levels_of_a_later_model_are_its_pipeline_s(later: LTXVideo, steps: int) -> None:
    from diffusers.pipelines.ltx.pipeline_ltx_condition import linear_quadratic_schedule

    sigmas = linear_quadratic_schedule(steps)
    assert later.schedule(steps).timesteps == pytest.approx((1000 * sigmas).tolist(), abs=1e-2)


def test_cells_are_placed_where_the_pipelines_place_them(later: LTXVideo) -> None:
    from diffusers import LTXConditionPipeline

    cpu = torch.device("cpu")
    ids = LTXConditionPipeline._prepare_video_ids(1, 3, 2, 3)
    expected = LTXConditionPipeline._scale_video_ids(ids, 32, 8).float()
    assert expected[0, 0].unique().tolist() == [0, 1, 9]  # the first of the frames that each of the latents' covers
    expected[:, 0] /= 25
    torch.testing.assert_close(places((3, 2, 3), 8, 32, late=7, device=cpu), expected)
    earlier = later.network.rope(torch.zeros(1), 3, 2, 3, rope_interpolation_scale=(8 / 25, 32, 32))
    ours = later.network.rope(torch.zeros(1), video_coords=places((3, 2, 3), 8, 32, late=0, device=cpu))
    for one, other in zip(ours, earlier, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-3)  # angles of thousands of turns, in float32


def test_a_later_model_is_known_by_its_pipeline_too(tmp_path: Path) -> None:
    folder = write_tiny_ltx(tmp_path / "tiny")
    write_json(folder / "model_index.json", {"_class_name": "LTXConditionPipeline"})
    found = load(str(folder), device="cpu")
    assert isinstance(found, LTXVideo)
    assert found.from_first
    assert found.schedule(4).timesteps == pytest.approx([1000, 987.5, 975, 725])


def test_a_conditioned_decoder_gives_the_same_frames_every_time(tmp_path: Path) -> None:
    """It is told that its latents hold no noise, and what it draws for itself doesn't touch the caller's draws."""
    backbone = load(str(write_tiny_ltx(tmp_path / "tiny", vae=CONDITIONED)), device="cpu")
    assert isinstance(backbone, LTXVideo)
    latents = torch.randn(1, 8, 2, 1, 2, generator=torch.Generator().manual_seed(0))
    told: list[Tensor] = []
    vae_of(backbone).decoder.register_forward_pre_hook(lambda _, args: told.append(args[1]))
    state = torch.random.get_rng_state()
    first = backbone.decode(latents, 9)
    assert torch.equal(told[0], torch.zeros(1))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(1)
    assert np.array_equal(backbone.decode(latents, 9), first)
    coded = latents * STD.view(1, 8, 1, 1, 1) / 0.5 + MEAN.view(1, 8, 1, 1, 1)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        plain = vae_of(backbone).decode(coded, torch.zeros(1)).sample[0]
    expected = ((plain + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 3, 0)
    assert np.abs(first - expected.numpy()).max() <= 1


def test_a_published_name_stands_for_a_size_that_the_model_makes() -> None:
    for name in ("ltx", "ltx-0.9.1", "ltx-0.9.5", "ltx-13b"):
        frames, height, width = KNOWN[name].native
        assert (frames % 8, height % 32, width % 32) == (1, 0, 0)


def vae_of(backbone: Any) -> Any:
    return backbone.codec.vae.module


def parts(backbone: Any) -> dict[str, Any]:
    return {
        "tokenizer": backbone.prompts.tokenizer,
        "text_encoder": backbone.prompts.encoder,
        "transformer": backbone.network,
        "vae": vae_of(backbone),
    }


def compare_runs(backbone: LTXVideo, pipeline: Any) -> None:
    """A clip that diffusers' pipeline makes under guidance, and the same from this backbone's parts and levels."""
    pipeline.set_progress_bar_config(disable=True)
    size = {"height": 64, "width": 96, "num_frames": 17, "num_inference_steps": 4, "guidance_scale": 3.0}
    chance = torch.Generator().manual_seed(3)
    theirs = pipeline(prompt=PROMPT, generator=chance, output_type="latent", return_dict=False, **size)[0]
    if theirs.ndim == 3:  # one of the two leaves them packed
        theirs = theirs.transpose(1, 2).unflatten(2, (3, 2, 3))
    noise = torch.randn(1, 8, 3, 2, 3, generator=torch.Generator().manual_seed(3))
    ours = made(backbone, noise, 4, 3.0)
    assert float(theirs.std()) > 0.5
    # The first level's share of signal is held at 1e-7, by which its noise is the root of that too small.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-2)


@torch.no_grad()
def made(backbone: LTXVideo, x: Tensor, steps: int, scale: float) -> Tensor:
    schedule = backbone.schedule(steps, x.shape)
    empty, prompt = backbone.unconditional(PROMPT), backbone.text(PROMPT).embeds
    assert scale_of(1.0) == 1  # the first level's latents are the noise as it is
    for i, timestep in enumerate(schedule.timesteps):
        output = guided(backbone.predict(x, timestep, empty), backbone.predict(x, timestep, prompt), scale)
        before, after = schedule.abar[i], schedule.abar[i + 1]
        x = step(x, noise_of(output, x, before, "flow"), before, after)
    return x
