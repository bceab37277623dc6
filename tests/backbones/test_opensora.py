"""Open-Sora 1.2: the network and the autoencoder against the authors' own code, and the backbone over both."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_opensora import (
    NETWORK,
    TEXT_COLUMNS,
    VAE,
    made_up,
    made_up_weights,
    write_tiny_opensora,
)
from vxedit.backbones.borrowed import recomputed_blocks
from vxedit.backbones.flow import scale_of
from vxedit.backbones.opensora.backbone import OpenSora
from vxedit.backbones.opensora.chunks import Chunks
from vxedit.backbones.opensora.codec import OpenSoraCodec
from vxedit.backbones.opensora.stdit3 import STDiT3
from vxedit.backbones.opensora.vae import OpenSoraVAE
from vxedit.backbones.protocol import AttentionCall, Size
from vxedit.backbones.registry import load, outline
from vxedit.edit.attending import logits, mixed
from vxedit.errors import ModelError, UsageError

SIZE: dict[str, Any] = {"fps": torch.tensor([24.0]), "height": 40, "width": 48}


def filled(module: nn.Module) -> Any:
    module.load_state_dict(made_up_weights(module), strict=True)
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network() -> STDiT3:
    return filled(STDiT3.from_config(NETWORK))


@pytest.fixture(scope="module")
def vae() -> OpenSoraVAE:
    return filled(OpenSoraVAE(VAE))


def loaded(folder: Path, **options: Any) -> Any:
    return load(str(folder), device="cpu", **options)


def latents(*shape: int) -> Tensor:
    return made_up(shape, 0.5)


def text(batch: int = 1) -> Tensor:
    return made_up((batch, 9, 24), 0.25)


def first(columns: int, of: int = 9) -> Tensor:
    return (torch.arange(of) < columns)[None]


def test_the_network_gives_what_the_authors_code_gives(network: STDiT3) -> None:
    """Recorded from the authors' STDiT3 (hpcaitech/Open-Sora, tag v1.2.0), on the same weights in float32."""
    output = network(latents(1, 4, 3, 5, 6), torch.tensor([700.0]), text(), mask=first(4), **SIZE)
    assert output.shape == (1, 8, 3, 5, 6)
    corner = [-0.393763, -0.407397, -0.539095, -1.021898, -1.321204, -0.151008, 1.337992, -0.797146]
    torch.testing.assert_close(output[0, :, 2, 4, 5], torch.tensor(corner), rtol=0, atol=1e-5)
    along = torch.tensor([-1.354803, -0.874497, -1.496505])
    torch.testing.assert_close(output[0, 1, :, 1, 2], along, rtol=0, atol=1e-5)


def test_the_autoencoder_gives_what_the_authors_code_gives(vae: OpenSoraVAE) -> None:
    """Recorded as above from VideoAutoencoderPipeline, its posteriors' means for their samples: 19 frames are a chunk
    of 17 and a tail of 2."""
    coded = vae.encode(latents(1, 3, 19, 16, 24))
    assert coded.shape == (1, 4, 6, 2, 3)
    tail = torch.tensor([-0.100828, -0.364125, -0.050150, -0.408556])
    torch.testing.assert_close(coded[0, :, 5, 1, 2], tail, rtol=0, atol=1e-5)
    along = torch.tensor([0.107051, 0.103665, 0.088334, 0.066449, 0.211052, 0.039578])
    torch.testing.assert_close(coded[0, 0, :, 0, 1], along, rtol=0, atol=1e-5)
    frames = vae.decode(coded, 19)
    assert frames.shape == (1, 3, 19, 16, 24)
    pixel = torch.tensor([-0.573752, 0.399390, -0.045970])
    torch.testing.assert_close(frames[0, :, 3, 9, 20], pixel, rtol=0, atol=5e-5)
    pixel = torch.tensor([0.005888, 0.316735, 0.670188])
    torch.testing.assert_close(frames[0, :, 18, 2, 2], pixel, rtol=0, atol=5e-5)


