"""Attention under control: seen as the network computes it, replaced where asked, and as before afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall
from vxedit.backbones.unet3d import UNet3D

PROMPT = "the burger on the red ball"


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(1, 4, 3, 6, 10, generator=torch.Generator().manual_seed(0))  # an odd grid further down


@pytest.fixture(scope="module")
def embeds(tiny: UNet3D) -> Tensor:
    return tiny.text(PROMPT).embeds


@torch.no_grad()
def test_a_control_that_leaves_all_changes_nothing_and_sees_every_attention(
    tiny: UNet3D, latents: Tensor, embeds: Tensor
) -> None:
    plain = tiny.predict(latents, 500, embeds)
    calls: list[AttentionCall] = []
    with tiny.controlled(lambda call: calls.append(call)):
        watched = tiny.predict(latents, 500, embeds)
    torch.testing.assert_close(watched, plain, rtol=1e-4, atol=1e-5)
    assert [call.attention.name for call in calls] == [attention.name for attention in tiny.attentions()]
    assert {call.attention.kind for call in calls} == {"text", "space", "time"}
    for call in calls:
        cells = call.height * call.width
        inside, along = (call.frames, cells) if call.attention.kind != "time" else (cells, call.frames)
        assert call.query.shape[0] == call.batch * inside and call.query.shape[2] == along
        keys = embeds.shape[1] if call.attention.kind == "text" else along
        assert call.key.shape[2] == call.value.shape[2] == keys
    texts = [call.attention.name for call in calls if call.attention.kind == "text"]
    assert texts == [layer.name for layer in tiny.layers()]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["text", "space", "time"])
def test_what_the_control_gives_is_what_the_network_uses(
    tiny: UNet3D, latents: Tensor, embeds: Tensor, kind: str
) -> None:
    plain = tiny.predict(latents, 500, embeds)
    with tiny.controlled(lambda call: torch.zeros_like(call.query) if call.attention.kind == kind else None):
        silenced = tiny.predict(latents, 500, embeds)
    assert (silenced - plain).abs().max() > 1e-3
    if kind == "text":  # without looking at the text, the text does not matter
        with tiny.controlled(lambda call: torch.zeros_like(call.query) if call.attention.kind == kind else None):
            other = tiny.predict(latents, 500, tiny.text("a car").embeds)
        torch.testing.assert_close(other, silenced)
    if kind == "time":  # without looking at other frames, only the temporal convolutions carry them over
        assert torch.equal(tiny.predict(latents, 500, embeds), plain)


@torch.no_grad()
def test_the_model_is_as_before_after_an_error_and_contexts_nest(tiny: UNet3D, latents: Tensor, embeds: Tensor) -> None:
    plain = tiny.predict(latents, 500, embeds)
    processors = [attention.module.processor for attention in tiny.attentions()]

    def fails(call: AttentionCall) -> Tensor:
        raise ZeroDivisionError

    outer = 0

    def count(call: AttentionCall) -> None:
        nonlocal outer
        outer += 1

    with tiny.controlled(count):
        with pytest.raises(ZeroDivisionError), tiny.controlled(fails):
            tiny.predict(latents, 500, embeds)
        assert outer == 0
        tiny.predict(latents, 500, embeds)
        assert outer == len(processors)
    assert [attention.module.processor for attention in tiny.attentions()] == processors
    assert torch.equal(tiny.predict(latents, 500, embeds), plain)


def test_gradients_flow_through_a_control(tiny: UNet3D, latents: Tensor, embeds: Tensor) -> None:
    point = latents.clone().requires_grad_()
    (expected,) = torch.autograd.grad(tiny.predict(point, 500, embeds).square().sum(), point)
    with tiny.controlled(lambda call: None):
        (found,) = torch.autograd.grad(tiny.predict(point, 500, embeds).square().sum(), point)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
