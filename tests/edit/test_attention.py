"""Maps of a word: against the attention's own arithmetic, and that looking changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.tiny import write_tiny_checkpoint
from vxedit.backbones.registry import load
from vxedit.backbones.tokens import columns as columns_of
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.attention import (
    SHORT,
    attention_maps,
    capture,
    capture_words,
    mean_map,
    word_probability,
    words_maps,
    words_probability,
)
from vxedit.errors import UsageError

PROMPT = "the burger on the red ball"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> UNet3D:
    folder: Path = write_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")
    return cast(UNet3D, load(str(folder), device="cpu"))


@pytest.fixture(scope="module")
def embeds(tiny: UNet3D) -> Tensor:
    return tiny.text(PROMPT).embeds


@pytest.fixture(scope="module")
def columns(tiny: UNet3D) -> tuple[int, ...]:
    return columns_of(tiny.tokens(PROMPT), PROMPT, "burger")


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(1, 4, 3, 8, 12, generator=torch.Generator().manual_seed(0))


def installed(backbone: UNet3D) -> int:
    modules = backbone._modules.unet.modules()
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in modules) + ("predict" in vars(backbone))


class Spy:
    """An attention processor that keeps the probabilities it mixes values with, computed its own way."""

    def __init__(self) -> None:
        self.probabilities: Tensor | None = None

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, attention_mask: None = None
    ) -> Tensor:
        q, k, v = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        q, k, v = (attn.head_to_batch_dim(t) for t in (q, k, v))
        scores = torch.exp(torch.einsum("bnd,bld->bnl", q, k) * attn.scale)
        self.probabilities = scores / scores.sum(-1, keepdim=True)
        return attn.to_out[0](attn.batch_to_head_dim(self.probabilities @ v))


def test_maps_are_the_probabilities_that_the_attention_mixes_with(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...]
) -> None:
    assert len(columns) == 2
    names = [layer.name for layer in tiny.layers()]
    with torch.no_grad(), capture(tiny, columns, layers=names) as seen:
        output = tiny.predict(latents, 481, embeds)
    spies = {layer.name: Spy() for layer in tiny.layers()}
    before = {layer.name: layer.module.processor for layer in tiny.layers()}
    for layer in tiny.layers():
        layer.module.processor = spies[layer.name]  # type: ignore[assignment]
    with torch.no_grad():
        spied = tiny.predict(latents, 481, embeds)
    for layer in tiny.layers():
        layer.module.processor = before[layer.name]
    torch.testing.assert_close(spied, output, rtol=1e-4, atol=1e-5)  # the spy is the same attention
    assert list(seen.maps) == names
    for layer in tiny.layers():
        found = spies[layer.name].probabilities
        assert found is not None
        summed = found[..., list(columns)].sum(-1).unflatten(0, (3, layer.module.heads)).mean(1)
        height, width = 8 // layer.stride, 12 // layer.stride
        assert seen.maps[layer.name].shape == (1, 3, height, width)
        torch.testing.assert_close(seen.maps[layer.name], summed.view(1, 3, height, width), rtol=1e-5, atol=1e-6)


def test_looking_changes_nothing_and_leaves_nothing(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...]
) -> None:
    plain = tiny.predict(latents, 481, embeds)
    with capture(tiny, columns, layers=[layer.name for layer in tiny.layers()]) as seen:
        assert torch.equal(tiny.predict(latents, 481, embeds), plain)
        assert seen.maps
    assert installed(tiny) == 0
    assert torch.equal(tiny.predict(latents, 481, embeds), plain)


@pytest.mark.parametrize("stop", [False, True])
def test_an_error_leaves_nothing_either(
    tiny: UNet3D, embeds: Tensor, columns: tuple[int, ...], latents: Tensor, stop: bool
) -> None:
    with pytest.raises(KeyError), capture(tiny, columns, stop=stop):
        raise KeyError("the caller's own")
    with pytest.raises(RuntimeError), capture(tiny, columns, stop=stop):
        tiny.predict(latents[:, :2], 481, embeds)  # two channels of four
    assert installed(tiny) == 0


def test_maps_are_those_of_the_latest_pass(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...]
) -> None:
    with torch.no_grad(), capture(tiny, columns) as seen:
        tiny.predict(latents, 481, embeds)
        first = seen.maps
        tiny.predict(latents[:, :, :2, :, :8], 481, embeds)
    assert all(m.shape == (1, 3, 8, 12) for m in first.values())
    assert all(m.shape == (1, 2, 8, 8) for m in seen.maps.values())
    assert tuple(seen.maps) == tiny.steering_layers()


def test_a_stopped_pass_gives_the_same_maps_and_gradient(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [layer.name for layer in tiny.layers()][:3]  # mid_block runs second, and is registered last
    weight = torch.rand(8, 12, generator=torch.Generator().manual_seed(1))

    def energy(maps: dict[str, Tensor]) -> Tensor:
        return (mean_map(maps, (8, 12)) * weight).sum()

    full_latents, stopped_latents = latents.clone().requires_grad_(), latents.clone().requires_grad_()
    with capture(tiny, columns, layers=layers) as seen:
        tiny.predict(full_latents, 481, embeds)
    (full,) = torch.autograd.grad(energy(seen.maps), full_latents)
    monkeypatch.setattr(tiny._modules.unet.conv_out, "forward", lambda *_: pytest.fail("the pass went on"))
    maps = attention_maps(tiny, stopped_latents, 481, embeds, columns, layers=layers)
    (stopped,) = torch.autograd.grad(energy(maps), stopped_latents)
    assert list(maps) == layers
    for name in layers:
        torch.testing.assert_close(maps[name], seen.maps[name], rtol=0, atol=1e-6)
    torch.testing.assert_close(stopped, full, rtol=0, atol=1e-6)
    assert (full.abs().amax(dim=(0, 1, 3, 4)) > 1e-6).all()  # every frame is reached
    assert installed(tiny) == 0


def test_stopping_ends_the_block_quietly(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...]
) -> None:
    reached = False
    with capture(tiny, columns, stop=True) as seen:
        tiny.predict(latents, 481, embeds)
        reached = True
    assert not reached
    assert tuple(seen.maps) == tiny.steering_layers()


def test_recomputed_activations_give_the_same_gradient_through_maps(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gradient() -> Tensor:
        leaf = latents.clone().requires_grad_()
        maps = attention_maps(tiny, leaf, 481, embeds, columns)
        (found,) = torch.autograd.grad(mean_map(maps, (8, 12))[..., :4].sum(), leaf)
        return found

    plain = gradient()
    monkeypatch.setattr(tiny, "checkpoint_activations", True)
    torch.testing.assert_close(gradient(), plain, rtol=0, atol=1e-6)
    assert plain.abs().max() > 1e-5
    assert installed(tiny) == 0


def test_maps_follow_the_text_of_each_frame(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...]
) -> None:
    first = tiny.layers()[0].name  # before it nothing has read the text
    other = tiny.text("a cat on the ball").embeds
    texts = torch.stack([embeds, other, embeds], dim=1)
    with torch.no_grad():
        mixed = attention_maps(tiny, latents, 481, texts, columns, layers=[first])[first]
        of_one = attention_maps(tiny, latents, 481, embeds, columns, layers=[first])[first]
        of_other = attention_maps(tiny, latents, 481, other, columns, layers=[first])[first]
    torch.testing.assert_close(mixed[:, [0, 2]], of_one[:, [0, 2]], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(mixed[:, 1], of_other[:, 1], rtol=1e-5, atol=1e-7)
    assert (of_one - of_other).abs().max() > 1e-5


def test_what_is_not_there_is_refused(tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"up_blocks\.9"), capture(tiny, columns, layers=["up_blocks.9"]):
        pass
    with pytest.raises(UsageError, match="no columns"), capture(tiny, ()):
        pass
    with pytest.raises(UsageError, match=r"0\.\.76"):
        attention_maps(tiny, latents, 481, embeds, (77,))
    predict = tiny.predict
    with pytest.raises(RuntimeError, match="before capture"), capture(tiny, columns):
        predict(latents, 481, embeds)
    assert installed(tiny) == 0


@pytest.mark.parametrize("masked", [False, True])
def test_long_texts_give_the_same_probability_as_the_explicit_softmax(masked: bool) -> None:
    made = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 3, 5, 8, generator=made), torch.randn(2, 3, 200, 8, generator=made)
    bias = torch.where(torch.arange(200) < 150, 0.0, -10000.0).view(1, 1, 1, 200) if masked else None
    scores = torch.einsum("bhnd,bhld->bhnl", query, key) / 8**0.5
    expected = (scores if bias is None else scores + bias).softmax(-1)[..., [3, 120]].sum(-1)
    torch.testing.assert_close(word_probability(query, key, bias, (3, 120)), expected, rtol=1e-5, atol=1e-6)
    short = word_probability(query, key[:, :, :77], None, (3, 50))
    reference = scores[..., :77].softmax(-1)[..., [3, 50]].sum(-1)
    torch.testing.assert_close(short, reference, rtol=1e-5, atol=1e-6)


def test_several_words_are_seen_in_one_pass_as_each_is_alone(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [columns_of(tiny.tokens(PROMPT), PROMPT, word) for word in ("red ball", "burger", "on")]
    assert [len(columns) for columns in words] == [2, 2, 1]
    with torch.no_grad():
        alone = [attention_maps(tiny, latents, 481, embeds, columns) for columns in words]
        passes: list[int] = []
        predict = tiny.predict

        def counted(latents: Tensor, timestep: int, embeds: Tensor) -> Tensor:
            passes.append(timestep)
            return predict(latents, timestep, embeds)

        monkeypatch.setattr(tiny, "predict", counted)
        together = words_maps(tiny, latents, 481, embeds, words)
    assert len(passes) == 1 and tuple(together) == tiny.steering_layers()
    for name, maps in together.items():
        assert maps.shape == (1, 3, *alone[0][name].shape[1:])
        for k, one in enumerate(alone):
            torch.testing.assert_close(maps[:, k], one[name], rtol=0, atol=1e-7)
    layers = [tiny.layers()[1].name]
    assert list(words_maps(tiny, latents, 481, embeds, words, layers=layers)) == layers


@torch.no_grad()
def test_features_are_what_the_layer_s_tokens_hold_on_its_grid(
    tiny: UNet3D, embeds: Tensor, columns: tuple[int, ...]
) -> None:
    latents = torch.randn(1, 4, 3, 8, 12, generator=torch.Generator().manual_seed(3))
    held: dict[str, Tensor] = {}
    layers = tiny.layers()
    handles = [
        layer.module.register_forward_pre_hook(
            lambda _, args, kwargs, name=layer.name: held.update({name: args[0] if args else kwargs["hidden_states"]}),
            with_kwargs=True,
        )
        for layer in layers
    ]
    names = [layer.name for layer in layers]
    with capture_words(tiny, [columns, columns[:1]], layers=names, stop=True, features=True) as seen:
        tiny.predict(latents, 481, embeds)
    for handle in handles:
        handle.remove()
    assert list(seen.features) == names == list(seen.maps)
    for layer in layers:
        height, width = 8 // layer.stride, 12 // layer.stride
        tokens = held[layer.name]  # (frames, cells, C)
        assert seen.features[layer.name].shape == (1, 3, height, width, tokens.shape[-1])
        assert seen.maps[layer.name].shape == (1, 2, 3, height, width)
        assert torch.equal(seen.features[layer.name][0].flatten(1, 2), tokens)
    with capture_words(tiny, [columns], stop=True) as seen:
        tiny.predict(latents, 481, embeds)
    assert not seen.features and installed(tiny) == 0


def test_features_keep_the_graph(tiny: UNet3D, latents: Tensor, embeds: Tensor, columns: tuple[int, ...]) -> None:
    leaf = latents.clone().requires_grad_()
    with capture_words(tiny, [columns], stop=True, features=True) as seen:
        tiny.predict(leaf, 481, embeds)
    (gradient,) = torch.autograd.grad(torch.stack([f[..., 0].mean() for f in seen.features.values()]).sum(), leaf)
    assert (gradient.abs().amax(dim=(0, 1, 3, 4)) > 1e-6).all()


def test_a_word_without_columns_is_refused(tiny: UNet3D, latents: Tensor, embeds: Tensor) -> None:
    for words in ([], [(1,), ()]):
        with pytest.raises(UsageError, match="no columns"), capture_words(tiny, words):
            pass
    with pytest.raises(UsageError, match=r"0\.\.76"):
        words_maps(tiny, latents, 481, embeds, [(1,), (77,)])
    assert installed(tiny) == 0


@pytest.mark.parametrize("length", [SHORT, SHORT + 1, 200])
@pytest.mark.parametrize("masked", [False, True])
def test_many_words_of_long_texts_have_the_plain_softmax_s_probabilities(length: int, masked: bool) -> None:
    """Of long texts as many words as a value has channels are seen at once: 4 here, so that 7 take two turns."""
    made = torch.Generator().manual_seed(4)
    query, key = torch.randn(2, 3, 5, 4, generator=made), torch.randn(2, 3, length, 4, generator=made)
    bias = torch.where(torch.arange(length) < length - 20, 0.0, -10000.0).view(1, 1, 1, -1) if masked else None
    words = [(3, 90), (0,), (length - 1,), (7, 8, 9), (100,), (90,), (50, 110)]
    scores = torch.einsum("bhnd,bhld->bhnl", query, key) / 2
    plain = (scores if bias is None else scores + bias).softmax(-1)
    expected = torch.stack([plain[..., list(columns)].sum(-1) for columns in words], 2)
    found = words_probability(query, key, bias, words)
    assert found.shape == (2, 3, 7, 5) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_mean_map_keeps_flat_maps_places_and_mass() -> None:
    flat = {"coarse": torch.full((1, 2, 4, 6), 0.25), "fine": torch.full((1, 2, 8, 12), 0.75)}
    torch.testing.assert_close(mean_map(flat, (8, 12)), torch.full((1, 2, 8, 12), 0.5))
    spot = torch.zeros(1, 1, 8, 8)
    spot[..., 1, 5] = 1.0
    halved = mean_map({"fine": spot}, (4, 4))
    assert divmod(int(halved.argmax()), 4) == (0, 2)  # y 1.5 of 8 is in row 0 of 4, x 5.5 in column 2
    assert float(halved.sum() * 4) == pytest.approx(1.0, rel=0.15)
    assert torch.equal(mean_map({"fine": spot}, (8, 8)), spot)
    with pytest.raises(ValueError, match="no maps"):
        mean_map({}, (4, 4))
