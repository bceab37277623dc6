"""The second stage of Open-Sora 1.2's autoencoder: latents of single frames, four to one along time.

Every convolution looks back in time only, as in Yu et al. 2023 (arXiv 2310.05737, section 3.1); the norms take their
measure over the whole chunk. Modules and weights are named as in the published file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vxedit.errors import ModelError


@dataclass(frozen=True)
class TemporalConfig:
    """The stage's shape; `temporal_downsample` says after which of the levels but the last time is halved."""

    in_out_channels: int = 4
    latent_embed_dim: int = 4
    embed_dim: int = 4
    filters: int = 128
    num_res_blocks: int = 4
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 4)
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    num_groups: int = 32

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> TemporalConfig:
        """The shape that the `vae_temporal` of a published config.json describes; what it leaves out is as published.

        Raises ModelError where there isn't one `temporal_downsample` between each two levels.
        """
        names = {field.name for field in fields(cls)}
        given: dict[str, Any] = {name: value for name, value in config.items() if name in names}
        for name in ("channel_multipliers", "temporal_downsample"):
            given[name] = tuple(given.get(name, getattr(cls, name)))
        found = cls(**given)
        if len(found.temporal_downsample) != len(found.channel_multipliers) - 1:
            raise ModelError(
                f"temporal_downsample in config.json has {len(found.temporal_downsample)} entries for "
                f"{len(found.channel_multipliers)} levels, not one fewer: get the model's files again"
            )
        return found

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every level, finest first."""
        return tuple(self.filters * multiplier for multiplier in self.channel_multipliers)

    @property
    def factor(self) -> int:
        """Frames that one latent stands for."""
        return 2 ** sum(self.temporal_downsample)


class CausalConv(nn.Module):
    """A convolution (B, C, t, h, w) that sees no later frame: time is padded with zeros in front alone."""

    def __init__(self, inside: int, outside: int, kernel: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.before, self.around = kernel - stride, kernel // 2
        self.conv = nn.Conv3d(inside, outside, kernel, stride=(stride, 1, 1), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (*(self.around,) * 4, self.before, 0)))


class ResBlock(nn.Module):
    """Two causal convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inside)
        self.conv1 = CausalConv(inside, outside, 3, bias=False)
        self.norm2 = nn.GroupNorm(groups, outside)
        self.conv2 = CausalConv(outside, outside, 3, bias=False)
        self.conv3 = CausalConv(inside, outside, 1, bias=False) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(x)))
        return self.conv3(x) + self.conv2(F.silu(self.norm2(inner)))


class Encoder(nn.Module):
    """Frames' latents (B, C, t, h, w), t a multiple of the factor, to (B, 2 * latent_embed_dim, t / factor, h, w)."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        widths, blocks, groups = config.widths, config.num_res_blocks, config.num_groups
        self.conv_in = CausalConv(config.in_out_channels, widths[0], 3, bias=False)
        self.block_res_blocks = nn.ModuleList(
            _blocks(before, width, blocks, groups)
            for before, width in zip((widths[0], *widths[:-1]), widths, strict=True)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv(width, width, 3, stride=2) if halved else nn.Identity()
            for width, halved in zip(widths[:-1], config.temporal_downsample, strict=True)
        )
        self.res_blocks = _blocks(widths[-1], widths[-1], blocks, groups)
        self.norm1 = nn.GroupNorm(groups, widths[-1])
        self.conv2 = CausalConv(widths[-1], 2 * config.latent_embed_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for blocks, halve in zip(self.block_res_blocks, (*self.conv_blocks, nn.Identity()), strict=True):
            x = halve(_through(blocks, x))
        return self.conv2(F.silu(self.norm1(_through(self.res_blocks, x))))


class Decoder(nn.Module):
    """(B, latent_embed_dim, t, h, w) to frames' latents (B, C, factor * t, h, w)."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        widths, blocks, groups = config.widths, config.num_res_blocks, config.num_groups
        self.conv1 = CausalConv(config.latent_embed_dim, widths[-1], 3)
        self.res_blocks = _blocks(widths[-1], widths[-1], blocks, groups)
        self.block_res_blocks = nn.ModuleList(
            _blocks(before, width, blocks, groups)
            for before, width in zip((*widths[1:], widths[-1]), widths, strict=True)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv(width, 2 * width, 3) if halved else nn.Identity()
            for width, halved in zip(widths[1:], config.temporal_downsample, strict=True)
        )
        self.doubled = config.temporal_downsample
        self.norm1 = nn.GroupNorm(groups, widths[0])
        self.conv_out = CausalConv(widths[0], config.in_out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = _through(self.res_blocks, self.conv1(x))
        for level in reversed(range(len(self.block_res_blocks))):
            x = _through(self.block_res_blocks[level], x)
            if level > 0 and self.doubled[level - 1]:
                pairs = self.conv_blocks[level - 1](x).unflatten(1, (-1, 2))  # (B, C, 2, t, h, w)
                x = pairs.permute(0, 1, 3, 2, 4, 5).flatten(2, 3)
        return self.conv_out(F.silu(self.norm1(x)))


class TemporalVAE(nn.Module):
    """Both ways, for one chunk of frames. Frames that don't fill a whole latent leave the first one partly empty."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quant_conv = CausalConv(2 * config.latent_embed_dim, 2 * config.embed_dim, 1)
        self.post_quant_conv = CausalConv(config.embed_dim, config.latent_embed_dim, 1)
        self.decoder = Decoder(config)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames' latents (B, C, n, h, w) to the posterior's mean, (B, embed_dim, ceil(n / factor), h, w)."""
        empty = -frames.shape[2] % self.config.factor
        moments = self.quant_conv(self.encoder(F.pad(frames, (0, 0, 0, 0, empty, 0))))
        return moments.chunk(2, 1)[0]

    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """Latents (B, embed_dim, k, h, w) to the (B, C, frames, h, w) that they were made of.

        Raises ValueError where `frames` frames have another number of latents.
        """
        if -(-frames // self.config.factor) != latents.shape[2]:
            raise ValueError(f"{latents.shape[2]} latents of {self.config.factor} frames each aren't {frames} frames")
        return self.decoder(self.post_quant_conv(latents))[:, :, -frames:]


def _blocks(inside: int, outside: int, count: int, groups: int) -> nn.ModuleList:
    return nn.ModuleList(ResBlock(inside if i == 0 else outside, outside, groups) for i in range(count))


def _through(blocks: Any, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x
