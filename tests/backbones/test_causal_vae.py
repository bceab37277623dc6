"""Open-Sora-Plan's causal autoencoder: its layers, its wiring, its published names, and large clips in pieces."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vxedit.backbones.opensora_plan import causal_layers as layers
from vxedit.backbones.opensora_plan.causal_vae import (
    CausalVae,
    CausalVaeConfig,
    causal_vae_config,
    published_weights,
)
from vxedit.errors import ModelError

PUBLISHED: dict[str, Any] = {
    "_class_name": "CausalVAEModel",
    "hidden_size": 128,
    "z_channels": 4,
    "hidden_size_mult": [1, 2, 4, 4],
    "attn_resolutions": [],
    "dropout": 0.0,
    "resolution": 256,
    "double_z": True,
    "embed_dim": 4,
    "num_res_blocks": 2,
    "q_conv": "CausalConv3d",
    "encoder_conv_in": "Conv2d",
    "encoder_conv_out": "CausalConv3d",
    "encoder_attention": "AttnBlock3DFix",
    "encoder_resnet_blocks": ["ResnetBlock2D", "ResnetBlock2D", "ResnetBlock3D", "ResnetBlock3D"],
    "encoder_spatial_downsample": ["Downsample", "Spatial2xTime2x3DDownsample", "Spatial2xTime2x3DDownsample", ""],
    "encoder_temporal_downsample": ["", "", "", ""],
    "encoder_mid_resnet": "ResnetBlock3D",
    "decoder_conv_in": "CausalConv3d",
    "decoder_conv_out": "CausalConv3d",
    "decoder_attention": "AttnBlock3DFix",
    "decoder_resnet_blocks": ["ResnetBlock3D"] * 4,
    "decoder_spatial_upsample": ["", "SpatialUpsample2x", "Spatial2xTime2x3DUpsample", "Spatial2xTime2x3DUpsample"],
    "decoder_temporal_upsample": ["", "", "", ""],
    "decoder_mid_resnet": "ResnetBlock3D",
    "use_quant_layer": True,
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def vae() -> CausalVae:
    torch.manual_seed(0)
    made = CausalVae(CausalVaeConfig(hidden_size=32, hidden_size_mult=(1, 2, 2, 2), num_res_blocks=1)).eval()
    for weight in made.parameters():
        weight.requires_grad_(False)
        if weight.ndim == 1:
            nn.init.normal_(weight, 0.5, 0.3)
    return made


def pick(module: nn.Module, at: tuple[int, ...]) -> None:
    """Let a convolution of as many channels out as in give what lies at `at` of its kernel."""
    conv = module.conv if isinstance(module, layers.CausalConv) else module
    weight = torch.zeros_like(conv.weight)
    for channel in range(weight.shape[0]):
        weight[(channel, channel, *at)] = 1
    conv.load_state_dict({"weight": weight, "bias": torch.zeros_like(conv.bias)})


def test_a_causal_convolution_sees_the_frames_before_and_the_first_one_for_those_earlier() -> None:
    conv, x = layers.CausalConv(2, 2), noise(1, 2, 4, 3, 3)
    for back, expected in ((0, [0, 1, 2, 3]), (1, [0, 0, 1, 2]), (2, [0, 0, 0, 1])):
        pick(conv, (2 - back, 1, 1))
        torch.testing.assert_close(conv(x), x[:, :, expected], rtol=0, atol=0)


def test_halving_has_its_zeros_below_and_right_and_ends_on_every_second_frame() -> None:
    x = noise(1, 2, 5, 4, 6)
    beyond = F.pad(x, (0, 2, 0, 2))
    down = layers.CausalDown(2, 2)
    pick(down.conv, (2, 2, 2))
    torch.testing.assert_close(down(x), beyond[:, :, ::2, 2:6:2, 2:8:2], rtol=0, atol=0)
    in_frame = layers.FrameDown(2, 2)
    pick(in_frame.conv, (2, 2))
    torch.testing.assert_close(in_frame(x), beyond[:, :, :, 2:6:2, 2:8:2], rtol=0, atol=0)


def test_doubling_keeps_the_first_frame_one_and_interpolates_the_rest() -> None:
    up = layers.CausalUp(1, 1)
    pick(up.conv, (2, 1, 1))
    x = torch.tensor([1.0, 10.0, 30.0]).view(1, 1, 3, 1, 1).expand(-1, -1, -1, 2, 2)
    assert up(x)[0, 0, :, 1, 1].tolist() == [1, 10, 15, 25, 30]
    assert up(x[:, :, :1]).shape == (1, 1, 1, 4, 4)
    row = torch.tensor([0.0, 4.0]).view(1, 1, 1, 1, 2).expand(-1, -1, -1, 2, -1)
    assert up(row)[0, 0, 0, 0].tolist() == [0, 1, 3, 4]
    in_frame = layers.FrameUp(1, 1)
    pick(in_frame.conv, (0, 1, 1))
    assert in_frame(row)[0, 0, 0, 0].tolist() == [0, 0, 4, 4]
    assert in_frame(x).shape == (1, 1, 3, 4, 4)


def test_attention_is_over_the_cells_of_one_frame() -> None:
    attention, x = layers.FrameAttention(32, 32), noise(2, 32, 3, 2, 3)
    normed = attention.norm(x)
    expected = torch.empty_like(x)
    for clip in range(2):
        for frame in range(3):
            query, key, value = (
                part.conv.weight[:, :, 0, 0, 0] @ normed[clip, :, frame].flatten(1) + part.conv.bias[:, None]
                for part in (attention.q, attention.k, attention.v)
            )  # (C, H W)
            seen = value @ (query.T @ key / math.sqrt(32)).softmax(1).T
            expected[clip, :, frame] = seen.view(32, 2, 3)
    torch.testing.assert_close(attention(x), x + attention.proj_out(expected), rtol=1e-4, atol=1e-5)


def test_statistics_are_a_frame_s_in_one_kind_of_block_and_a_clip_s_in_the_other() -> None:
    x = noise(1, 32, 3, 4, 4)
    changed = x.clone()
    changed[:, :, 2] *= 5
    for kind, steady in (("ResnetBlock2D", True), ("ResnetBlock3D", False)):
        block = layers.layer(kind)(32, 64)
        assert (block(x)[:, :, 0] - block(changed)[:, :, 0]).abs().max().item() < 1e-6 or not steady
        assert (block(x)[:, :, 0] - block(changed)[:, :, 0]).abs().max().item() > 1e-3 or steady
        assert block(x).shape == (1, 64, 3, 4, 4)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 24), (5, 8, 16), (13, 16, 8)])
def test_four_frames_and_eight_pixels_a_side_become_one(vae: CausalVae, frames: int, height: int, width: int) -> None:
    latents = vae.encode(noise(1, 3, frames, height, width))
    assert latents.shape == (1, 4, 1 + (frames - 1) // 4, height // 8, width // 8)
    assert vae.decode(latents).shape == (1, 3, frames, height, width)
    assert (vae.config.frames_a_cell, vae.config.pixels_a_cell) == (4, 8)


@pytest.mark.parametrize("shape", [(4, 16, 16), (5, 12, 16), (5, 16, 20)])
def test_a_size_that_does_not_divide_is_refused(vae: CausalVae, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"4 k \+ 1 frames with sides that are multiples of 8"):
        vae.encode(torch.zeros(1, 3, *shape))


def test_a_latent_frame_knows_the_frames_up_to_its_own(vae: CausalVae, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the statistics of normalization, which are the clip's."""
    monkeypatch.setattr(nn.GroupNorm, "forward", lambda self, x: x)
    x = noise(1, 3, 9, 8, 8) / 8
    before = vae.encode(x)
    for frame, first in ((0, 0), (1, 1), (4, 1), (5, 2), (8, 2)):
        changed = x.clone()
        changed[:, :, frame] += 1
        moved = (vae.encode(changed) - before).abs().amax(dim=(0, 1, 3, 4))
        assert next(index for index, amount in enumerate(moved) if amount > 1e-6) == first


