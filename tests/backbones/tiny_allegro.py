"""Allegro and Open-Sora-Plan 1.2.0 with random weights, in the layouts in which they are published."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from tests.backbones.tiny_t5 import WIDTH, save_part, write_json, write_text
from vxedit.backbones.opensora_plan.causal_vae import CausalVae, causal_vae_config

NETWORK: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "cross_attention_dim": 48,
    "caption_channels": WIDTH,
    "num_layers": 3,
    "in_channels": 4,
    "out_channels": 4,
    "patch_size": 2,
    "patch_size_t": 1,
    "interpolation_scale_t": 2.2,
    "interpolation_scale_h": 2.0,
    "interpolation_scale_w": 1.5,
}
SPREAD = 0.1
"""Of the network's weights: it attends to the text without normalization, so large ones leave no gradient."""

VAE: dict[str, Any] = {
    "block_out_channels": (8, 8, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 4,
    "sample_size": 160,
    "scaling_factor": 0.13,
}
SCHEDULER = {
    "_class_name": "EulerAncestralDiscreteScheduler",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 0,
    "timestep_spacing": "linspace",
    "trained_betas": None,
}
CAUSAL_VAE: dict[str, Any] = {
    "_class_name": "CausalVAEModel",
    "hidden_size": 32,
    "hidden_size_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "z_channels": 4,
    "embed_dim": 4,
    "encoder_temporal_downsample": ["", "", "", ""],
    "decoder_temporal_upsample": ["", "", "", ""],
}


def write_tiny_allegro(folder: Path, **network: Any) -> Path:
    """In the layout of rhymes-ai/Allegro; `network` replaces settings of the network. Native: 8 frames of 48x32."""
    from diffusers import AllegroTransformer3DModel, AutoencoderKLAllegro

    sample = {"sample_frames": 2, "sample_height": 4, "sample_width": 6}
    save_part(folder / "transformer", AllegroTransformer3DModel(**{**NETWORK, **sample, **network}), spread=SPREAD)
    save_part(folder / "vae", AutoencoderKLAllegro(**VAE), spread=0.05)
    write_text(folder)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_json(folder / "model_index.json", {"_class_name": "AllegroPipeline"})
    return folder


def write_tiny_opensora_plan(
    folder: Path, *, place: str = "93x720p", pickled: bool = False, settings: dict[str, Any] | None = None
) -> Path:
    """In the layout of LanguageBind/Open-Sora-Plan-v1.2.0 with google/mt5-xxl as text_encoder. `pickled`: the
    autoencoder is the published checkpoint of training; otherwise what it holds, as safetensors. `settings` replace
    those of the network's configuration. Native: 9 frames of 48x32."""
    from diffusers import AllegroTransformer3DModel
    from safetensors.torch import save_file

    save_part(folder / place, AllegroTransformer3DModel(**NETWORK), spread=SPREAD)
    written = {
        **{name: value for name, value in NETWORK.items()},
        "_class_name": "OpenSoraT2V",
        "_diffusers_version": "0.27.2",
        "sample_size": [4, 6],
        "sample_size_t": 3,
        "norm_type": "ada_norm_single",
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "attention_mode": "xformers",
        "norm_elementwise_affine": False,
        "norm_eps": 1e-06,
        "use_rope": True,
        "downsampler": None,
        **(settings or {}),
    }
    write_json(folder / place / "config.json", written)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        weights = CausalVae(causal_vae_config(CAUSAL_VAE)).state_dict()
    write_json(folder / "vae" / "config.json", CAUSAL_VAE)
    if pickled:
        averaged = {f"module.{name}": weight for name, weight in weights.items()}
        generator = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        kept = {"epoch": 3, "ema_state_dict": averaged, "state_dict": {"gen_model": generator}}
        torch.save(kept, folder / "vae" / "checkpoint.ckpt")
    else:
        save_file(weights, folder / "vae" / "checkpoint.safetensors")
    write_text(folder, kind="MT5EncoderModel")
    for file in (folder / "tokenizer").iterdir():
        shutil.move(str(file), folder / "text_encoder" / file.name)
    (folder / "tokenizer").rmdir()
    return folder
