"""Open-Sora 2.0: the published weights converted, and the Backbone over them."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_opensora2 import (
    CHANNELS,
    CLIP_WIDTH,
    T5_WIDTH,
    VAE,
    published_forward,
    published_network,
    published_vae,
    write_tiny_opensora2,
)
from vxedit.backbones.opensora2.convert import build_network, neighbours, network_config, network_weights
from vxedit.backbones.opensora2.layers import double_query_key, single_query_key
from vxedit.backbones.opensora2.packing import pack, places, unpack
from vxedit.backbones.opensora2.vae_convert import build_vae, vae_config
from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import find, load, outline
from vxedit.errors import ModelError, UsageError


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def converted_forward(network: Any, *inputs: Any) -> Tensor:
    video, text, pooled, time, places = inputs
    with torch.no_grad():
        return network(
            hidden_states=video,
            encoder_hidden_states=text,
            pooled_projections=pooled,
            timestep=torch.tensor([time]),
            img_ids=places,
            txt_ids=torch.zeros(text.shape[1], 3),
            return_dict=False,
        )[0]


def network_inputs() -> tuple[Tensor, Tensor, Tensor, float, Tensor]:
    places = torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(6)).float()
    return drawn(1, 72, 4 * CHANNELS), drawn(1, 7, T5_WIDTH, seed=2), drawn(1, CLIP_WIDTH, seed=3), 0.7, places


def test_the_converted_network_gives_what_the_published_one_gives() -> None:
    weights, inputs = published_network(), network_inputs()
    expected = published_forward(weights, *inputs)
    assert expected.std() > 0.3
    got = converted_forward(build_network(weights, source="here"), *inputs)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_weights_with_one_projection_for_queries_keys_and_values_turn_neighbours_already() -> None:
    apart = published_network()
    fused = {name: value for name, value in apart.items() if not re.search(r"\.(q|k|v)_(proj|mlp)\.|_norm\.", name)}
    for name, value in apart.items():
        if "_norm." in name:
            fused[name] = neighbours(value, 32)
        elif found := re.fullmatch(r"(.*)\.q_proj\.(\w+)", name):
            layer, kind = found.groups()
            last, whole = ("v_mlp", "linear1") if layer.startswith("single") else ("v_proj", "qkv")
            query, key = (neighbours(apart[f"{layer}.{part}.{kind}"], 32) for part in ("q_proj", "k_proj"))
            fused[f"{layer}.{whole}.{kind}"] = torch.cat((query, key, apart[f"{layer}.{last}.{kind}"]))
    expected, got = network_weights(apart), network_weights(fused)
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_settings_of_the_published_sizes_come_from_the_shapes() -> None:
    from diffusers import FluxTransformer2DModel

    shapes = {
        "img_in.weight": (3072, 64),
        "txt_in.weight": (3072, 4096),
        "vector_in.in_layer.weight": (3072, 768),
        **{f"double_blocks.{i}.img_attn.norm.query_norm.scale": (128,) for i in range(19)},
        **{f"single_blocks.{i}.norm.query_norm.scale": (128,) for i in range(38)},
    }
    got = network_config({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    assert got == {
        "in_channels": 64,
        "num_layers": 19,
        "num_single_layers": 38,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
        "guidance_embeds": False,
        "axes_dims_rope": (16, 56, 56),
    }
    with torch.device("meta"):
        network = FluxTransformer2DModel(**got)
    reference = 3072 * 68 + 3072  # cond_in: 64 channels and 4 of the mask, with its bias
    in_bf16 = 2 * (sum(value.numel() for value in network.parameters()) + reference)
    assert round(in_bf16 / 1e9, 1) == 23.8  # as published


def test_neighbours_brings_the_halves_of_every_head_together() -> None:
    rows = torch.arange(8)  # two heads of 4: halves (0, 1 | 2, 3) and (4, 5 | 6, 7)
    assert neighbours(rows, 4).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_the_network_keeps_the_number_format_and_takes_no_gradient() -> None:
    narrow = {name: value.bfloat16() for name, value in published_network().items()}
    network = build_network(narrow, source="here")
    assert {value.dtype for value in network.parameters()} == {torch.bfloat16}
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("img_in.weight", "gone", r"needs img_in\.weight"),
        (
            "single_blocks.1.v_mlp.bias",
            "gone",
            r"here doesn't fit.*2 of.*single_transformer_blocks\.1\.attn\.to_v\.bias",
        ),
        (
            "txt_in.bias",
            "short",
            r"here doesn't fit.*context_embedder\.bias among them \(wanted \(64,\), got \(63,\)\)",
        ),
        ("guidance_in.in_layer.weight", "new", r"guidance_in\.in_layer\.weight is not a weight of.*Open_Sora_v2"),
        ("double_blocks.0.img_attn.extra.weight", "new", r"double_blocks\.0\.img_attn\.extra\.weight is not"),
    ],
)
def test_weights_that_are_not_the_networks_are_refused(name: str, change: str, message: str) -> None:
    weights = published_network()
    if change == "gone":
        del weights[name]
    else:
        weights[name] = weights[name][:-1] if change == "short" else torch.zeros(2, 2)
    with pytest.raises(ModelError, match=message):
        build_network(weights, source="here")


def test_conversion_leaves_the_given_weights_alone() -> None:
    weights, before = published_network(), published_network()
    network_weights(weights)
    assert weights.keys() == before.keys()
    assert all(torch.equal(weights[name], before[name]) for name in before)


def test_the_autoencoders_settings_come_from_the_shapes() -> None:
    weights = published_vae()
    got = vae_config(weights)
    assert {name: got[name] for name in VAE} == VAE
    assert (got["in_channels"], got["out_channels"], got["scaling_factor"]) == (3, 3, 0.476986)
    assert (got["spatial_compression_ratio"], got["temporal_compression_ratio"]) == (8, 4)
    # Names of the published file, as Open-Sora's own module has them.
    assert {
        "encoder.down_blocks.0.downsamplers.0.conv.conv.weight",
        "encoder.mid_block.attentions.0.to_q.weight",
        "decoder.up_blocks.2.upsamplers.0.conv.conv.bias",
        "decoder.conv_norm_out.weight",
        "quant_conv.weight",
    } <= weights.keys()


def test_the_autoencoder_is_not_tiled_over_time() -> None:
    vae = build_vae(published_vae(), source="here")
    frames = drawn(1, 3, 21, 16, 24).clamp(-1, 1)
    with torch.no_grad():
        moments = vae.quant_conv(vae.encoder(frames))
        latents = vae.encode(frames).latent_dist.mode()
        assert latents.shape == (1, CHANNELS, 6, 2, 3)
        torch.testing.assert_close(latents, moments[:, :CHANNELS], rtol=0, atol=1e-6)
        torch.testing.assert_close(vae.decode(latents).sample, vae.decoder(vae.post_quant_conv(latents)))
    assert vae.use_tiling


def test_an_autoencoder_of_another_kind_is_refused() -> None:
    with pytest.raises(ModelError, match=r"needs encoder\.conv_in\.conv\.weight.*hunyuan_vae\.safetensors"):
        vae_config({"encoder.conv_in.weight": torch.zeros(1)})
    weights = published_vae()
    del weights["quant_conv.bias"]
    with pytest.raises(ModelError, match=r"here doesn't fit AutoencoderKLHunyuanVideo.*quant_conv\.bias"):
        build_vae(weights, source="here")


def test_a_token_is_a_patch_of_four_cells_and_unpacking_undoes_packing() -> None:
    latents = drawn(2, 3, 2, 4, 6)
    tokens = pack(latents)
    assert tokens.shape == (2, 12, 12)
    # Token 2 * 3 + 2 of frame 0's 2x3 is its second row's last: rows 2 and 3, columns 4 and 5.
    expected = [latents[1, channel, 1, row, column] for channel in range(3) for row in (2, 3) for column in (4, 5)]
    assert tokens[1, 6 + 3 + 2].tolist() == [float(value) for value in expected]
    assert places(latents.shape, torch.device("cpu"))[6 + 3 + 2].tolist() == [1, 1, 2]
    assert torch.equal(unpack(tokens, latents.shape), latents)
    with pytest.raises(ValueError, match="even"):
        pack(drawn(1, 3, 2, 3, 6))


def test_captured_queries_and_keys_are_those_of_the_published_attention() -> None:
    weights, inputs = published_network(), network_inputs()
    shares: list[Tensor] = []
    published_forward(weights, *inputs, shares=shares)
    network, seen, length = build_network(weights, source="here"), [], inputs[1].shape[1]
    pairs: list[tuple[Any, Any]] = [(block.attn, double_query_key) for block in network.transformer_blocks]
    pairs += [(block, single_query_key) for block in network.single_transformer_blocks]
    for module, query_key in pairs:
        module.register_forward_pre_hook(
            lambda module, args, kwargs, query_key=query_key: seen.append(query_key(module, args, kwargs)),
            with_kwargs=True,
        )
    converted_forward(network, *inputs)
    assert len(seen) == len(shares) == 4
    for (query, key, bias), share in zip(seen, shares, strict=True):
        assert bias is None
        text = share[:, :, length:, :length]  # what the video looks at in the text
        got = (query @ key.transpose(2, 3) / 32**0.5).softmax(-1)
        torch.testing.assert_close(got, text / text.sum(-1, keepdim=True), rtol=1e-4, atol=1e-5)


class TestOpenSora2(FamilyContract):
    write: ClassVar[Callable[[Path], Path]] = staticmethod(write_tiny_opensora2)
    family = "opensora2"
    guidance_scale = 7.5
    clip = (9, 32, 48)
    latents = (1, CHANNELS, 3, 4, 6)
    spans = ((0,), (1, 2, 3, 4), (5, 6, 7, 8))
    mixers = ("transformer_blocks.*.attn", "single_transformer_blocks.*.attn")
    patch = (1, 2, 2)

    def test_it_predicts_what_the_published_network_gives(self, backbone: Backbone) -> None:
        """The velocity of the published network for flow's own latents, (1 - s) x0 + s n at s = t / 1000."""
        latents, embeds = self.noisy(), backbone.text(PROMPT).embeds
        with torch.no_grad():
            got = backbone.predict(latents, 600.0, embeds)
        tokens = torch.stack(
            [  # row by row of 2x2 cells, channels slowest
                latents[0, :, frame, row : row + 2, column : column + 2].flatten()
                for frame in range(3)
                for row in (0, 2)
                for column in (0, 2, 4)
            ]
        )
        places = torch.tensor([[f, y, x] for f in range(3) for y in range(2) for x in range(3)])
        pooled = embeds[:, 512, :CLIP_WIDTH]
        scale = math.hypot(0.4, 0.6)
        expected = published_forward(published_network(), scale * tokens[None], embeds[:, :512], pooled, 0.6, places)
        torch.testing.assert_close(pack(got), expected, rtol=0, atol=1e-4)

    @pytest.mark.parametrize(("prompt", "asked"), [(PROMPT, f"{PROMPT} 4 motion score."), ("", "")])
    def test_the_embeddings_are_t5_s_without_a_mask_and_clip_s_vector(
        self, backbone: Backbone, folder: Path, prompt: str, asked: str
    ) -> None:
        from transformers import AutoTokenizer, CLIPModel, CLIPTokenizer, T5EncoderModel

        t5, clip = (str(folder / name) for name in ("google/t5-v1_1-xxl", "openai/clip-vit-large-patch14"))
        ids = AutoTokenizer.from_pretrained(t5)(asked, padding="max_length", max_length=512, return_tensors="pt")
        told = CLIPTokenizer.from_pretrained(clip)(asked, padding="max_length", max_length=77, return_tensors="pt")
        with torch.no_grad():
            states = T5EncoderModel.from_pretrained(t5).eval()(ids["input_ids"]).last_hidden_state
            states_of_letters = CLIPModel.from_pretrained(clip).eval().text_model(told["input_ids"]).last_hidden_state
        end = int(told["attention_mask"].sum()) - 1
        got = backbone.text(prompt).embeds
        assert got.shape == (1, 513, T5_WIDTH)
        torch.testing.assert_close(got[:, :512], states, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got[:, 512, :CLIP_WIDTH], states_of_letters[:, end], rtol=1e-4, atol=1e-5)
        assert not got[:, 512, CLIP_WIDTH:].any()

    def test_latents_are_the_posterior_s_mean_scaled(self, backbone: Backbone) -> None:
        clip = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
        pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None] / 127.5 - 1
        vae = build_vae(published_vae(), source="here")
        with torch.no_grad():
            mean = vae.quant_conv(vae.encoder(pixels))[:, :CHANNELS]
            made = vae.decoder(vae.post_quant_conv(mean))[0].permute(1, 2, 3, 0)
        latents = backbone.encode(clip)
        torch.testing.assert_close(latents, 0.476986 * mean, rtol=1e-4, atol=1e-5)
        expected = ((made + 1) * 127.5).clamp(0, 255).numpy()
        assert np.abs(backbone.decode(latents, 5) - expected).max() <= 0.51

    def test_the_motion_score_is_in_the_prompt_and_not_in_its_tokens(self, backbone: Backbone) -> None:
        assert max(piece.end for piece in backbone.text(PROMPT).pieces) == len(PROMPT)
        assert torch.equal(backbone.unconditional(PROMPT), backbone.text("").embeds)
        assert backbone.text("").pieces == ()

    def test_a_prompt_that_clip_cuts_is_taken_and_one_that_t5_cuts_is_refused(self, backbone: Backbone) -> None:
        longer = ("a red ball " * 30).strip()  # 240 letters for CLIP's 77 places, 90 tokens for T5's 512
        other = longer[:-4] + "the"
        one, two = backbone.text(longer).embeds, backbone.text(other).embeds
        assert torch.equal(one[:, 512], two[:, 512])
        assert not torch.equal(one[:, :512], two[:, :512])
        with pytest.raises(UsageError, match="shorten the prompt"):
            backbone.text("a red ball " * 200)

    def test_its_steps_are_the_published_ones(self, folder: Path) -> None:
        """alpha t / (1 + (alpha - 1) t), alpha the line through (256, 1) and (4096, 3) times the root of the latents'
        frames: get_schedule of the authors' sampling."""
        levels = outline(str(folder)).facts.levels
        for shape, alpha in (
            ((1, 16, 33, 72, 128), (1 + 2 * (2304 - 256) / 3840) * math.sqrt(33)),  # 768px, 129 frames
            ((1, 16, 1, 128, 128), 3.0),
            ((1, 16, 4, 32, 32), 2.0),
            (None, (1 + 2 * (252 - 256) / 3840) * math.sqrt(33)),  # its own size: 192x336, 129 frames
        ):
            made = levels.schedule(4, shape)
            expected = [1000 * alpha * u / (1 + (alpha - 1) * u) for u in (1.0, 0.75, 0.5, 0.25)]
            assert made.timesteps == pytest.approx(expected)

    def test_its_sizes_are_the_published_ones(self, folder: Path) -> None:
        shown = outline(str(folder))
        assert shown.native == (129, 192, 336)
        assert shown.fit(400, 1080, 1920) == (129, 192, 336)
        with pytest.raises(UsageError, match=r"--num-frames 9 or 13"):
            shown.check_generated(11, 32, 32)
        with pytest.raises(UsageError, match="multiples of 16"):
            shown.check(9, 40, 48)
        assert find("opensora2-768px").native == (129, 576, 1024)
        assert find("hpcai-tech/Open-Sora-v2").native == (129, 192, 336)


