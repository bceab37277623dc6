"""CogVideoX 1.0 and 1.5 on its own classes at tiny size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_t5 import WIDTH, save_part, write_json, write_text
from vxedit.backbones.cogvideox import CogVideoX, rotary
from vxedit.backbones.families.cogvideox import TokenLength
from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Backbone, Size
from vxedit.backbones.registry import KNOWN, load, outline
from vxedit.errors import ModelError
from vxedit.invert.ddim import guided, noise_of, step

NETWORK: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
    "time_embed_dim": 8,
    "text_embed_dim": WIDTH,
    "num_layers": 3,
    "sample_width": 6,
    "sample_height": 4,
    "sample_frames": 9,
    "max_text_seq_length": 24,
}
ROTARY: dict[str, Any] = {"use_rotary_positional_embeddings": True}
LATER: dict[str, Any] = {**ROTARY, "patch_size_t": 2, "patch_bias": False, "sample_width": 40, "sample_height": 40}
VAE: dict[str, Any] = {
    "block_out_channels": (8, 8, 8, 8),
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "scaling_factor": 0.7,
}
SCHEDULER: dict[str, Any] = {
    "_class_name": "CogVideoXDDIMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "snr_shift_scale": 3.0,
    "steps_offset": 0,
    "timestep_spacing": "trailing",
}


def write_tiny_cogvideox(
    folder: Path, *, network: dict[str, Any] | None = None, vae: dict[str, Any] | None = None
) -> Path:
    """Random weights in the layout of CogVideoX-2b, or of another with other settings of its `network`."""
    from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel

    save_part(folder / "transformer", CogVideoXTransformer3DModel(**{**NETWORK, **(network or {})}))
    save_part(folder / "vae", AutoencoderKLCogVideoX(**{**VAE, **(vae or {})}), spread=0.1)
    write_text(folder, most=226)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_json(folder / "model_index.json", {"_class_name": "CogVideoXPipeline"})
    return folder


def write_tiny_later(folder: Path) -> Path:
    """Random weights in the layout of CogVideoX1.5-5B."""
    return write_tiny_cogvideox(folder, network=LATER, vae={"invert_scale_latents": True})


class TestCogVideoX(FamilyContract):
    write = staticmethod(write_tiny_cogvideox)
    family = "cogvideox"
    guidance_scale = 6.0
    clip = (9, 32, 48)
    latents = (1, 4, 3, 4, 6)
    spans = ((0,), (1, 2, 3, 4), (5, 6, 7, 8))
    mixers = ("transformer_blocks.*.attn1",)
    patch = (1, 2, 2)

    def test_its_size_is_the_one_that_it_was_trained_on(self, folder: Path) -> None:
        assert outline(str(folder)).native == (9, 32, 48)

    def test_padding_is_kept_as_the_encoder_gives_it(self, backbone: CogVideoX) -> None:
        """The network reads all of its columns without a mask."""
        prompts, text = backbone.prompts, backbone.text(PROMPT)
        assert text.embeds.shape == (1, 24, WIDTH)
        ids = prompts.tokenizer(PROMPT, padding="max_length", max_length=24, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            torch.testing.assert_close(text.embeds, prompts.encoder(ids)[0])
        assert float(text.embeds[0, -1].abs().max()) > 0


class TestCogVideoX15(FamilyContract):
    write = staticmethod(write_tiny_later)
    family = "cogvideox"
    guidance_scale = 6.0
    clip = (9, 32, 48)
    latents = (1, 4, 4, 4, 6)
    spans = ((0,), (0,), (1, 2, 3, 4), (5, 6, 7, 8))
    mixers = ("transformer_blocks.*.attn1",)
    patch = (2, 2, 2)

    def test_its_size_is_not_that_of_its_positions(self, folder: Path) -> None:
        assert outline(str(folder)).native == (9, 768, 1360)

    def test_what_lacks_of_a_token_is_a_copy_of_the_first_frame(self, backbone: Backbone) -> None:
        clip = np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)
        latents = backbone.encode(clip)
        assert torch.equal(latents[:, :, 0], latents[:, :, 1])
        other = latents.clone()
        other[:, :, 0] = 100.0
        assert np.array_equal(backbone.decode(other, 9), backbone.decode(latents, 9))

    def test_both_frames_of_a_token_have_its_map(self, backbone: Backbone) -> None:
        values = torch.arange(12.0)[None]  # two tokens deep, two tall, three wide
        maps = backbone.grid(values, self.noisy())
        assert maps.shape == (1, 4, 2, 3)
        assert torch.equal(maps[0, :2], values.view(2, 1, 2, 3)[0].expand(2, -1, -1))
        assert torch.equal(maps[0, 2:], values.view(2, 1, 2, 3)[1].expand(2, -1, -1))

    def test_latents_of_another_length_are_refused(self, backbone: Backbone) -> None:
        with pytest.raises(ValueError, match=r"latents for 9 frames are \(1, C, 4, h, w\)"):
            backbone.decode(self.noisy()[:, :, 1:], 9)


@pytest.mark.parametrize("network", [{}, ROTARY, LATER])
@pytest.mark.parametrize("size", [(9, 32, 48), (13, 48, 32)])
def test_a_run_is_the_one_of_diffusers_pipeline(
    tmp_path: Path, network: dict[str, Any], size: tuple[int, int, int]
) -> None:
    """Text, positions, padding, levels and guidance, all at once."""
    from diffusers import CogVideoXDDIMScheduler, CogVideoXPipeline

    backbone = load(str(write_tiny_cogvideox(tmp_path / "tiny", network=network)), device="cpu")
    assert isinstance(backbone, CogVideoX)
    pipeline = CogVideoXPipeline(
        tokenizer=backbone.prompts.tokenizer,  # type: ignore[attr-defined]
        text_encoder=backbone.prompts.encoder,  # type: ignore[attr-defined]
        transformer=backbone.network,
        vae=vae_of(backbone),
        scheduler=CogVideoXDDIMScheduler.from_config(SCHEDULER),
    )
    pipeline.set_progress_bar_config(disable=True)
    frames, height, width = size
    noisy = torch.randn(backbone.latent_shape(Size(*size)), generator=torch.Generator().manual_seed(3))
    told = {"height": height, "width": width, "num_frames": frames, "max_sequence_length": 24, "guidance_scale": 3.0}
    theirs = pipeline(
        PROMPT, latents=noisy.transpose(1, 2), num_inference_steps=4, output_type="latent", return_dict=False, **told
    )[0].transpose(1, 2)
    ours = made(backbone, noisy, 4, 3.0)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-3)


def test_a_network_with_an_offset_is_given_two(tmp_path: Path) -> None:
    """As diffusers' pipeline from pictures has it."""
    network = {**LATER, "ofs_embed_dim": 8}
    backbone = load(str(write_tiny_cogvideox(tmp_path / "tiny", network=network)), device="cpu")
    assert isinstance(backbone, CogVideoX)
    x, embeds = torch.randn(1, 4, 4, 4, 6, generator=torch.Generator().manual_seed(0)), backbone.text(PROMPT).embeds
    with torch.no_grad():
        expected, other = (
            backbone.network(
                x.transpose(1, 2),
                embeds,
                torch.tensor([600]),
                ofs=torch.tensor([offset]),
                image_rotary_emb=rotary(backbone.network.config, 2, 2, 3, device=backbone.device),
            ).sample.transpose(1, 2)
            for offset in (2.0, 1.0)
        )
        found = backbone.predict(x, 600.0, embeds)
    torch.testing.assert_close(found, expected)
    assert float((found - other).abs().max()) > 1e-3


