"""The loaded model: frames to latents and back, text, prediction, and what it is given back as."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tiny import write_tiny_checkpoint
from vxedit.backbones import autoencoder, borrowed
from vxedit.backbones.protocol import Size
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D
from vxedit.backbones.unet3d_layers import text_layers
from vxedit.errors import UsageError


def noise_like(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(frames: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def with_dc(tmp_path_factory: pytest.TempPathFactory) -> UNet3D:
    return cast(UNet3D, load(str(write_tiny_checkpoint(tmp_path_factory.mktemp("dc"), dc=True)), device="cpu"))


@pytest.fixture
def hooks(tiny: UNet3D) -> Any:
    """Counts of what is installed on the network, and whether a forward is another than the class's."""

    def installed() -> tuple[int, int]:
        modules = list(tiny._modules.unet.modules())
        return sum(len(m._forward_pre_hooks) for m in modules), sum("forward" in vars(m) for m in modules)

    return installed


def test_encoding_gives_the_scaled_mean_frame_by_frame(tiny: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = pictures(5, 64, 128)
    latents = tiny.encode(frames)
    assert latents.shape == (1, 4, 5, 8, 16)
    assert latents.dtype == torch.float32
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    with torch.no_grad():
        mean = tiny._modules.vae.encode(pixels).latent_dist.mean * 0.18215
    torch.testing.assert_close(latents[0].transpose(0, 1), mean, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(autoencoder, "PIXELS_AT_ONCE", 2 * 64 * 128)  # two frames at a time, then one
    torch.testing.assert_close(tiny.encode(frames), latents, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["tiny", "with_dc"])
def test_decoding_gives_rounded_frames_without_a_graph(model: str, request: pytest.FixtureRequest) -> None:
    backbone = request.getfixturevalue(model)
    latents = noise_like(1, 4, 3, 8, 16).requires_grad_()
    frames = backbone.decode(latents, 3)
    assert frames.shape == (3, 64, 128, 3)
    assert frames.dtype == np.uint8
    vae = backbone._modules.vae
    with torch.no_grad():
        pixels = vae.decode(latents[0].transpose(0, 1) / vae.config.scaling_factor).sample
    exact = ((pixels + 1) / 2 * 255).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(frames - exact).max() < 0.501
    with pytest.raises(ValueError, match="one latent frame a frame"):
        backbone.decode(latents, 4)


def test_an_autoencoder_without_a_posterior_is_scaled_the_same_way(with_dc: UNet3D) -> None:
    frames = pictures(2, 64, 96)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        coded = with_dc._modules.vae.encode(pixels).latent * 0.4
    torch.testing.assert_close(with_dc.encode(frames)[0].transpose(0, 1), coded, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["tiny", "with_dc"])
@pytest.mark.parametrize(("frames", "height", "width"), [(5, 64, 128), (1, 48, 16)])
def test_latents_have_the_shape_that_is_said_of_them(
    model: str, frames: int, height: int, width: int, request: pytest.FixtureRequest
) -> None:
    backbone = request.getfixturevalue(model)
    said = backbone.latent_shape(Size(frames, height, width))
    assert said == (1, 4, frames, height // 8, width // 8)
    assert backbone.encode(pictures(frames, height, width)).shape == said


def test_the_noise_that_frames_share_is_what_the_model_s_settings_say(tiny: UNet3D, tmp_path: Path) -> None:
    assert tiny.shared_noise == 0
    told = load(str(write_tiny_checkpoint(tmp_path / "told", vxedit={"shared_noise": 0.25})), device="cpu")
    assert told.shared_noise == 0.25


def test_clips_are_generated_at_modelscope_s_guidance_scale_unless_the_settings_say_another(
    tiny: UNet3D, tmp_path: Path
) -> None:
    assert tiny.guidance_scale == 9
    told = load(str(write_tiny_checkpoint(tmp_path / "told", vxedit={"guidance_scale": 3})), device="cpu")
    assert told.guidance_scale == 3


def test_frames_that_are_no_multiple_are_refused(tiny: UNet3D) -> None:
    with pytest.raises(UsageError, match=r"100x64.*multiples of 8"):
        tiny.encode(pictures(1, 64, 100))


def test_text_is_the_encoder_s_last_state_padded_with_the_tokenizer_s_pad(tiny: UNet3D) -> None:
    text = tiny.text("a ball")
    tokenizer = tiny._modules.tokenizer
    start, end, pad = (tokenizer.convert_tokens_to_ids(t) for t in ("<|startoftext|>", "<|endoftext|>", "!"))
    ids = [start, *tokenizer.convert_tokens_to_ids(["a</w>", "ball</w>"]), end] + [pad] * 73
    with torch.no_grad():
        expected = tiny._modules.text_encoder(torch.tensor([ids])).last_hidden_state
    torch.testing.assert_close(text.embeds, expected, rtol=0, atol=0)
    assert text.pieces == tiny.tokens("a ball")
    assert tiny.text("").embeds.shape == (1, 77, 32)


def test_predict_is_the_network_s_own_output(tiny: UNet3D) -> None:
    latents, embeds = noise_like(2, 4, 3, 8, 12), noise_like(2, 77, 32, seed=1)
    expected = tiny._modules.unet(latents, torch.tensor(481), encoder_hidden_states=embeds).sample
    torch.testing.assert_close(tiny.predict(latents, 481, embeds), expected, rtol=0, atol=0)


def test_weights_take_no_gradient_and_nothing_drops_out(tiny: UNet3D) -> None:
    for part in (tiny._modules.unet, tiny._modules.vae, tiny._modules.text_encoder):
        assert not part.training
        assert not any(weight.requires_grad for weight in part.parameters())


def test_equal_text_on_every_frame_is_the_shared_text(tiny: UNet3D, hooks: Any) -> None:
    latents, embeds = noise_like(2, 4, 3, 8, 8), noise_like(2, 77, 32, seed=1)
    shared = tiny.predict(latents, 481, embeds)
    per_frame = tiny.predict(latents, 481, embeds[:, None].expand(-1, 3, -1, -1))
    torch.testing.assert_close(per_frame, shared, rtol=1e-5, atol=1e-6)
    assert hooks() == (0, 0)


def test_text_of_one_frame_goes_to_that_frame(tmp_path: Path) -> None:
    """With nothing that mixes frames, another text on frame 1 changes frame 1 alone."""
    alone = cast(UNet3D, load(str(write_tiny_checkpoint(tmp_path / "alone")), device="cpu"))
    for name, module in alone._modules.unet.named_modules():
        if name.endswith("proj_out") and ("temp_attentions" in name or "transformer_in" in name):
            module.weight.zero_(), module.bias.zero_()
    latents, embeds = noise_like(1, 4, 3, 8, 8), noise_like(1, 77, 32, seed=1)
    texts = embeds[:, None].repeat(1, 3, 1, 1)
    texts[:, 1] = noise_like(1, 77, 32, seed=2)
    changed = (alone.predict(latents, 481, texts) - alone.predict(latents, 481, embeds)).abs().amax(dim=(0, 1, 3, 4))
    assert changed[1] > 1e-3
    assert changed[[0, 2]].max() < 1e-6


def test_text_per_frame_takes_a_gradient_on_every_frame(tiny: UNet3D) -> None:
    texts = noise_like(1, 3, 77, 32, seed=1).requires_grad_()
    tiny.predict(noise_like(1, 4, 3, 8, 8), 481, texts).square().mean().backward()
    assert texts.grad is not None
    assert (texts.grad.abs().amax(dim=(0, 2, 3)) > 0).all()


@pytest.mark.parametrize("shape", [(2, 77, 32), (1, 4, 77, 32), (77, 32)])
def test_text_of_another_batch_or_length_is_refused(tiny: UNet3D, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="embeds must be"):
        tiny.predict(noise_like(1, 4, 3, 8, 8), 481, torch.zeros(shape))


def test_an_error_in_the_pass_leaves_the_network_as_it_was(
    tiny: UNet3D, hooks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(tiny._modules.unet.conv_out, "forward", fail)
    monkeypatch.setattr(tiny, "checkpoint_activations", True)
    with pytest.raises(RuntimeError, match="in the middle"):
        tiny.predict(noise_like(1, 4, 3, 8, 8).requires_grad_(), 481, torch.zeros(1, 3, 77, 32))
    assert hooks() == (0, 1)  # the test's own forward of conv_out


def gradient(backbone: UNet3D, embeds: Tensor) -> Tensor:
    latents = noise_like(1, 4, 3, 8, 8).requires_grad_()
    output = backbone.predict(latents, 481, embeds)
    (found,) = torch.autograd.grad(output.square().mean(), latents)
    return found


@pytest.mark.parametrize("shape", [(1, 77, 32), (1, 3, 77, 32)])
def test_recomputed_activations_give_the_same_gradient(
    tiny: UNet3D, hooks: Any, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    runs = 0
    resnet = tiny._modules.unet.up_blocks[0].resnets[0]

    def count(*_: object) -> None:
        nonlocal runs
        runs += 1

    handle = resnet.norm1.register_forward_hook(count)
    embeds = noise_like(*shape, seed=1)
    plain = gradient(tiny, embeds)
    assert runs == 1
    monkeypatch.setattr(tiny, "checkpoint_activations", True)
    recomputed = gradient(tiny, embeds)
    assert runs == 3  # once forward, once again for the gradient
    handle.remove()
    torch.testing.assert_close(recomputed, plain, rtol=0, atol=1e-6)
    assert plain.abs().amax() > 1e-4
    assert hooks() == (0, 0)


def test_activations_are_recomputed_for_large_latents_and_only_with_gradients(
    tiny: UNet3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def noted(network: Any) -> Any:
        used.append(1)
        return borrowed.recomputed(network)

    monkeypatch.setattr("vxedit.backbones.unet3d.recomputed", noted)
    embeds = torch.zeros(1, 77, 32)
    small = noise_like(1, 4, 2, 8, 8)
    tiny.predict(small.clone().requires_grad_(), 1, embeds)
    assert not used
    monkeypatch.setattr("vxedit.backbones.borrowed.LARGE", 2 * 8 * 8 - 1)
    tiny.predict(small, 1, embeds)
    with torch.no_grad():
        tiny.predict(small.clone().requires_grad_(), 1, embeds)
    assert not used
    tiny.predict(small.clone().requires_grad_(), 1, embeds)
    assert used


def test_layers_are_in_the_order_in_which_they_run(tiny: UNet3D) -> None:
    ran: list[str] = []
    layers = tiny.layers()
    handles = [layer.module.register_forward_pre_hook(lambda *_, name=layer.name: ran.append(name)) for layer in layers]
    tiny.predict(noise_like(1, 4, 2, 8, 8), 1, torch.zeros(1, 77, 32))
    for handle in handles:
        handle.remove()
    assert [layer.name for layer in layers] == ran
    assert dict(tiny._modules.unet.named_modules())[ran[1]] is layers[1].module
    shares = [layer.share for layer in layers]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    assert [layer.stride for layer in layers] == [1, 2, 1, 1]
    assert tiny.steering_layers() == tuple(name for name in ran if name.startswith("up_blocks.1."))


def test_shares_agree_with_what_was_counted_on_the_published_network() -> None:
    """FLOPs counted on the 1.41B network of ModelScope, without weights (BACKBONES.md, section 2)."""
    from diffusers import UNet3DConditionModel

    with torch.device("meta"):
        unet = UNet3DConditionModel(sample_size=32, cross_attention_dim=1024, attention_head_dim=64)
    shares = {layer.name.partition(".transformer")[0]: layer.share for layer in text_layers(unet)}
    counted = {
        "down_blocks.2.attentions.1": 0.32,
        "mid_block.attentions.0": 0.37,
        "up_blocks.1.attentions.0": 0.44,
        "up_blocks.1.attentions.2": 0.55,
        "up_blocks.2.attentions.0": 0.64,
        "up_blocks.2.attentions.2": 0.76,
        "up_blocks.3.attentions.2": 0.97,
    }
    assert {name: shares[name] for name in counted} == pytest.approx(counted, abs=0.025)


def test_maps_are_laid_out_on_grids_that_were_rounded_up(tiny: UNet3D) -> None:
    latents = torch.zeros(1, 4, 2, 5, 7)
    fine, coarse = torch.arange(2 * 35.0).view(2, 35), torch.arange(2 * 12.0).view(2, 12)
    assert tiny.grid(fine, latents)[0, 1, 2, 3] == 35 + 2 * 7 + 3
    assert tiny.grid(coarse, latents).shape == (1, 2, 3, 4)
    for wrong in (torch.zeros(2, 13), torch.zeros(3, 35)):
        with pytest.raises(ValueError, match="don't come from"):
            tiny.grid(wrong, latents)
    assert tiny.spans(3) == ((0,), (1,), (2,))
