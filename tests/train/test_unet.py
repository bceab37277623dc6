"""The U-Net, the text encoder and what they are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vxedit.train.data import Labels
from vxedit.train.tokenizer import LENGTH, write_tokenizer
from vxedit.train.unet import CELLS, Captions, build_text_encoder, build_unet, spatial_only
from vxedit.train.vae import LATENT_CHANNELS


@pytest.fixture(scope="module")
def unet() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_unet().eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import CLIPTokenizer

    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


def latents(frames: int = 2) -> Tensor:
    made = torch.Generator().manual_seed(0)
    return torch.randn(1, LATENT_CHANNELS, frames, CELLS, CELLS, generator=made)


def text() -> Tensor:
    return torch.randn(1, LENGTH, 128, generator=torch.Generator().manual_seed(1))


def temporal(unet: nn.Module) -> list[nn.Module]:
    from diffusers.models.resnet import TemporalConvLayer
    from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel

    return [m for m in unet.modules() if isinstance(m, (TemporalConvLayer, TransformerTemporalModel))]


@torch.no_grad()
def test_the_video_model_starts_as_the_image_model(unet: Any) -> None:
    """Its temporal layers change nothing, so with and without them the output is the same, frame by frame."""
    whole = unet(latents(), 500, text()).sample
    assert whole.shape == latents().shape
    with spatial_only(unet):
        frames = [unet(latents()[:, :, i : i + 1], 500, text()).sample for i in range(2)]
    torch.testing.assert_close(torch.cat(frames, 2), whole, rtol=0, atol=1e-4)
    assert whole.std() > 1e-3


@torch.no_grad()
def test_spatial_only_skips_temporal_layers_and_puts_them_back(unet: Any) -> None:
    layers = temporal(unet)
    assert len(layers) > 8
    before = [p.clone() for layer in layers for p in layer.parameters()]
    for layer in layers:
        for p in layer.parameters():
            p.add_(0.05)  # now they do something
    try:
        whole = unet(latents(), 500, text()).sample
        with pytest.raises(ZeroDivisionError), spatial_only(unet):
            skipped = unet(latents(), 500, text()).sample
            raise ZeroDivisionError
        assert (skipped - whole).abs().max() > 1e-3
        assert not any("forward" in vars(layer) for layer in layers)
        assert torch.equal(unet(latents(), 500, text()).sample, whole)
    finally:
        for p, old in zip((p for layer in layers for p in layer.parameters()), before, strict=True):
            p.copy_(old)


def test_the_network_is_small_and_never_drops(unet: Any) -> None:
    assert 5e6 < sum(p.numel() for p in unet.parameters()) < 2e7
    assert all(m.p == 0 for m in unet.modules() if isinstance(m, nn.Dropout))


def test_the_text_encoder_gives_the_networks_width(tokenizer: Any) -> None:
    encoder = build_text_encoder(len(tokenizer)).eval()
    ids = tokenizer("a ball over sand", padding="max_length", max_length=LENGTH, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert encoder(ids).last_hidden_state.shape == (1, LENGTH, 128)
    assert (
        encoder.config.eos_token_id == tokenizer.eos_token_id and encoder.config.bos_token_id == tokenizer.bos_token_id
    )


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("a ball over sand", ("ball",)),
        ("a balloon and a ball over a meadow", ("balloon", "ball")),  # one is the beginning of the other
        ("a ball and a balloon over a meadow", ("ball", "balloon")),
        ("the night sky and an ice cream", ("ice cream",)),
        ("a car in front of a curtain", ("car",)),
        ("an apple and a star moving over a photo", ("apple", "star")),
    ],
)
def test_columns_are_those_of_the_objects_own_word(tokenizer: Any, caption: str, names: tuple[str, ...]) -> None:
    found = Captions(tokenizer, [Labels(caption, names, np.zeros((len(names), 1, CELLS, CELLS), np.float16))])
    assert found.ids.shape == (1, LENGTH) and found.empty.shape == (1, LENGTH)
    for k in range(2):
        columns = found.columns[0, k].nonzero()[:, 0]
        said = tokenizer.decode(found.ids[0, columns]).strip()
        assert said == (names[k] if k < len(names) else "")


def test_a_caption_without_its_object_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match=r"'cup'.*'a ball over sand'"):
        Captions(tokenizer, [Labels("a ball over sand", ("cup",), np.zeros((1, 1, CELLS, CELLS), np.float16))])