def test_weights_are_named_as_in_the_published_files() -> None:
    block = [
        *(f"attn.{part}" for part in ("qkv.weight", "qkv.bias", "q_norm.weight", "k_norm.weight")),
        *(f"{part}.{kind}" for part in ("attn.proj", "mlp.fc1", "mlp.fc2") for kind in ("weight", "bias")),
        *(f"cross_attn.{part}.{kind}" for part in ("q_linear", "kv_linear", "proj") for kind in ("weight", "bias")),
        "scale_shift_table",
    ]
    linear = ("x_embedder.proj", "t_block.1", "y_embedder.y_proj.fc1", "y_embedder.y_proj.fc2", "final_layer.linear")
    embedders = tuple(f"{kind}_embedder.mlp.{i}" for kind in ("t", "fps") for i in (0, 2))
    expected = {
        *(f"{name}.{kind}" for name in (*linear, *embedders) for kind in ("weight", "bias")),
        *(f"{kind}_blocks.{i}.{name}" for kind in ("spatial", "temporal") for i in range(2) for name in block),
        *("rope.freqs", "y_embedder.y_embedding", "final_layer.scale_shift_table"),
    }
    assert set(STDiT3.from_config(NETWORK).state_dict()) == expected
    stages = OpenSoraVAE(VAE).state_dict()
    assert {
        *("scale", "shift", "spatial_vae.module.quant_conv.weight", "temporal_vae.quant_conv.conv.weight"),
        *("temporal_vae.encoder.conv_blocks.1.conv.bias", "temporal_vae.decoder.conv_blocks.2.conv.weight"),
        "temporal_vae.decoder.block_res_blocks.0.0.conv3.conv.weight",
        "spatial_vae.module.encoder.mid_block.attentions.0.to_q.weight",
    } <= set(stages)
    assert "temporal_vae.encoder.conv_in.conv.bias" not in stages
    assert stages["scale"].shape == stages["shift"].shape == (1, 4, 1, 1, 1)


def test_full_size_is_that_of_the_published_files() -> None:
    """4.84 and 1.57 GB in float32 are what the model pages say."""
    with torch.device("meta"):
        network, vae = STDiT3.from_config({}), OpenSoraVAE({"scale": [1.0] * 4, "shift": [0.0] * 4})
    gigabytes = [sum(4 * w.numel() for w in part.state_dict().values()) / 1e9 for part in (network, vae)]
    assert gigabytes == [pytest.approx(4.84, abs=0.005), pytest.approx(1.57, abs=0.005)]
    assert network.y_embedder.y_embedding.shape == (300, 4096)
    assert network.state_dict()["spatial_blocks.27.attn.q_norm.weight"].shape == (72,)


def test_masked_text_is_text_that_was_cut(network: STDiT3) -> None:
    noisy, at, words = latents(2, 4, 3, 4, 6), torch.tensor([700.0, 300.0]), text(2)
    size = {**SIZE, "fps": torch.tensor([24.0, 8.0])}
    together = network(noisy, at, words, mask=torch.cat((first(4), first(6))), **size)
    for i, columns in enumerate((4, 6)):
        one = {**size, "fps": size["fps"][i : i + 1]}
        alone = network(noisy[i : i + 1], at[i : i + 1], words[i : i + 1, :columns], **one)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    whole = network(noisy, at, words, **size)
    assert (whole - together).abs().amax() > 1e-3


def test_odd_latents_are_padded_with_zeros(network: STDiT3) -> None:
    odd = latents(1, 4, 2, 5, 7)
    even = torch.zeros(1, 4, 2, 6, 8)
    even[..., :5, :7] = odd
    at = torch.tensor([700.0])
    whole = network(even, at, text(), **SIZE)
    torch.testing.assert_close(network(odd, at, text(), **SIZE), whole[..., :5, :7], rtol=0, atol=0)
    assert network.token_grid(5, 7) == (3, 4)