def test_what_the_folder_lacks_is_named_and_nothing_else(tmp_path: Path) -> None:
    whole = write_tiny_opensora2(tmp_path / "whole")
    for name, message in (
        ("openai/clip-vit-large-patch14/merges.txt", r"missing: openai/clip-vit-large-patch14/tokenizer\.json \(or "),
        ("hunyuan_vae.safetensors", r"missing: hunyuan_vae\.safetensors;"),
        ("Open_Sora_v2.safetensors", r"missing: Open_Sora_v2\.safetensors;"),
    ):
        broken = shutil.copytree(whole, tmp_path / name.replace("/", "_"))
        (broken / name).unlink()
        with pytest.raises(ModelError, match=message):
            outline(str(broken))


def test_damaged_weights_are_said_in_one_line(tmp_path: Path) -> None:
    folder = write_tiny_opensora2(tmp_path / "tiny")
    file = folder / "Open_Sora_v2.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"Open_Sora_v2\.safetensors can't be loaded") as caught:
        load(str(folder), device="cpu")
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


def test_loading_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_tiny_opensora2(tmp_path / "tiny")
    capfd.readouterr()
    load(str(folder), device="cpu", dtype="bf16")
    assert capfd.readouterr() == ("", "")


def test_the_network_and_t5_run_narrow_and_the_rest_does_not(tmp_path: Path) -> None:
    backbone: Any = load(str(write_tiny_opensora2(tmp_path / "tiny")), device="cpu", dtype="bf16")
    assert backbone.dtype == backbone.prompts.t5.encoder.dtype == torch.bfloat16
    assert backbone.codec.vae.dtype == backbone.prompts.clip_encoder.dtype == torch.float32
    latents = drawn(1, CHANNELS, 1, 4, 6)
    with torch.no_grad():
        assert backbone.predict(latents, 600.0, backbone.text(PROMPT).embeds).dtype == torch.float32


def test_clip_s_tokenizer_is_part_of_what_the_model_is(tmp_path: Path) -> None:
    from vxedit.backbones.identity import identity

    folder = write_tiny_opensora2(tmp_path / "tiny")
    before = identity(outline(str(folder)).layout)
    merges = folder / "openai" / "clip-vit-large-patch14" / "merges.txt"
    merges.write_text(merges.read_text(encoding="utf-8") + "a b\n", encoding="utf-8")
    assert identity(outline(str(folder)).layout) != before
