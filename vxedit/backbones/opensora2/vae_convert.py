"""Open-Sora 2.0's autoencoder, HunyuanVideo's, into diffusers' AutoencoderKLHunyuanVideo (Kong et al. 2024, arXiv
2412.03603, section 4.1): causal in time, 4 frames and 8x8 pixels to a latent cell of 16 channels.

diffusers took the authors' names over; the settings are read from the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vxedit.backbones.opensora2.assemble import assemble
from vxedit.errors import ModelError

SCALING = 0.476986
"""Brings the latents' spread to about 1; not in the file."""


def vae_config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """AutoencoderKLHunyuanVideo's settings, from the shapes of the published `weights`.

    Raises ModelError where `weights` are not of this autoencoder.
    """
    levels = _count(weights, "encoder.down_blocks.")
    widths = [_shape(weights, f"encoder.down_blocks.{i}.resnets.0.conv1.conv.weight")[0] for i in range(levels)]
    return {
        "in_channels": _shape(weights, "encoder.conv_in.conv.weight")[1],
        "out_channels": _shape(weights, "decoder.conv_out.conv.weight")[0],
        "latent_channels": _shape(weights, "post_quant_conv.weight")[0],
        "down_block_types": ("HunyuanVideoDownBlock3D",) * levels,
        "up_block_types": ("HunyuanVideoUpBlock3D",) * levels,
        "block_out_channels": tuple(widths),
        "layers_per_block": _count(weights, "encoder.down_blocks.0.resnets."),
        "mid_block_add_attention": any(".mid_block.attentions." in name for name in weights),
        "scaling_factor": SCALING,
        "spatial_compression_ratio": 8,
        "temporal_compression_ratio": 4,
    }


def build_vae(weights: Mapping[str, Tensor], *, source: str) -> Any:
    """The AutoencoderKLHunyuanVideo of the published `weights`, in their number format. `source`: the file, for people.

    It tiles as Open-Sora does: over the frame from 256 pixels a side on, never over time, where diffusers would start
    a tile every 12 frames and blend. Raises ModelError where a weight is missing, unknown or of another shape.
    """
    from diffusers import AutoencoderKLHunyuanVideo

    vae = assemble(AutoencoderKLHunyuanVideo, vae_config(weights), weights, source=source)
    vae.enable_tiling()
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    return vae


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    """How many modules are numbered right after `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)})


def _shape(weights: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in weights:
        raise ModelError(
            f"HunyuanVideo's autoencoder needs {name}, which is not there: take hunyuan_vae.safetensors as published "
            "at hpcai-tech/Open-Sora-v2"
        )
    return tuple(weights[name].shape)