@pytest.mark.parametrize("change", [{"fps": torch.tensor([8.0])}, {"height": 80}, {"width": 96}])
def test_rate_and_size_are_seen(network: STDiT3, change: dict[str, Any]) -> None:
    at = torch.tensor([700.0])
    before = network(latents(1, 4, 2, 4, 6), at, text(), **SIZE)
    after = network(latents(1, 4, 2, 4, 6), at, text(), **{**SIZE, **change})
    assert (before - after).abs().amax() > 1e-3


def test_blocks_run_in_the_order_in_which_they_are_listed(network: STDiT3) -> None:
    ran: list[str] = []
    listed = list(network.blocks())
    handles = [block.register_forward_pre_hook(lambda *_, name=name: ran.append(name)) for name, block in listed]
    network(latents(1, 4, 2, 4, 4), torch.tensor([1.0]), text(), **SIZE)
    for handle in handles:
        handle.remove()
    assert ran == ["spatial_blocks.0", "temporal_blocks.0", "spatial_blocks.1", "temporal_blocks.1"]
    assert [name for name, _ in listed] == ran
    assert [block.temporal for _, block in listed] == [False, True, False, True]


def test_queries_and_keys_can_be_made_again_from_the_arguments(network: STDiT3) -> None:
    """Explicit softmax over what `qkv` gives is what each text attention gave."""
    seen: dict[str, Tensor] = {}

    def look(module: Any, args: tuple[Any, ...], out: Tensor) -> None:
        tokens, words, bias = args
        query, key, value = module.qkv(tokens, words)
        share = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias).softmax(-1)
        assert share[..., 4:].abs().max() == 0
        again = module.proj((share @ value).transpose(1, 2).flatten(2))
        torch.testing.assert_close(again, out, rtol=1e-4, atol=1e-5)
        seen[str(len(seen))] = tokens

    handles = [block.cross_attn.register_forward_hook(look) for _, block in network.blocks()]
    network(latents(1, 4, 2, 4, 6), torch.tensor([700.0]), text(), mask=first(4), **SIZE)
    for handle in handles:
        handle.remove()
    assert [tokens.shape for tokens in seen.values()] == [(1, 2 * 2 * 3, 48)] * 4


def test_recomputed_blocks_give_the_same_gradient_and_watched_ones_run_once(network: STDiT3) -> None:
    def gradient(*, again: bool) -> tuple[Tensor, dict[str, int]]:
        runs: dict[str, int] = {}

        def count(name: str) -> None:
            runs[name] = runs.get(name, 0) + 1

        hooks = [b.mlp.register_forward_hook(lambda *_, name=name: count(name)) for name, b in network.blocks()]
        watched = dict(network.blocks())["temporal_blocks.0"].cross_attn
        hooks.append(watched.register_forward_pre_hook(lambda *_: None))
        noisy = latents(1, 4, 2, 4, 4).requires_grad_()
        with recomputed_blocks(network) if again else contextlib.nullcontext():
            output = network(noisy, torch.tensor([700.0]), text(), **SIZE)
        (found,) = torch.autograd.grad(output.square().mean(), noisy)
        for hook in hooks:
            hook.remove()
        return found, runs

    plain, once = gradient(again=False)
    recomputed, runs = gradient(again=True)
    assert set(once.values()) == {1}
    assert runs == {"spatial_blocks.0": 2, "temporal_blocks.0": 1, "spatial_blocks.1": 2, "temporal_blocks.1": 2}
    torch.testing.assert_close(recomputed, plain, rtol=0, atol=1e-7)
    assert plain.abs().amax() > 1e-5


