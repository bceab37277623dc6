"""Bytes that an autoencoder of single frames needs for its activations, from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from vxedit.backbones.protocol import Size

VaeWay = Literal["chunks", "frames", "tiles"]
"""Several frames at once, one at a time, or one in overlapping tiles."""

TILE = 512
"""Sides of a tile in pixels, where the configuration doesn't say what the autoencoder was trained on."""


def pixels_at_once(config: Mapping[str, Any], size: Size, way: VaeWay, *, chunk: int) -> int:
    """Pixels of one pass over a clip of `size`. `chunk`: those that several frames may have together."""
    frame = size.height * size.width
    if way == "chunks":
        return frame * min(size.frames, max(1, chunk // frame))
    if way == "frames":
        return frame
    tile = config.get("sample_size") or TILE
    return min(size.height, tile) * min(size.width, tile)


def autoencoder_bytes(config: Mapping[str, Any], pixels: int, *, number: int = 4) -> int:
    """The peak of encoding or decoding `pixels` at once, which lies where the maps are as large as the picture.

    There AutoencoderKL's residual block has, at its end, its input, the block's input, both branches and their sum:
    five of the finest width. The decoder's first one, before it narrows, has its input, norm and activation: three of
    the next width. AutoencoderDC's has five of the finest, made from a quarter of the next width.
    """
    widths = config.get("decoder_block_out_channels") or config["block_out_channels"]
    finest, next_ = widths[0], widths[min(1, len(widths) - 1)]
    if "decoder_block_out_channels" in config:
        return number * pixels * (5 * finest + next_ // 4)
    return number * pixels * max(5 * finest, 3 * next_)
