"""CausalVAE 4x8x8, the autoencoder of Open-Sora-Plan 1.2.0 (Lin et al. 2024, arXiv 2412.00131).

4 k + 1 frames become k + 1 latent frames of an eighth the height and width: the first frame by itself, then four at a
time. Its configuration and the names of its weights are the published ones, so these load strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vxedit.backbones.opensora_plan.causal_layers import layer, normalization, pointwise
from vxedit.errors import ModelError

SCALE = 0.18215
"""Latents are the posterior's mean times this. The published config.json doesn't say it, the authors' wrapper does."""

SIMPLE: Mapping[str, Any] = {
    "attn_resolutions": (),
    "double_z": True,
    "use_quant_layer": True,
    "q_conv": "CausalConv3d",
    "encoder_temporal_downsample": ("", "", "", ""),
    "decoder_temporal_upsample": ("", "", "", ""),
}
"""Settings that are one way in the published autoencoder, and only so here."""


@dataclass(frozen=True)
class CausalVaeConfig:
    """The published config.json's settings that this autoencoder takes; layers by the names of causal_layers.py.

    `hidden_size` channels times `hidden_size_mult` a level, finest first; `z_channels` and `embed_dim` of a latent.
    `encoder_spatial_downsample` (last one empty) runs after its level, `decoder_spatial_upsample` (first one empty)
    too, coarsest level first.
    """

    hidden_size: int = 128
    hidden_size_mult: tuple[int, ...] = (1, 2, 4, 4)
    z_channels: int = 4
    embed_dim: int = 4
    num_res_blocks: int = 2
    encoder_conv_in: str = "Conv2d"
    encoder_conv_out: str = "CausalConv3d"
    encoder_attention: str = "AttnBlock3DFix"
    encoder_resnet_blocks: tuple[str, ...] = ("ResnetBlock2D", "ResnetBlock2D", "ResnetBlock3D", "ResnetBlock3D")
    encoder_spatial_downsample: tuple[str, ...] = (
        "Downsample",
        "Spatial2xTime2x3DDownsample",
        "Spatial2xTime2x3DDownsample",
        "",
    )
    encoder_mid_resnet: str = "ResnetBlock3D"
    decoder_conv_in: str = "CausalConv3d"
    decoder_conv_out: str = "CausalConv3d"
    decoder_attention: str = "AttnBlock3DFix"
    decoder_resnet_blocks: tuple[str, ...] = ("ResnetBlock3D",) * 4
    decoder_spatial_upsample: tuple[str, ...] = (
        "",
        "SpatialUpsample2x",
        "Spatial2xTime2x3DUpsample",
        "Spatial2xTime2x3DUpsample",
    )
    decoder_mid_resnet: str = "ResnetBlock3D"

    @property
    def pixels_a_cell(self) -> int:
        """Pixels a latent cell is wide."""
        return 2 ** sum(name != "" for name in self.encoder_spatial_downsample)

    @property
    def frames_a_cell(self) -> int:
        """Frames that a latent frame after the first stands for."""
        return 2 ** sum("Time" in name for name in self.encoder_spatial_downsample)


def causal_vae_config(published: Mapping[str, Any]) -> CausalVaeConfig:
    """The settings in a config.json. Raises ModelError where it asks for what this autoencoder hasn't got."""
    for name, only in SIMPLE.items():
        got = published.get(name, only)
        if (tuple(got) if isinstance(got, list) else got) != only:
            raise ModelError(
                f"the autoencoder's config.json has {name} {got!r}, this one takes {only!r}: take the autoencoder of "
                "Open-Sora-Plan 1.2.0"
            )
    known = CausalVaeConfig.__dataclass_fields__
    taken: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in published.items() if name in known
    }
    config = CausalVaeConfig(**taken)
    levels = {name: len(value) for name, value in vars(config).items() if isinstance(value, tuple)}
    if len(set(levels.values())) > 1:
        raise ModelError(
            "the autoencoder's config.json names different numbers of levels: "
            + ", ".join(f"{name} {count}" for name, count in levels.items())
            + ": get it again"
        )
    return config