@pytest.mark.parametrize("chunk", [17, 6])
def test_spans_are_the_frames_that_reach_a_latent_first(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Where no norm takes its measure over time, a change of one frame changes, in its own chunk alone, the latent that
    the frame is in and later ones."""
    vae = filled(OpenSoraVAE({**VAE, "micro_frame_size": chunk}))
    monkeypatch.setattr(vae.spatial_vae, "encode", lambda frames: frames)
    for module in vae.temporal_vae.modules():
        for name in ("norm1", "norm2"):
            if hasattr(module, name):
                setattr(module, name, nn.Identity())
    length = OpenSoraCodec(vae).length
    spans = length.spans(2 * chunk)
    assert [frame for span in spans for frame in span] == list(range(2 * chunk))
    clip = latents(1, 4, 2 * chunk, 2, 2)
    before = vae.encode(clip)
    assert before.shape[2] == len(spans) == length.latents(2 * chunk)
    for frame in range(2 * chunk):
        other = clip.clone()
        other[:, :, frame] += 1
        changed = ((vae.encode(other) - before).abs().amax((0, 1, 3, 4)) > 1e-5).tolist()
        own, half = next(i for i, span in enumerate(spans) if frame in span), len(spans) // 2
        assert changed.index(True) == own
        assert not any(changed[half:] if own < half else changed[:half])


def test_lengths_between_whole_chunks_are_continued() -> None:
    length = Chunks()
    assert [length.legal(frames) for frames in (1, 17, 18, 51)] == [17, 17, 34, 51]
    assert [length.latents(frames) for frames in (1, 17, 18, 51)] == [5, 5, 10, 15]
    assert length.spans(17) == ((0,), (1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16))
    assert length.spans(20)[5:] == ((17,), (18, 19), (19,), (19,), (19,))


def test_latents_are_normalised_channel_by_channel(vae: OpenSoraVAE) -> None:
    plain = filled(OpenSoraVAE({**VAE, "scale": [1.0] * 4, "shift": [0.0] * 4}))
    clip = latents(1, 3, 4, 8, 16)
    raw, scaled = plain.encode(clip)[0, :, 0, 0], vae.encode(clip)[0, :, 0, 0]
    shift, scale = (torch.tensor(VAE[name])[:, None] for name in ("shift", "scale"))
    torch.testing.assert_close(scaled, (raw - shift) / scale)


def test_other_numbers_of_latents_are_refused(vae: OpenSoraVAE) -> None:
    with pytest.raises(ValueError, match=r"18 frames have 6 latents, got 5"):
        vae.decode(latents(1, 4, 5, 1, 1), 18)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": [2, 2, 2]}, "patch_size"),
        ({"num_heads": 5}, "heads of no even width"),
        ({"skip_y_embedder": True}, "skip_y_embedder"),
    ],
)
def test_a_network_that_is_another_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        STDiT3.from_config({**NETWORK, **change})


def test_an_autoencoder_that_is_another_is_refused() -> None:
    with pytest.raises(ModelError, match=r"scale in config.json has 3 numbers for 4 channels"):
        OpenSoraVAE({**VAE, "scale": [1.0, 2.0, 3.0]})
    with pytest.raises(ModelError, match="temporal_downsample"):
        OpenSoraVAE({**VAE, "vae_temporal": {**VAE["vae_temporal"], "temporal_downsample": [True]}})


class TestOpenSora(FamilyContract):
    write = staticmethod(write_tiny_opensora)
    family = "opensora"
    guidance_scale = 7.0
    clip = (17, 32, 48)
    latents = (1, 4, 5, 4, 6)
    spans = ((0,), (1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16))
    mixers = ("*_blocks.*.attn",)
    patch = (1, 2, 2)

    def test_it_takes_the_published_steps(self, folder: Path, backbone: OpenSora) -> None:
        """The authors' timestep_transform: t 1, 1 - 1/N, … to r t / (1 + (r - 1) t) with r = sqrt(pixels / 512^2) *
        sqrt(latent frames); the native clip, where nothing says which, is of 51 frames of 240x432."""
        for shape, pixels, frames in ((None, 240 * 432, 15), ((1, 4, 5, 64, 64), 512 * 512, 5)):
            r = math.sqrt(pixels / 512**2) * math.sqrt(frames)
            expected = [1000 * r * t / (1 + (r - 1) * t) for t in (1.0, 0.75, 0.5, 0.25)]
            assert backbone.schedule(4, shape).timesteps == pytest.approx(expected)
        assert outline(str(folder)).schedule(4) == backbone.schedule(4)

    def test_lengths_that_it_does_not_make_are_answered_with_the_nearest(self, folder: Path) -> None:
        with pytest.raises(UsageError, match=r"--num-frames 17 or 34"):
            outline(str(folder)).check_generated(20, 32, 32)
        with pytest.raises(UsageError, match=r"multiples of 16"):
            outline(str(folder)).check(17, 24, 32)

    def test_the_settings_of_a_folder_hold(self, folder: Path, tmp_path: Path) -> None:
        told = shutil.copytree(folder, tmp_path / "told")
        settings = {"frames": 34, "height": 64, "max_frames": 68, "steering_layers": ["spatial_blocks.*"]}
        (told / "model_index.json").write_text(json.dumps({"vxedit": settings}))
        backbone = load(str(told), device="cpu")
        assert backbone.native == (34, 64, 432)
        assert outline(str(told)).max_frames == 68
        assert backbone.steering_layers() == ("spatial_blocks.0.cross_attn", "spatial_blocks.1.cross_attn")

    def test_predict_is_the_network_s_velocity_turned_about(self, backbone: OpenSora) -> None:
        noisy, embeds = self.noisy(), backbone.text(PROMPT).embeds
        real = int((embeds.abs().amax(-1) > 0).sum())
        assert 0 < real < TEXT_COLUMNS
        given = {"fps": torch.tensor([24.0]), "height": 32, "width": 48}
        output = backbone.network(scale_of(0.6) * noisy, torch.tensor([600.0]), embeds[:, :real], **given)
        torch.testing.assert_close(backbone.predict(noisy, 600.0, embeds), -output[:, :4], rtol=1e-4, atol=1e-5)

    def test_no_text_is_what_the_network_learned_cut_as_the_prompt_is(self, backbone: OpenSora) -> None:
        real = backbone.text(PROMPT).embeds[0].abs().amax(-1) > 0
        none = backbone.unconditional(PROMPT)
        assert none.shape == (1, TEXT_COLUMNS, 32)
        learned = made_up_weights(backbone.network)["y_embedder.y_embedding"]
        assert torch.equal(none[0, real], learned[real])
        assert none[0, ~real].abs().max() == 0
        assert not torch.equal(none, backbone.unconditional("a ball"))

    def test_no_text_is_where_the_prompt_is_while_the_network_waits_elsewhere(
        self, backbone: OpenSora, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = backbone.text(PROMPT)
        monkeypatch.setattr(backbone, "text", lambda _: replace(there, embeds=there.embeds.to("meta")))
        assert backbone.unconditional(PROMPT).device.type == "meta"

    def test_its_chunks_are_those_that_the_autoencoder_makes(self, folder: Path, tmp_path: Path) -> None:
        halved = shutil.copytree(folder, tmp_path / "halved")
        file = halved / "vae" / "config.json"
        config = json.loads(file.read_text())
        config["vae_temporal"]["temporal_downsample"] = [False, False, True]
        file.write_text(json.dumps(config))
        assert outline(str(halved)).facts.sizes.length.latents(17) == 9

    def test_prompts_are_read_in_small_letters_with_a_score(self, backbone: OpenSora) -> None:
        small, large = backbone.text(PROMPT), backbone.text(PROMPT.upper())
        assert torch.equal(small.embeds, large.embeds)
        assert small.pieces == large.pieces
        assert max(piece.end for piece in small.pieces) == len(PROMPT)
        by_hand = backbone.text(f"{PROMPT} aesthetic score: 6.5.")
        assert torch.equal(small.embeds, by_hand.embeds)
        assert len(by_hand.pieces) > len(small.pieces)
        assert backbone.tokens("İ ball")[-1].end == len("İ ball")

    def test_a_prompt_that_is_too_long_is_refused_before_anything_is_cut(self, backbone: OpenSora) -> None:
        with pytest.raises(UsageError, match=r"these words don't fit: .*ball"):
            backbone.tokens("a ball " * 30)

    def test_chunks_don_t_see_each_other(self, backbone: OpenSora) -> None:
        clip = np.random.default_rng(0).integers(0, 256, (34, 16, 16, 3), dtype=np.uint8)
        both = backbone.encode(clip)
        assert both.shape == backbone.latent_shape(Size(34, 16, 16)) == (1, 4, 10, 2, 2)
        alone = torch.cat([backbone.encode(part) for part in (clip[:17], clip[17:])], 2)
        torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)
        frames = np.concatenate([backbone.decode(part, 17) for part in both.split(5, 2)])
        assert np.abs(backbone.decode(both, 34).astype(int) - frames).max() <= 1
        exact = (backbone.codec.vae.decode(both, 34)[0].permute(1, 2, 3, 0).numpy() + 1) * 127.5
        assert np.abs(backbone.decode(both, 34) - exact.clip(0, 255)).max() < 0.501
        with pytest.raises(ValueError, match=r"latents for 34 frames are \(1, C, 10, h, w\)"):
            backbone.decode(both[:, :, :5], 34)


class TestControl:
    @pytest.fixture(scope="class")
    @classmethod
    def backbone(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        yield load(str(write_tiny_opensora(tmp_path_factory.mktemp("models") / "tiny")), device="cpu")

    def test_every_attention_is_asked_in_the_order_in_which_it_runs(self, backbone: Any) -> None:
        calls: list[AttentionCall] = []
        noisy = latents(2, 4, 5, 4, 6)
        embeds = backbone.text(PROMPT).embeds.repeat(2, 1, 1)
        plain = backbone.predict(noisy, 600.0, embeds)
        with backbone.controlled(lambda call: calls.append(call)):
            watched = backbone.predict(noisy, 600.0, embeds)
        assert torch.equal(plain, watched)
        assert [call.attention.name for call in calls] == [attention.name for attention in backbone.attentions()]
        assert [call.attention.kind for call in calls] == ["space", "text", "time", "text"] * 2
        shapes = {"space": (10, 4, 6, 12), "text": (10, 4, 6, 12), "time": (12, 4, 5, 12)}
        for call in calls:
            assert call.query.shape == shapes[call.attention.kind]
            assert (call.batch, call.frames, call.height, call.width) == (2, 5, 2, 3)

    def test_what_a_control_gives_is_taken(self, backbone: Any) -> None:
        """Softmax by hand, frame by frame, is what the network computes; one frame's words silenced is not, and reaches
        that frame alone in the first text attention."""

        def by_hand(call: AttentionCall) -> Tensor:
            return mixed(logits(call).softmax(-1), call)

        def silent(call: AttentionCall) -> Tensor | None:
            if call.attention.name != "spatial_blocks.0.cross_attn":
                return None
            out = by_hand(call)
            out[3] = 0
            return out

        noisy, embeds = latents(1, 4, 5, 4, 6), backbone.text(PROMPT).embeds
        plain = backbone.predict(noisy, 600.0, embeds)
        with backbone.controlled(by_hand):
            torch.testing.assert_close(backbone.predict(noisy, 600.0, embeds), plain, rtol=1e-4, atol=1e-4)
        seen: list[Tensor] = []
        hook = backbone.network.spatial_blocks[0].cross_attn.register_forward_hook(lambda *a: seen.append(a[-1]))
        backbone.predict(noisy, 600.0, embeds)
        with backbone.controlled(silent):
            changed = backbone.predict(noisy, 600.0, embeds)
        hook.remove()
        differs = (seen[1] - seen[0]).unflatten(1, (5, 6)).abs().amax((0, 2, 3)) > 1e-5
        assert differs.tolist() == [False, False, False, True, False]
        assert (changed - plain).abs().max() > 1e-4

    def test_the_inner_of_two_rules_and_all_is_as_before_after_an_error(self, backbone: Any) -> None:
        noisy, embeds, asked = latents(1, 4, 5, 4, 6), backbone.text(PROMPT).embeds, []

        def fail(call: AttentionCall) -> Tensor:
            raise RuntimeError("in the middle")

        with backbone.controlled(lambda call: asked.append(call)):
            with pytest.raises(RuntimeError, match="in the middle"), backbone.controlled(fail):
                backbone.predict(noisy, 600.0, embeds)
            assert not asked
            backbone.predict(noisy, 600.0, embeds)
        assert len(asked) == 8
        backbone.predict(noisy, 600.0, embeds)
        assert len(asked) == 8

    def test_a_gradient_under_control_is_the_control_s_whatever_is_recomputed(
        self, backbone: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What ran again after the control has gone would be taken the gradient of without it."""
        embeds = backbone.text(PROMPT).embeds

        def gradient(*, again: bool, control: Any) -> Tensor:
            monkeypatch.setattr(backbone, "checkpoint_activations", again)
            noisy = latents(1, 4, 5, 4, 6).requires_grad_()
            with backbone.controlled(control):
                output = backbone.predict(noisy, 600.0, embeds)
            (found,) = torch.autograd.grad(output.square().mean(), noisy)
            return found

        plain = gradient(again=False, control=lambda call: 0.5 * call.query)
        assert (gradient(again=False, control=lambda call: None) - plain).abs().max() > 1e-4
        found = gradient(again=True, control=lambda call: 0.5 * call.query)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)