@torch.no_grad()
def made(backbone: CogVideoX, x: Tensor, steps: int, scale: float) -> Tensor:
    schedule = backbone.schedule(steps, x.shape)
    empty, prompt = backbone.unconditional(PROMPT), backbone.text(PROMPT).embeds
    for i, timestep in enumerate(schedule.timesteps):
        output = guided(backbone.predict(x, timestep, empty), backbone.predict(x, timestep, prompt), scale)
        before, after = schedule.abar[i], schedule.abar[i + 1]
        x = step(x, noise_of(output, x, before, "v_prediction"), before, after)
    return x


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [20, 50])
def test_the_levels_are_diffusers_own(shift: float, steps: int) -> None:
    from diffusers import CogVideoXDDIMScheduler

    config = SCHEDULER | {"snr_shift_scale": shift}
    own = CogVideoXDDIMScheduler.from_config(config)
    own.set_timesteps(steps)
    found = noise(config).schedule(steps)
    assert found.timesteps == tuple(own.timesteps.tolist())
    expected = [*own.alphas_cumprod[own.timesteps].tolist(), 1.0]
    assert found.abar == pytest.approx(expected, abs=2e-7)


def test_a_made_up_network_s_run_is_the_scheduler_s() -> None:
    from diffusers import CogVideoXDDIMScheduler

    own = CogVideoXDDIMScheduler.from_config(SCHEDULER)
    own.set_timesteps(50)
    chance = torch.Generator().manual_seed(0)
    weight = 0.5 * torch.randn(4, 4, generator=chance)

    def network(x: Tensor, timestep: float) -> Tensor:
        return torch.tanh(torch.einsum("ij,bj...->bi...", weight, x) + timestep / 1000)

    theirs = ours = torch.randn(1, 4, 3, 4, 6, generator=chance)
    for timestep in own.timesteps:
        theirs = own.step(network(theirs, float(timestep)), timestep, theirs, return_dict=False)[0]
    schedule = noise(SCHEDULER).schedule(50)
    for i, time in enumerate(schedule.timesteps):
        before, after = schedule.abar[i], schedule.abar[i + 1]
        ours = step(ours, noise_of(network(ours, time), ours, before, "v_prediction"), before, after)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("network", [{}, LATER])