class CausalVae(nn.Module):
    """The autoencoder, untiled: `encode` and `decode`."""

    def __init__(self, config: CausalVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = pointwise(2 * config.z_channels, 2 * config.embed_dim)
        self.post_quant_conv = pointwise(config.embed_dim, config.z_channels)

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, F, H, W) in [-1, 1], F = 4 k + 1, H and W multiples of 8, to the posterior's mean
        (B, C, k + 1, H / 8, W / 8), unscaled. Raises ValueError for another size."""
        frames, height, width = pixels.shape[2:]
        in_time, in_space = self.config.frames_a_cell, self.config.pixels_a_cell
        if (frames - 1) % in_time or height % in_space or width % in_space:
            raise ValueError(
                f"pixels must be {in_time} k + 1 frames with sides that are multiples of {in_space}, got "
                f"{frames} of {width}x{height}"
            )
        mean, _ = self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)  # the other half is the logarithmic variance
        return mean

    def decode(self, latents: Tensor) -> Tensor:
        """Unscaled latents (B, C, k + 1, h, w) to pixels (B, 3, 4 k + 1, 8 h, 8 w), about [-1, 1]."""
        return self.decoder(self.post_quant_conv(latents))


class Encoder(nn.Module):
    """Pixels to the posterior's moments."""

    def __init__(self, config: CausalVaeConfig) -> None:
        super().__init__()
        widths = [config.hidden_size * times for times in config.hidden_size_mult]
        before = [config.hidden_size, *widths]
        self.conv_in = layer(config.encoder_conv_in)(3, config.hidden_size)
        self.down = nn.ModuleList(
            Level(kind, config.num_res_blocks, channels_in, channels_out, downsample=down)
            for kind, channels_in, channels_out, down in zip(
                config.encoder_resnet_blocks, before[:-1], widths, config.encoder_spatial_downsample, strict=True
            )
        )
        self.mid = Middle(config.encoder_mid_resnet, config.encoder_attention, widths[-1])
        self.norm_out = normalization(widths[-1])
        self.conv_out = layer(config.encoder_conv_out)(widths[-1], 2 * config.z_channels)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = self.conv_in(pixels)
        for level in self.down:
            hidden = level(hidden)
        return self.conv_out(F.silu(self.norm_out(self.mid(hidden))))


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(self, config: CausalVaeConfig) -> None:
        super().__init__()
        widths = [config.hidden_size * times for times in config.hidden_size_mult]
        before = [*widths[1:], widths[-1]]
        self.conv_in = layer(config.decoder_conv_in)(config.z_channels, widths[-1])
        self.mid = Middle(config.decoder_mid_resnet, config.decoder_attention, widths[-1])
        self.up = nn.ModuleList(
            Level(kind, config.num_res_blocks + 1, channels_in, channels_out, upsample=up)
            for kind, channels_in, channels_out, up in zip(
                config.decoder_resnet_blocks, before, widths, config.decoder_spatial_upsample, strict=True
            )
        )
        self.norm_out = normalization(widths[0])
        self.conv_out = layer(config.decoder_conv_out)(widths[0], 3)

    def forward(self, latents: Tensor) -> Tensor:
        hidden = self.mid(self.conv_in(latents))
        for level in reversed(self.up):  # the first is the finest
            hidden = level(hidden)
        return self.conv_out(F.silu(self.norm_out(hidden)))


class Level(nn.Module):
    """Residual blocks of one resolution, and the way to the next."""

    def __init__(
        self, kind: str, blocks: int, channels_in: int, channels_out: int, *, downsample: str = "", upsample: str = ""
    ) -> None:
        super().__init__()
        first = [channels_in] + [channels_out] * (blocks - 1)
        self.block = nn.ModuleList(layer(kind)(channels, channels_out) for channels in first)
        if downsample:
            self.downsample = layer(downsample)(channels_out, channels_out)
        if upsample:
            self.upsample = layer(upsample)(channels_out, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        for module in (*self.block, *(getattr(self, way) for way in ("downsample", "upsample") if hasattr(self, way))):
            x = module(x)
        return x


class Middle(nn.Module):
    """The coarsest resolution: a residual block, attention, a residual block."""

    def __init__(self, resnet: str, attention: str, channels: int) -> None:
        super().__init__()
        self.block_1 = layer(resnet)(channels, channels)
        self.attn_1 = layer(attention)(channels, channels)
        self.block_2 = layer(resnet)(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


def published_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The autoencoder's weights within a training checkpoint, which is what is published: the averaged ones where they
    are there, as the authors take them, without those of the losses.

    Raises ModelError where there are none.
    """
    found: Any = checkpoint
    if averaged := checkpoint.get("ema_state_dict"):
        found = {name.removeprefix("module."): weight for name, weight in averaged.items()}
    elif "state_dict" in checkpoint:
        found = checkpoint["state_dict"]
        found = found.get("gen_model", found)
    parts: Sequence[str] = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
    weights = {name: weight for name, weight in found.items() if name.startswith(tuple(parts))}
    if not weights:
        raise ModelError("the autoencoder's checkpoint holds none of its weights: get it again")
    return weights