class TestLoading:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_tiny_opensora(tmp_path / "tiny")

    def rewrite(self, folder: Path, part: str, change: Any) -> None:
        file = folder / part / "model.safetensors"
        state = load_file(file)
        change(state)
        save_file(state, file)

    @pytest.mark.parametrize("part", ["transformer", "vae"])
    def test_weights_that_don_t_belong_together_are_refused(self, folder: Path, part: str) -> None:
        name = {"transformer": "t_block.1.bias", "vae": "temporal_vae.quant_conv.conv.bias"}[part]
        whole = load_file(folder / part / "model.safetensors")[name]
        self.rewrite(folder, part, lambda state: state.pop(name))
        with pytest.raises(ModelError, match=rf"{part}/model.safetensors lacks 1 of the weights.*{name}"):
            load(str(folder), device="cpu")
        self.rewrite(folder, part, lambda state: state.update({name: whole, "other": torch.zeros(1)}))
        with pytest.raises(ModelError, match=r"has 1 weights that its config.json doesn't ask for, other"):
            load(str(folder), device="cpu")
        self.rewrite(folder, part, lambda state: (state.pop("other"), state.update({name: torch.zeros(3)})))
        with pytest.raises(ModelError, match=rf"{name} is \(3,\), its config.json asks for"):
            load(str(folder), device="cpu")

    def test_a_file_that_is_damaged_is_told(self, folder: Path) -> None:
        (folder / "transformer" / "model.safetensors").write_bytes(b"no weights")
        with pytest.raises(ModelError, match=r"transformer/model.safetensors can't be loaded.*again"):
            load(str(folder), device="cpu")

    def test_pickled_weights_are_taken_where_they_are_allowed(self, folder: Path) -> None:
        file = folder / "transformer" / "model.safetensors"
        before = loaded(folder).network.state_dict()
        torch.save(load_file(file), folder / "transformer" / "pytorch_model.bin")
        file.unlink()
        with pytest.raises(ModelError, match="--allow-pickle"):
            load(str(folder), device="cpu")
        after = loaded(folder, allow_pickle=True).network.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_the_network_runs_narrow_and_the_autoencoder_does_not(self, folder: Path) -> None:
        wide, narrow = (loaded(folder, dtype=dtype) for dtype in ("fp32", "bf16"))
        assert narrow.dtype == torch.bfloat16
        assert narrow.codec.vae.scale.dtype == torch.float32
        noisy = latents(1, 4, 5, 4, 6)
        exact, near = (model.predict(noisy, 600.0, model.text(PROMPT).embeds) for model in (wide, narrow))
        assert near.dtype == torch.float32
        assert F.cosine_similarity(exact.flatten(), near.flatten(), dim=0) > 0.99
