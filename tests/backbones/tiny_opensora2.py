"""Open-Sora 2.0 of random weights in its published layout, and its network computed from that layout by itself."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.backbones.tiny_t5 import WIDTH as T5_WIDTH
from tests.backbones.tiny_t5 import write_json, write_text

HIDDEN, HEADS, CHANNELS = 64, 2, 16
"""The network's width and heads, and the latents' channels; four cells make a token."""

CLIP_WIDTH = 24
AXES = (4, 14, 14)
"""Channels of a head that carry a token's frame, row and column."""

VAE: dict[str, Any] = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "latent_channels": CHANNELS,
}


def write_tiny_opensora2(folder: Path) -> Path:
    """Write the model into `folder` as hpcai-tech/Open-Sora-v2 has it, and give the folder back."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(published_network(), folder / "Open_Sora_v2.safetensors")
    save_file(published_vae(), folder / "hunyuan_vae.safetensors")
    write_text(folder / "google", width=T5_WIDTH)
    t5 = (folder / "google" / "text_encoder").rename(folder / "google" / "t5-v1_1-xxl")
    for file in (folder / "google" / "tokenizer").iterdir():
        file.rename(t5 / file.name)
    shutil.rmtree(folder / "google" / "tokenizer")
    write_clip(folder / "openai" / "clip-vit-large-patch14")
    return folder


def write_clip(folder: Path) -> None:
    """All of CLIP, pictures' half included, as OpenAI's is published; its tokens are single letters."""
    from transformers import CLIPConfig, CLIPModel

    start, end = "<|startoftext|>", "<|endoftext|>"
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    words = [*letters, *(f"{letter}</w>" for letter in letters), start, end]
    wide = {"hidden_size": CLIP_WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 2}  # as published: the end is then known as the highest id
    text = wide | ends | {"vocab_size": len(words), "max_position_embeddings": 77}
    config = CLIPConfig(text_config=text, vision_config=wide | {"image_size": 4, "patch_size": 2}, projection_dim=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        CLIPModel(config).save_pretrained(folder)
    write_json(folder / "vocab.json", {word: i for i, word in enumerate(words)})
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    settings = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    write_json(folder / "tokenizer_config.json", settings | special)


def published_vae(seed: int = 0) -> dict[str, Tensor]:
    """Weights as in hunyuan_vae.safetensors, by name."""
    from diffusers import AutoencoderKLHunyuanVideo

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(AutoencoderKLHunyuanVideo(**VAE).state_dict())


def published_network(*, double: int = 2, single: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """Weights as in Open_Sora_v2.safetensors, by name."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def linear(name: str, rows: int, columns: int) -> None:
        weights[f"{name}.weight"] = torch.randn(rows, columns, generator=generator) / math.sqrt(columns)
        weights[f"{name}.bias"] = 0.3 * torch.randn(rows, generator=generator)

    def norms(name: str) -> None:
        for which in ("query_norm", "key_norm"):
            weights[f"{name}.{which}.scale"] = 1 + 0.5 * torch.rand(HIDDEN // HEADS, generator=generator)

    linear("img_in", HIDDEN, 4 * CHANNELS)
    linear("cond_in", HIDDEN, 4 * CHANNELS + 4)
    linear("txt_in", HIDDEN, T5_WIDTH)
    for name, columns in (("time_in", 256), ("vector_in", CLIP_WIDTH)):
        linear(f"{name}.in_layer", HIDDEN, columns)
        linear(f"{name}.out_layer", HIDDEN, HIDDEN)
    for block in (f"double_blocks.{i}" for i in range(double)):
        for stream in (f"{block}.img", f"{block}.txt"):
            linear(f"{stream}_mod.lin", 6 * HIDDEN, HIDDEN)
            for part in ("q_proj", "k_proj", "v_proj", "proj"):
                linear(f"{stream}_attn.{part}", HIDDEN, HIDDEN)
            norms(f"{stream}_attn.norm")
            linear(f"{stream}_mlp.0", 4 * HIDDEN, HIDDEN)
            linear(f"{stream}_mlp.2", HIDDEN, 4 * HIDDEN)
    for block in (f"single_blocks.{i}" for i in range(single)):
        linear(f"{block}.modulation.lin", 3 * HIDDEN, HIDDEN)
        for part, rows in (("q_proj", HIDDEN), ("k_proj", HIDDEN), ("v_mlp", 5 * HIDDEN)):
            linear(f"{block}.{part}", rows, HIDDEN)
        norms(f"{block}.norm")
        linear(f"{block}.linear2", HIDDEN, 5 * HIDDEN)
    linear("final_layer.adaLN_modulation.1", 2 * HIDDEN, HIDDEN)
    linear("final_layer.linear", 4 * CHANNELS, HIDDEN)
    return weights


def published_forward(
    weights: Mapping[str, Tensor],
    video: Tensor,
    text: Tensor,
    pooled: Tensor,
    time: float,
    places: Tensor,
    shares: list[Tensor] | None = None,
) -> Tensor:
    """What the published network gives for packed latents (1, N, 4 C), T5 states (1, L, D), CLIP's vector (1, D'), a
    time in 0 to 1 and the tokens' `places` (N, 3), by the equations of Flux with halves turned: (1, N, 4 C).

    Every block's attention, (1, heads, L + N, L + N), is added to `shares`.
    """

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def embed(name: str, x: Tensor) -> Tensor:
        return linear(f"{name}.out_layer", F.silu(linear(f"{name}.in_layer", x)))

    def heads(x: Tensor, scale: str | None = None) -> Tensor:
        x = x.unflatten(2, (HEADS, -1)).transpose(1, 2)
        if scale is None:
            return x
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[scale]

    def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return F.layer_norm(x, (HIDDEN,), eps=1e-6) * (1 + scale) + shift

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key = turned(query, angles), turned(key, angles)
        share = (query @ key.transpose(2, 3) / math.sqrt(HIDDEN // HEADS)).softmax(-1)
        if shares is not None:
            shares.append(share)
        return (share @ value).transpose(1, 2).flatten(2)

    angles = _angles(torch.cat((torch.zeros(text.shape[1], 3), places.float())))
    waves = 1000 * time * torch.exp(-math.log(10000) * torch.arange(128) / 128)
    clock = torch.cat((waves.cos(), waves.sin()))[None]
    cue = F.silu(embed("time_in", clock) + embed("vector_in", pooled))[:, None]
    reference = torch.zeros(*video.shape[:2], 4 * CHANNELS + 4)
    streams = {"txt": linear("txt_in", text), "img": linear("img_in", video) + linear("cond_in", reference)}
    length = text.shape[1]
    for block in _blocks(weights, "double_blocks"):
        cues = {name: linear(f"{block}.{name}_mod.lin", cue).chunk(6, -1) for name in streams}
        queries, keys, values = [], [], []
        for name, stream in streams.items():
            seen, attention = modulated(stream, *cues[name][:2]), f"{block}.{name}_attn"
            queries.append(heads(linear(f"{attention}.q_proj", seen), f"{attention}.norm.query_norm.scale"))
            keys.append(heads(linear(f"{attention}.k_proj", seen), f"{attention}.norm.key_norm.scale"))
            values.append(heads(linear(f"{attention}.v_proj", seen)))
        out = attend(torch.cat(queries, 2), torch.cat(keys, 2), torch.cat(values, 2))
        for name, part in (("txt", out[:, :length]), ("img", out[:, length:])):
            shift, scale, gate = cues[name][3:]
            stream = streams[name] + cues[name][2] * linear(f"{block}.{name}_attn.proj", part)
            inner = F.gelu(linear(f"{block}.{name}_mlp.0", modulated(stream, shift, scale)), approximate="tanh")
            streams[name] = stream + gate * linear(f"{block}.{name}_mlp.2", inner)
    both = torch.cat((streams["txt"], streams["img"]), 1)
    for block in _blocks(weights, "single_blocks"):
        shift, scale, gate = linear(f"{block}.modulation.lin", cue).chunk(3, -1)
        seen = modulated(both, shift, scale)
        value, inner = linear(f"{block}.v_mlp", seen).split([HIDDEN, 4 * HIDDEN], -1)
        query = heads(linear(f"{block}.q_proj", seen), f"{block}.norm.query_norm.scale")
        key = heads(linear(f"{block}.k_proj", seen), f"{block}.norm.key_norm.scale")
        out = torch.cat((attend(query, key, heads(value)), F.gelu(inner, approximate="tanh")), -1)
        both = both + gate * linear(f"{block}.linear2", out)
    shift, scale = linear("final_layer.adaLN_modulation.1", cue).chunk(2, -1)
    return linear("final_layer.linear", modulated(both[:, length:], shift, scale))


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Channels j and j + d / 2 of (B, heads, N, d) turned as one complex number by `angles` (N, d / 2)."""
    half = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((half.real, half.imag), -1)


def _angles(places: Tensor) -> Tensor:
    """(N, 3) to (N, d / 2): for every axis its place times falling frequencies."""
    return torch.cat([places[:, i, None] * 1e4 ** (-torch.arange(0, n, 2) / n) for i, n in enumerate(AXES)], 1)


def _blocks(weights: Mapping[str, Tensor], kind: str) -> list[str]:
    return [f"{kind}.{i}" for i in range(len({name.split(".")[1] for name in weights if name.startswith(kind)}))]