@pytest.mark.parametrize("frames", [1, 5, 9, 13])
def test_every_length_is_decoded_as_the_start_of_a_longer_clip(
    tmp_path: Path, network: dict[str, Any], frames: int
) -> None:
    """The decoder takes the first of its frames alone only where their number is odd: 5 frames would come back as 8."""
    backbone = load(str(write_tiny_cogvideox(tmp_path / "tiny", network=network)), device="cpu")
    assert isinstance(backbone, CogVideoX)
    clip = np.random.default_rng(0).integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)
    latents = backbone.encode(clip)
    assert latents.shape == backbone.latent_shape(Size(frames, 16, 16))
    own = latents[:, :, -(1 + (frames - 1) // 4) :] / 0.7
    longer = own if own.shape[2] % 2 else torch.cat([own, own[:, :, -1:]], dim=2)
    with torch.no_grad():
        expected = ((vae_of(backbone).decode(longer).sample[0] + 1) * 127.5).round().clamp(0, 255)
    decoded = backbone.decode(latents, frames)
    assert len(decoded) == frames
    assert np.abs(decoded - expected[:, :frames].permute(1, 2, 3, 0).numpy()).max() <= 1


def test_large_frames_go_through_the_autoencoder_in_pieces(tmp_path: Path) -> None:
    folder = write_tiny_cogvideox(tmp_path / "tiny", vae={"sample_height": 96, "sample_width": 80})
    backbone = load(str(folder), device="cpu")
    seen: list[tuple[int, ...]] = []
    vae_of(backbone).encoder.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[-2:])))
    clip = np.full((1, 96, 80, 3), 100, np.uint8)
    assert backbone.encode(clip).shape[-2:] == (12, 10)
    assert len(seen) > 1
    assert max(height for height, _ in seen) <= 48
    assert max(width for _, width in seen) <= 40


@pytest.mark.parametrize(
    ("frames", "count", "first"),
    [(1, 2, ((0,), (0,))), (5, 2, ((0,), (1, 2, 3, 4))), (81, 22, ((0,), (0,), (1, 2, 3, 4)))],
)
def test_latents_make_whole_tokens(frames: int, count: int, first: tuple[tuple[int, ...], ...]) -> None:
    length = TokenLength(step=4, deep=2)
    assert length.latents(frames) == count
    spans = length.spans(frames)
    assert len(spans) == count
    assert spans[: len(first)] == first
    assert set().union(*spans) == set(range(frames))


def test_a_model_that_continues_pictures_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_cogvideox(tmp_path / "tiny", network={"in_channels": 8})
    with pytest.raises(ModelError, match=r"takes 8 channels and gives 4.*text-to-video"):
        outline(str(folder))


def test_a_published_name_stands_for_a_size_that_the_model_makes() -> None:
    for name in ("cogvideox-2b", "cogvideox-5b", "cogvideox1.5-5b"):
        frames, height, width = KNOWN[name].native
        assert (frames % 4, height % 16, width % 16) == (1, 0, 0)


def vae_of(backbone: Any) -> Any:
    return backbone.codec.vae.vae.module
