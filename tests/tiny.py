"""A text-to-video model of random weights in ModelScope's published layout, small enough for every test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MERGES = (
    *("b u", "bu r", "g e", "ge r</w>"),
    *("t h", "th e</w>", "o n</w>", "b a", "l l</w>", "ba ll</w>", "r e", "re d</w>"),
)
"""With these "ball", "red", "the", "on" and "a" are one token each, "burger" is two, and unknown words are letters."""

WIDTH = 32
"""Width of the text embeddings."""

UNET: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 8,
}
VAE: dict[str, Any] = {
    "sample_size": 64,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (8, 8, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
DC_VAE: dict[str, Any] = {
    "latent_channels": 4,
    "encoder_block_types": "ResBlock",
    "decoder_block_types": "ResBlock",
    "encoder_block_out_channels": (8, 8, 16, 16),
    "decoder_block_out_channels": (8, 8, 16, 16),
    "encoder_layers_per_block": (1, 1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1, 1),
    "encoder_qkv_multiscales": ((), (), (), ()),
    "decoder_qkv_multiscales": ((), (), (), ()),
    "scaling_factor": 0.4,
}
SCHEDULER: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "_diffusers_version": "0.15.0.dev0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
MODEL_INDEX: dict[str, Any] = {
    "_class_name": "TextToVideoSDPipeline",
    "_diffusers_version": "0.15.0.dev0",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet3DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write_tiny_checkpoint(
    folder: Path,
    *,
    variant: str | None = None,
    safe: bool = True,
    seed: int = 0,
    dc: bool = False,
    unet: Mapping[str, Any] | None = None,
    vxedit: Mapping[str, Any] | None = None,
) -> Path:
    """Write the model into `folder` and give the folder back.

    `variant` "fp16" names the weights `*.fp16.*` and stores them in float16; `safe` False writes `.bin` files; `dc`
    takes AutoencoderDC in AutoencoderKL's place; `unet` replaces settings of the network; `vxedit` is what
    model_index.json says under that key. Its clips are 64x64 pixels, its latents (1, 4, f, 8, 8).
    """
    from diffusers import AutoencoderDC, AutoencoderKL, UNet3DConditionModel

    folder.mkdir(parents=True, exist_ok=True)
    index = dict(MODEL_INDEX, **({"vxedit": dict(vxedit)} if vxedit else {}))
    _write_json(folder / "model_index.json", index)
    _write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    ids = _write_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet3DConditionModel(**dict(UNET, **(unet or {})))
        vae = AutoencoderDC(**DC_VAE) if dc else AutoencoderKL(**VAE)
        text_encoder = _text_encoder(ids)
    for name, model in (("unet", network), ("vae", vae)):
        model.save_config(folder / name)
        _write_weights(folder / name, "diffusion_pytorch_model", model.state_dict(), variant=variant, safe=safe)
    text_encoder.config.architectures = ["CLIPTextModel"]
    _write_json(folder / "text_encoder" / "config.json", text_encoder.config.to_dict())
    weights = {f"text_model.{key}": value for key, value in text_encoder.state_dict().items()}
    stem = "model" if safe else "pytorch_model"
    _write_weights(folder / "text_encoder", stem, weights, variant=variant, safe=safe)
    return folder


def _text_encoder(ids: Mapping[str, int]) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(ids),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=ids["<|startoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=0,
    )
    return CLIPTextModel(config)


def _write_tokenizer(folder: Path) -> dict[str, int]:
    """CLIP's four published files: bytes, bytes that end a word, what the merges make, start and end. "!" pads."""
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *(merge.replace(" ", "") for merge in MERGES)]
    ids = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    end = "<|endoftext|>"
    special = {"bos_token": "<|startoftext|>", "eos_token": end, "unk_token": end, "pad_token": "!"}
    _write_json(folder / "vocab.json", ids)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", encoding="utf-8")
    _write_json(folder / "special_tokens_map.json", special)
    settings = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    _write_json(folder / "tokenizer_config.json", settings | special)
    return ids


def _byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each byte: itself where it prints, else the next free letter from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _write_weights(folder: Path, stem: str, weights: dict[str, Tensor], *, variant: str | None, safe: bool) -> None:
    from safetensors.torch import save_file

    name = f"{stem}.{variant}" if variant else stem
    if variant == "fp16":
        weights = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in weights.items()}
    if safe:
        save_file(weights, folder / f"{name}.safetensors", metadata={"format": "pt"})
    else:
        torch.save(weights, folder / f"{name}.bin")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