def test_the_whole_is_wired_as_its_names_say(vae: CausalVae) -> None:
    """Against the same computed from the weights' names alone."""
    weights = vae.state_dict()

    def conv(name: str, x: Tensor, *, stride: int = 1, pad: int | None = None) -> Tensor:
        kernel = weights[f"{name}.weight"]
        if kernel.ndim == 4:
            kernel = kernel[:, :, None]
        x = torch.cat([x[:, :, :1]] * (kernel.shape[2] - 1) + [x], dim=2)
        steps = (stride if kernel.shape[2] > 1 else 1, stride, stride)
        around = kernel.shape[-1] // 2 if pad is None else pad
        return F.conv3d(x, kernel, weights[f"{name}.bias"], stride=steps, padding=(0, around, around))

    def norm(name: str, x: Tensor, *, by_frame: bool = False) -> Tensor:
        def run(part: Tensor) -> Tensor:
            return F.group_norm(part, 32, weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

        return torch.cat([run(frame) for frame in x.split(1, dim=2)], dim=2) if by_frame else run(x)

    def block(name: str, x: Tensor) -> Tensor:
        flat = weights.get(f"{name}.conv1.weight") is not None
        inner = "" if flat else ".conv"
        h = conv(f"{name}.conv1{inner}", F.silu(norm(f"{name}.norm1", x, by_frame=flat)))
        h = conv(f"{name}.conv2{inner}", F.silu(norm(f"{name}.norm2", h, by_frame=flat)))
        short = f"{name}.nin_shortcut{inner}"
        return h + (conv(short, x) if f"{short}.weight" in weights else x)

    def middle(name: str, x: Tensor) -> Tensor:
        x = block(f"{name}.block_1", x)
        normed = norm(f"{name}.attn_1.norm", x)
        q, k, v = (conv(f"{name}.attn_1.{part}.conv", normed).flatten(3) for part in "qkv")  # (B, C, F, H W)
        mix = (torch.einsum("bcfn,bcfm->bfnm", q, k) / math.sqrt(q.shape[1])).softmax(-1)
        x = x + conv(f"{name}.attn_1.proj_out.conv", torch.einsum("bfnm,bcfm->bcfn", mix, v).view(x.shape))
        return block(f"{name}.block_2", x)

    def ended(name: str, x: Tensor) -> Tensor:
        return conv(f"{name}.conv_out.conv", F.silu(norm(f"{name}.norm_out", x)))

    pixels, latents = noise(2, 3, 5, 16, 8), noise(2, 4, 2, 2, 1, seed=1)
    x = conv("encoder.conv_in", pixels)
    for level, down in enumerate(("conv", "conv.conv", "conv.conv")):
        x = block(f"encoder.down.{level}.block.0", x)
        x = conv(f"encoder.down.{level}.downsample.{down}", F.pad(x, (0, 1, 0, 1)), stride=2, pad=0)
    x = ended("encoder", middle("encoder.mid", block("encoder.down.3.block.0", x)))
    torch.testing.assert_close(vae.encode(pixels), conv("quant_conv.conv", x)[:, :4], rtol=1e-4, atol=1e-5)

    x = middle("decoder.mid", conv("decoder.conv_in.conv", conv("post_quant_conv.conv", latents)))
    for level in (3, 2, 1, 0):
        for index in (0, 1):
            x = block(f"decoder.up.{level}.block.{index}", x)
        if level > 1:
            first, rest = x[:, :, :1], x[:, :, 1:]
            first = F.interpolate(first, scale_factor=(1, 2, 2), mode="trilinear")
            x = torch.cat([first, F.interpolate(rest, scale_factor=(2, 2, 2), mode="trilinear")], dim=2)
        if level == 1:
            x = x.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
        if level:
            x = conv(f"decoder.up.{level}.upsample.conv.conv", x)
    torch.testing.assert_close(vae.decode(latents), ended("decoder", x), rtol=1e-4, atol=1e-4)


def test_the_published_autoencoder_has_its_names_shapes_and_size() -> None:
    with torch.device("meta"):
        full = CausalVae(causal_vae_config(PUBLISHED))
    assert sum(weight.numel() for weight in full.parameters()) == 239_189_991  # counted in the authors' own network
    shapes = {name: tuple(weight.shape) for name, weight in full.state_dict().items()}
    assert len(shapes) == 248
    known = {
        "encoder.conv_in.weight": (128, 3, 3, 3),
        "encoder.down.0.downsample.conv.weight": (128, 128, 3, 3),
        "encoder.down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
        "encoder.down.1.downsample.conv.conv.weight": (256, 256, 3, 3, 3),
        "encoder.down.2.block.0.nin_shortcut.conv.weight": (512, 256, 1, 1, 1),
        "encoder.mid.attn_1.proj_out.conv.bias": (512,),
        "encoder.conv_out.conv.weight": (8, 512, 3, 3, 3),
        "quant_conv.conv.weight": (8, 8, 1, 1, 1),
        "post_quant_conv.conv.weight": (4, 4, 1, 1, 1),
        "decoder.conv_in.conv.weight": (512, 4, 3, 3, 3),
        "decoder.up.0.block.0.nin_shortcut.conv.weight": (128, 256, 1, 1, 1),
        "decoder.up.1.upsample.conv.conv.weight": (256, 256, 1, 3, 3),
        "decoder.up.3.upsample.conv.conv.weight": (512, 512, 3, 3, 3),
        "decoder.conv_out.conv.weight": (3, 128, 3, 3, 3),
    }
    assert {name: shapes[name] for name in known} == known
    assert not any(name.startswith(("encoder.down.3.downsample", "decoder.up.0.upsample")) for name in shapes)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"decoder_temporal_upsample": ["", "", "", "TimeUpsampleRes2x"]}, "decoder_temporal_upsample"),
        ({"attn_resolutions": [16]}, "attn_resolutions"),
        ({"hidden_size_mult": [1, 2, 4]}, "hidden_size_mult 3"),
        ({"encoder_attention": "AttnBlock3D"}, "'AttnBlock3D'"),
    ],
)
def test_another_autoencoder_s_settings_are_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says), torch.device("meta"):
        CausalVae(causal_vae_config(PUBLISHED | changed))


def test_weights_are_found_in_a_checkpoint_of_training() -> None:
    plain, averaged = torch.zeros(1), torch.ones(1)
    trained = {"encoder.a": plain, "loss.b": plain}
    assert published_weights(trained) == {"encoder.a": plain}
    assert published_weights({"state_dict": trained, "epoch": 3}) == {"encoder.a": plain}
    assert published_weights({"state_dict": {"gen_model": trained, "dics_model": {}}}) == {"encoder.a": plain}
    both = {"state_dict": trained, "ema_state_dict": {"module.encoder.a": averaged, "module.quant_conv.c": averaged}}
    assert published_weights(both) == {"encoder.a": averaged, "quant_conv.c": averaged}
    assert published_weights({"state_dict": trained, "ema_state_dict": {}}) == {"encoder.a": plain}
    with pytest.raises(ModelError, match="none of its weights"):
        published_weights({"state_dict": {"loss.b": plain}})
