"""Allegro: what every family has to do, and its mask, positions, levels, lengths and pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.backbones.contract import PROMPT, FamilyContract
from tests.backbones.tiny_allegro import NETWORK, SCHEDULER, VAE, write_tiny_allegro
from vxedit.backbones.allegro import Allegro, codec, rotary
from vxedit.backbones.families.allegro import lowered
from vxedit.backbones.protocol import Backbone, Size
from vxedit.backbones.registry import load, outline
from vxedit.errors import UsageError


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestAllegro(FamilyContract):
    write = staticmethod(write_tiny_allegro)
    family = "allegro"
    guidance_scale = 7.5
    clip = (8, 32, 48)
    latents = (1, 4, 2, 4, 6)
    spans = ((0, 1, 2, 3), (4, 5, 6, 7))
    mixers = ("transformer_blocks.*.attn1",)
    patch = (1, 2, 2)

    def test_it_predicts_what_diffusers_pipeline_does(self, folder: Path, backbone: Any) -> None:
        """Its own embeddings, padding and mask, and its own rotary positions."""
        from diffusers import AllegroPipeline, EulerAncestralDiscreteScheduler

        pipeline = AllegroPipeline(
            tokenizer=backbone.prompts.tokenizer,
            text_encoder=backbone.prompts.encoder,
            vae=_diffusers_vae(),
            transformer=backbone.network,
            scheduler=EulerAncestralDiscreteScheduler.from_config(SCHEDULER),
        )
        latents = noise(1, 4, 3, 8, 12)
        with torch.no_grad():
            embeds, mask, negative, negative_mask = pipeline.encode_prompt(PROMPT, device=torch.device("cpu"))
            for own, theirs, seen in (
                (backbone.text(PROMPT).embeds, embeds, mask),
                (backbone.unconditional(PROMPT), negative, negative_mask),
            ):
                torch.testing.assert_close(own, theirs * seen[..., None], rtol=1e-5, atol=1e-6)
                expected = backbone.network(
                    latents,
                    theirs[:, None],
                    torch.tensor([481]),
                    encoder_attention_mask=seen,
                    image_rotary_emb=pipeline._prepare_rotary_positional_embeddings(1, 64, 96, 3, torch.device("cpu")),
                    return_dict=False,
                )[0]
                torch.testing.assert_close(backbone.predict(latents, 481, own), expected, rtol=1e-4, atol=1e-5)

    def test_padding_has_no_say_and_no_attention(self, backbone: Backbone) -> None:
        embeds = backbone.text(PROMPT).embeds
        words = int((embeds[0].abs().amax(1) > 0).sum())
        assert embeds.shape[1] == 512
        assert words == len(backbone.tokens(PROMPT)) + 1  # and the end
        with torch.no_grad():
            short = backbone.predict(self.noisy(), 600, embeds[:, :words])
            torch.testing.assert_close(backbone.predict(self.noisy(), 600, embeds), short, rtol=1e-4, atol=1e-5)
        layer = backbone.layers()[1]
        seen: list[Tensor] = []

        def look(module: Any, args: Any, kwargs: Any) -> None:
            query, key, bias = layer.qk(module, args, kwargs)
            assert bias is not None
            seen.append((query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + bias).softmax(-1))

        handle = layer.module.register_forward_pre_hook(look, with_kwargs=True)
        with torch.no_grad():
            backbone.predict(self.noisy(), 600, embeds)
        handle.remove()
        assert seen[0].shape == (1, 2, 12, 512)
        assert seen[0][..., words:].max() == 0
        assert seen[0][..., :words].min() > 0

    def test_levels_are_diffusers_own(self, folder: Path) -> None:
        from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler

        made = outline(str(folder)).schedule(20)
        ddim = DDIMScheduler(timestep_spacing="linspace", clip_sample=False)
        ddim.set_timesteps(20)
        assert list(made.timesteps) == ddim.timesteps.tolist()
        assert made.abar[:-1] == pytest.approx(ddim.alphas_cumprod[ddim.timesteps].tolist(), rel=1e-4)
        published = EulerAncestralDiscreteScheduler.from_config(SCHEDULER)
        published.set_timesteps(20)
        assert list(made.timesteps) == pytest.approx(published.timesteps.tolist(), abs=0.5)

    def test_lengths_are_multiples_of_four(self, folder: Path) -> None:
        shown = outline(str(folder))
        assert shown.native == Size(8, 32, 48)
        with pytest.raises(UsageError, match=r"--num-frames 4 or 8"):
            shown.check_generated(6, 32, 48)
        with pytest.raises(UsageError, match=r"--num-frames 4"):
            shown.check_generated(3, 32, 48)

    def test_capitals_are_read_as_small_letters(self, backbone: Backbone) -> None:
        assert torch.equal(backbone.text(PROMPT.upper()).embeds, backbone.text(PROMPT).embeds)
        assert backbone.tokens(PROMPT.upper()) == backbone.tokens(PROMPT)


def test_every_letter_stays_where_it_was() -> None:
    assert lowered("A Red İglu") == "a red İglu"  # the dotted capital would become two characters


def test_the_published_size_is_the_network_s_own(tmp_path: Path) -> None:
    sample = {"sample_frames": 22, "sample_height": 90, "sample_width": 160}
    shown = outline(str(write_tiny_allegro(tmp_path / "full", **sample)))
    assert shown.native == Size(88, 720, 1280)
    assert shown.max_frames == 88


def test_a_network_that_learned_the_variance_gives_the_noise_alone(tmp_path: Path) -> None:
    both = load(str(write_tiny_allegro(tmp_path / "both", out_channels=8)), device="cpu")
    assert isinstance(both, Allegro)
    latents, embeds = noise(1, 4, 2, 4, 6), both.text(PROMPT).embeds
    whole: list[Tensor] = []
    both.network.register_forward_hook(lambda _, __, output: whole.append(output[0]))
    with torch.no_grad():
        predicted = both.predict(latents, 600, embeds)
    assert whole[0].shape == (1, 8, 2, 4, 6)
    assert torch.equal(predicted, whole[0][:, :4])


def test_rotary_positions_turn_by_place_over_scale() -> None:
    class Config:
        attention_head_dim = 24
        interpolation_scale_t, interpolation_scale_h, interpolation_scale_w = 2.0, 1.0, 0.5

    waves, places = rotary(Config, 2, 3, 4, device=torch.device("cpu"))
    assert torch.stack(places)[:, 0, 17].tolist() == [1, 1, 1]  # 17 = (1 * 3 + 1) * 4 + 1
    assert torch.stack(places)[:, 0, 23].tolist() == [1, 2, 3]
    for (cos, sin), place, scale in zip(waves, (1, 2, 3), (2.0, 1.0, 0.5), strict=True):
        angles = torch.tensor([place / scale * 10000 ** (-i / 4) for i in range(4)] * 2)
        torch.testing.assert_close(cos[place], angles.cos(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(sin[place], angles.sin(), rtol=1e-5, atol=1e-5)


def _diffusers_vae(kernel: tuple[int, int, int] = (24, 160, 160), stride: tuple[int, int, int] = (16, 40, 80)) -> Any:
    from diffusers import AutoencoderKLAllegro

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        vae = AutoencoderKLAllegro(**VAE).eval().requires_grad_(False)
    vae.kernel, vae.stride, vae.use_tiling = kernel, stride, True
    return vae


def test_pieces_give_what_diffusers_gives_where_its_fit(tmp_path: Path) -> None:
    vae = _diffusers_vae((8, 32, 32), (4, 16, 24))
    facts = load(str(write_tiny_allegro(tmp_path / "tiny")), device="cpu")._facts  # type: ignore[attr-defined]
    ours = codec(vae, facts)
    pixels = noise(1, 3, 16, 64, 56)
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mode()
        coded = ours.vae.encode(pixels).latent_dist.mode()
        torch.testing.assert_close(coded, expected, rtol=1e-4, atol=1e-5)
        latents = noise(1, 4, 4, 8, 7)
        decoded = vae.decode(latents).sample.transpose(1, 2)  # diffusers puts frames before channels
        torch.testing.assert_close(ours.vae.decode(latents).sample, decoded, rtol=1e-4, atol=1e-5)


def test_pieces_leave_nothing_out_where_diffusers_does(tmp_path: Path) -> None:
    vae = _diffusers_vae((8, 32, 32), (4, 16, 24))
    facts = load(str(write_tiny_allegro(tmp_path / "tiny")), device="cpu")._facts  # type: ignore[attr-defined]
    ours, pixels = codec(vae, facts), noise(1, 3, 12, 40, 40)
    with torch.no_grad():
        made = ours.vae.encode(pixels).latent_dist.mode()
        theirs = vae.encode(pixels).latent_dist.mode()
        last = vae.tiled_encode(pixels[:, :, 4:, 8:, 8:])[:, :4]  # one piece, in the corner that theirs leaves out
    assert made.shape == (1, 4, 3, 5, 5)
    assert theirs[..., -1, -1].unique().numel() <= 4  # nothing but the last convolution's bias
    torch.testing.assert_close(made[:, :, 2, 4, 4], last[:, :, 1, 3, 3], rtol=1e-4, atol=1e-5)


def test_the_tiny_network_is_the_published_one_in_small() -> None:
    from diffusers import AllegroTransformer3DModel

    with torch.device("meta"):
        full, tiny = AllegroTransformer3DModel(), AllegroTransformer3DModel(**NETWORK)
    assert sum(weight.numel() for weight in full.parameters()) == 2_771_907_856
    assert set(tiny.state_dict()) < set(full.state_dict())
