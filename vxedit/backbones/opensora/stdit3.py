"""STDiT3, the network of Open-Sora 1.2 (Zheng et al. 2024, arXiv 2412.20404), for the weights as they are published."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vxedit.backbones.opensora.layers import Block, CaptionEmbedder, FinalLayer, ScalarEmbedder
from vxedit.backbones.opensora.positions import grid_waves, rates, rotations
from vxedit.errors import ModelError


@dataclass(frozen=True)
class STDiT3Config:
    """The network's shape, under the names of the published config.json. `input_sq_size`: the side, in pixels, of the
    frames at which a grid's cells count as 1."""

    in_channels: int = 4
    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    mlp_ratio: float = 4.0
    patch_size: tuple[int, int, int] = (1, 2, 2)
    caption_channels: int = 4096
    model_max_length: int = 300
    input_sq_size: int = 512
    qk_norm: bool = True
    pred_sigma: bool = True

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> STDiT3Config:
        """The shape that a published config.json describes; what it says of training and of kernels is left aside.

        Raises ModelError for a patch of several frames, a width that the heads don't divide into even parts, and
        prepared text.
        """
        names = {field.name for field in fields(cls)}
        given = {name: value for name, value in config.items() if name in names}
        found = cls(**{**given, "patch_size": tuple(given.get("patch_size", cls.patch_size))})
        if len(found.patch_size) != 3 or found.patch_size[0] != 1:
            raise ModelError(
                f"patch_size in config.json is {found.patch_size}, not (1, h, w): this isn't Open-Sora 1.2"
            )
        if found.hidden_size % (2 * found.num_heads) or found.hidden_size % 4:
            raise ModelError(
                f"hidden_size {found.hidden_size} and num_heads {found.num_heads} in config.json give heads of no even "
                "width: get the model's files again"
            )
        if config.get("skip_y_embedder"):
            raise ModelError("skip_y_embedder in config.json asks for text that is prepared elsewhere: set it to false")
        return found

    @property
    def out_channels(self) -> int:
        """Channels of the output: the velocity's and, where the model was made to predict a variance, as many more."""
        return self.in_channels * (2 if self.pred_sigma else 1)


class Rotary(nn.Module):
    """The rates, (d / 2,), at which a head's features turn with time."""

    freqs: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.register_buffer("freqs", rates(head_dim // 2, torch.get_default_device()))


class PatchEmbed(nn.Module):
    """Latents (B, C, f, h, w) to tokens (B, f * h' * w', dim), padded with zeros to whole patches."""

    def __init__(self, patch: tuple[int, int, int], channels: int, dim: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, latents: Tensor) -> Tensor:
        height, width = latents.shape[3:]
        padded = F.pad(latents, (0, -width % self.patch[2], 0, -height % self.patch[1]))
        return self.proj(padded).flatten(2).transpose(1, 2)


class STDiT3(nn.Module):
    """The network. Loads the state dict of hpcai-tech/OpenSora-STDiT-v3 strictly.

    `gradient_checkpointing`, `_gradient_checkpointing_func`: as in diffusers' networks, whether a block is run by
    somebody else's function of the block and its arguments, which may run it again for the gradient (Chen et al. 2016,
    arXiv 1604.06174).
    """

    gradient_checkpointing: bool = False
    _gradient_checkpointing_func: Callable[..., Any] | None = None

    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        self.config = config
        dim = config.hidden_size
        self.rope = Rotary(dim // config.num_heads)
        self.x_embedder = PatchEmbed(config.patch_size, config.in_channels, dim)
        self.t_embedder = ScalarEmbedder(dim)
        self.fps_embedder = ScalarEmbedder(dim)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.y_embedder = CaptionEmbedder(config.caption_channels, dim, config.model_max_length)
        self.spatial_blocks = _blocks(config, temporal=False)
        self.temporal_blocks = _blocks(config, temporal=True)
        self.final_layer = FinalLayer(dim, math.prod(config.patch_size) * config.out_channels)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> STDiT3:
        """A network of the shape that a published config.json describes, its weights still to be loaded."""
        return cls(STDiT3Config.from_dict(config))

    def blocks(self) -> Iterator[tuple[str, Any]]:
        """The blocks and their names in the order in which they run: spatial 0, temporal 0, spatial 1 and so on."""
        for i, (spatial, temporal) in enumerate(zip(self.spatial_blocks, self.temporal_blocks, strict=True)):
            yield f"spatial_blocks.{i}", spatial
            yield f"temporal_blocks.{i}", temporal

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a frame's tokens, for latents of `height` x `width`."""
        _, tall, wide = self.config.patch_size
        return -(-height // tall), -(-width // wide)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        *,
        fps: Tensor,
        height: float,
        width: float,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The network's output (B, out_channels, f, h, w), float32, whose first in_channels are the velocity.

        Latents (B, in_channels, f, h, w); timestep (B,) in 0..1000, 1000 being noise; text (B, L, D), of which `mask`
        (B, L), where it is given, is true at the columns that may be looked at; fps (B,); `height` and `width` of a
        frame in pixels.
        """
        dtype = self.dtype
        frames, (rows, columns) = latents.shape[2], self.token_grid(latents.shape[3], latents.shape[4])
        embedding = self.t_embedder(timestep) + self.fps_embedder(fps)
        modulation = self.t_block(embedding).unflatten(1, (6, -1))
        tokens = self.x_embedder(latents.to(dtype))
        zoom = math.sqrt(height * width) / self.config.input_sq_size
        places = grid_waves(rows, columns, self.config.hidden_size, zoom=zoom, like=tokens)
        tokens = tokens + places.repeat(frames, 1)
        given = (
            self.y_embedder(text.to(dtype)),
            None if mask is None else _bias(mask, dtype),
            modulation,
            rotations(frames, self.rope.freqs),
            frames,
        )
        run = self._gradient_checkpointing_func if self.gradient_checkpointing and torch.is_grad_enabled() else None
        for _, block in self.blocks():
            tokens = block(tokens, *given) if run is None else run(block, tokens, *given)
        patches = self.final_layer(tokens, embedding)
        return self._unpatched(patches, latents.shape).float()

    def _unpatched(self, patches: Tensor, shape: torch.Size) -> Tensor:
        batch, _, frames, height, width = shape
        rows, columns = self.token_grid(height, width)
        _, tall, wide = self.config.patch_size
        grid = patches.view(batch, frames, rows, columns, tall, wide, -1).permute(0, 6, 1, 2, 4, 3, 5)
        return grid.reshape(batch, -1, frames, rows * tall, columns * wide)[..., :height, :width]


def _blocks(config: STDiT3Config, *, temporal: bool) -> nn.ModuleList:
    shape = (config.hidden_size, config.num_heads, config.mlp_ratio)
    return nn.ModuleList(Block(*shape, qk_norm=config.qk_norm, temporal=temporal) for _ in range(config.depth))


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `mask` (B, L) is true, else the dtype's most negative number: (B, 1, 1, L)."""
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return bias.masked_fill(~mask.bool(), torch.finfo(dtype).min)[:, None, None]
