"""The layers that Open-Sora-Plan's causal autoencoder is built from, by the names that its configuration uses.

Every layer takes (B, C, F, H, W). Submodules are called as in the published weights, which load by name.
Lin et al. 2024, arXiv 2412.00131; the spatial parts are those of Rombach et al. 2022, arXiv 2112.10752.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vxedit.errors import ModelError

GROUPS = 32


def layer(name: str) -> Callable[[int, int], nn.Module]:
    """The layer that a configuration calls `name`, made from its channels in and out. Raises ModelError where there is
    none of that name."""
    if name not in LAYERS:
        raise ModelError(
            f"the autoencoder's config.json asks for a layer {name!r}, known are {', '.join(sorted(LAYERS))}: take the "
            "autoencoder of Open-Sora-Plan 1.2.0"
        )
    return LAYERS[name]


def normalization(channels: int) -> nn.GroupNorm:
    """Over all that a group of channels holds: of one frame, or of a clip, by what it is given."""
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class FrameConv(nn.Conv2d):
    """A convolution of 3x3 over every frame by itself."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return _by_frame(super().forward, x)


class CausalConv(nn.Module):
    """A convolution that looks at a frame and the ones before it: the first frame stands for what came earlier."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int, int] = (3, 3, 3),
        *,
        stride: int = 1,
        padded: bool = True,
    ) -> None:
        super().__init__()
        self.earlier = kernel[0] - 1
        around = (0, kernel[1] // 2, kernel[2] // 2) if padded else 0
        self.conv = nn.Conv3d(channels_in, channels_out, kernel, stride=stride, padding=around)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.cat([x[:, :, :1]] * self.earlier + [x], dim=2))


def pointwise(channels_in: int, channels_out: int) -> CausalConv:
    """A convolution of one cell."""
    return CausalConv(channels_in, channels_out, (1, 1, 1))


class FrameResidual(nn.Module):
    """A residual block over every frame by itself."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = normalization(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = normalization(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        if channels_in != channels_out:
            self.nin_shortcut = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return _by_frame(lambda frames: _residual(self, frames), x)


class CausalResidual(nn.Module):
    """A residual block over time too; its statistics are the whole clip's."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = normalization(channels_in)
        self.conv1 = CausalConv(channels_in, channels_out)
        self.norm2 = normalization(channels_out)
        self.conv2 = CausalConv(channels_out, channels_out)
        if channels_in != channels_out:
            self.nin_shortcut = pointwise(channels_in, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return _residual(self, x)


class FrameAttention(nn.Module):
    """Attention over the cells of a frame, with one head."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm = normalization(channels_in)
        self.q = pointwise(channels_in, channels_out)
        self.k = pointwise(channels_in, channels_out)
        self.v = pointwise(channels_in, channels_out)
        self.proj_out = pointwise(channels_out, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        # (B, C, F, H, W) to (B, F, H W, C)
        query, key, value = (part(normed).flatten(3).permute(0, 2, 3, 1) for part in (self.q, self.k, self.v))
        seen = F.scaled_dot_product_attention(query, key, value)
        return x + self.proj_out(seen.permute(0, 3, 1, 2).reshape(x.shape))


class FrameDown(nn.Module):
    """Half the height and width, frame by frame."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return _by_frame(self.conv, _below_and_right(x))


class CausalDown(nn.Module):
    """Half the height and width, and 2 k + 1 frames to k + 1."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = CausalConv(channels_in, channels_out, stride=2, padded=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(_below_and_right(x))


class FrameUp(nn.Module):
    """Twice the height and width, frame by frame."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = CausalConv(channels_in, channels_out, (1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest"))


class CausalUp(nn.Module):
    """Twice the height and width, and k + 1 frames to 2 k + 1: the first stays one."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = CausalConv(channels_in, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        larger = F.interpolate(x[:, :, :1], scale_factor=(1.0, 2.0, 2.0), mode="trilinear")
        if x.shape[2] > 1:
            later = F.interpolate(x[:, :, 1:], scale_factor=(2.0, 2.0, 2.0), mode="trilinear")
            larger = torch.cat([larger, later], dim=2)
        return self.conv(larger)


LAYERS: dict[str, Callable[[int, int], nn.Module]] = {
    "Conv2d": FrameConv,
    "CausalConv3d": CausalConv,
    "ResnetBlock2D": FrameResidual,
    "ResnetBlock3D": CausalResidual,
    "AttnBlock3DFix": FrameAttention,
    "Downsample": FrameDown,
    "Spatial2xTime2x3DDownsample": CausalDown,
    "SpatialUpsample2x": FrameUp,
    "Spatial2xTime2x3DUpsample": CausalUp,
}
"""The layers of the published autoencoder, as its config.json names them."""


def _by_frame(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    frames = run(x.transpose(1, 2).flatten(0, 1))  # (B F, C, H, W)
    return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


def _below_and_right(x: Tensor) -> Tensor:
    """A row and a column of zeros more: the strided convolutions have no padding above and left."""
    return F.pad(x, (0, 1, 0, 1))


def _residual(block: Any, x: Tensor) -> Tensor:
    hidden = block.conv1(F.silu(block.norm1(x)))
    hidden = block.conv2(F.silu(block.norm2(hidden)))
    return hidden + (block.nin_shortcut(x) if hasattr(block, "nin_shortcut") else x)
