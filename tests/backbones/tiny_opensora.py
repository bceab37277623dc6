"""Open-Sora 1.2 of made-up weights in its published layout, small enough for every test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.backbones.tiny_t5 import WIDTH, write_json, write_text
from vxedit.backbones.opensora.stdit3 import STDiT3
from vxedit.backbones.opensora.vae import OpenSoraVAE

NETWORK: dict[str, Any] = {
    "architectures": ["STDiT3"],
    "model_type": "STDiT3",
    "input_size": [None, None, None],
    "input_sq_size": 512,
    "in_channels": 4,
    "patch_size": [1, 2, 2],
    "hidden_size": 48,
    "depth": 2,
    "num_heads": 4,
    "mlp_ratio": 4.0,
    "class_dropout_prob": 0.1,
    "pred_sigma": True,
    "caption_channels": 24,
    "model_max_length": 9,
    "qk_norm": True,
    "skip_y_embedder": False,
}
VAE: dict[str, Any] = {
    "architectures": ["VideoAutoencoderPipeline"],
    "model_type": "VideoAutoencoderPipeline",
    "micro_frame_size": 17,
    "scale": [3.85, 2.32, 2.33, 3.06],
    "shift": [-0.1, 0.34, 0.27, 0.98],
    "vae_2d": {
        "type": "VideoAutoencoderKL",
        "subfolder": "vae",
        "block_out_channels": [8, 8, 16, 16],
        "layers_per_block": 1,
        "norm_num_groups": 4,
    },
    "vae_temporal": {"type": "VAE_Temporal_SD", "filters": 8, "num_res_blocks": 1, "num_groups": 4},
}


def made_up(shape: torch.Size | tuple[int, ...], phase: float) -> Tensor:
    """Numbers in -1..1 that any library computes alike: sin(0.7 i^1.1 + phase), over the flattened places i."""
    count = torch.Size(shape).numel()
    return torch.sin(0.7 * torch.arange(count, dtype=torch.float64) ** 1.1 + phase).float().view(shape)


def made_up_weights(module: nn.Module) -> dict[str, Tensor]:
    """A state dict for `module`: `made_up` numbers, brought to the size that keeps a signal's.

    What its configuration or its architecture says, rates of rotation and the normalisation of latents, is left.
    """
    given = {}
    for i, (name, weight) in enumerate(sorted(module.state_dict().items())):
        values = made_up(weight.shape, phase=float(i))
        if name in ("rope.freqs", "scale", "shift"):
            given[name] = weight
        elif weight.ndim > 1:
            given[name] = values * (2 / weight[0].numel()) ** 0.5
        elif "norm" in name and name.endswith("weight"):
            given[name] = 1 + 0.3 * values
        else:
            given[name] = 0.3 * values
    return given


TEXT_COLUMNS = 48
PUBLISHED: dict[str, Any] = {**NETWORK, "caption_channels": WIDTH, "model_max_length": TEXT_COLUMNS}
"""NETWORK with the text that `write_text` makes."""


def write_tiny_opensora(folder: Path) -> Path:
    """The repositories of the network, the autoencoder and the text encoder, each as the folder it stands for."""
    for part, config, module in (
        ("transformer", PUBLISHED, STDiT3.from_config(PUBLISHED)),
        ("vae", VAE, OpenSoraVAE(VAE)),
    ):
        write_json(folder / part / "config.json", config)
        state = {name: weight.contiguous() for name, weight in made_up_weights(module).items()}
        save_file(state, folder / part / "model.safetensors")
    write_text(folder, kind="T5EncoderModel")
    return folder
