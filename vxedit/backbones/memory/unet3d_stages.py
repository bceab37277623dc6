"""UNet3DConditionModel as a list of stages, from its configuration alone: their weights and their work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal[
    "conv_in", "time", "resnet", "temporal_conv", "attention", "temporal_attention", "down", "up", "conv_out"
]

KERNEL = 9
"""Weights of a 3x3 convolution a pair of channels."""

INNER_HEADS = 8
"""Heads of the temporal attention that the network begins with, whatever its width."""


class Grid(NamedTuple):
    """The latents' size: frames and cells."""

    frames: int
    height: int
    width: int

    def positions(self, level: int) -> int:
        """Cells of all frames after the sides were halved `level` times; a down-sampling rounds up."""
        return self.frames * -(-self.height // 2**level) * -(-self.width // 2**level)


@dataclass(frozen=True)
class Stage:
    """A module that runs as a whole, named as in the network. `level`: how often the sides of what it gives were
    halved; `inner`: the width of an attention's tokens; `skips`: (channels, level) of what is held meanwhile for the
    decoder."""

    name: str
    kind: Kind
    channels_in: int
    channels_out: int
    level: int
    inner: int = 0
    skips: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Network:
    """What of the configuration the stages follow from. `head`: the width of an attention head."""

    widths: tuple[int, ...]
    layers: int
    head: int
    groups: int
    text_width: int
    channels_in: int
    channels_out: int
    down_attends: tuple[bool, ...]
    up_attends: tuple[bool, ...]
    """Whether the blocks of the encoder and of the decoder, first to run first, attend to the text."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Network:
        """From unet/config.json; what isn't there is diffusers' default."""
        widths = tuple(config.get("block_out_channels", (320, 640, 1280, 1280)))
        attends = ("CrossAttn",) * (len(widths) - 1) + ("",)
        down, up = config.get("down_block_types", attends), config.get("up_block_types", attends[::-1])
        return cls(
            widths=widths,
            layers=config.get("layers_per_block", 2),
            head=config.get("attention_head_dim", 64),
            groups=config.get("norm_num_groups", 32),
            text_width=config.get("cross_attention_dim", 1024),
            channels_in=config.get("in_channels", 4),
            channels_out=config.get("out_channels", 4),
            down_attends=tuple("CrossAttn" in kind for kind in down),
            up_attends=tuple("CrossAttn" in kind for kind in up),
        )


def stages(network: Network) -> tuple[Stage, ...]:
    """The stages, first to run first."""
    return tuple(_stages(network))


def weights(network: Network, stage: Stage) -> int:
    """The number of a stage's weights, biases and norms included."""
    return matrices(network, stage) + _vectors(network, stage)


def matrices(network: Network, stage: Stage) -> int:
    """Those of a stage's weights that are multiplied with every position, text or timestep."""
    c_in, c, inner = stage.channels_in, stage.channels_out, stage.inner
    if stage.kind == "time":
        return c_in * c + c * c
    if stage.kind == "resnet":
        shortcut = 0 if c_in == c else c_in * c
        return KERNEL * (c_in * c + c * c) + shortcut + 4 * network.widths[0] * c
    if stage.kind == "temporal_conv":
        return 4 * 3 * c * c
    if stage.kind in ("attention", "temporal_attention"):
        source = network.text_width if stage.kind == "attention" else inner
        return 2 * c * inner + 6 * inner**2 + 2 * source * inner + 12 * inner**2
    return KERNEL * c_in * c


def flops(network: Network, grid: Grid, text: int, *, until: str | None = None) -> int:
    """Floating-point operations (two a multiplication) of a forward pass, up to and with the stage named `until`.

    `text`: tokens of the prompt. Norms and activations are left out.
    """
    total = 0
    for stage in stages(network):
        total += _flops(network, stage, grid, text)
        if stage.name == until:
            break
    return total


def _flops(network: Network, stage: Stage, grid: Grid, text: int) -> int:
    positions, inner = grid.positions(stage.level), stage.inner
    if stage.kind == "time":
        return 2 * matrices(network, stage)
    if stage.kind == "attention":
        read = 2 * network.text_width * inner
        own = matrices(network, stage) - read
        products = 2 * positions * inner * (positions // grid.frames + text)
        return 2 * (positions * own + grid.frames * text * read + products)
    if stage.kind == "temporal_attention":
        return 2 * positions * (matrices(network, stage) + 2 * 2 * inner * grid.frames)
    if stage.kind == "resnet":
        timestep = 4 * network.widths[0] * stage.channels_out
        return 2 * (positions * (matrices(network, stage) - timestep) + grid.frames * timestep)
    return 2 * positions * matrices(network, stage)


def _vectors(network: Network, stage: Stage) -> int:
    c_in, c, inner = stage.channels_in, stage.channels_out, stage.inner
    if stage.kind == "time":
        return 2 * c
    if stage.kind == "resnet":
        shortcut = 0 if c_in == c else c
        return 2 * c_in + 2 * c + 3 * c + shortcut
    if stage.kind == "temporal_conv":
        return 4 * 3 * c
    if stage.kind in ("attention", "temporal_attention"):
        return 2 * c + inner + c + 3 * 2 * inner + 2 * inner + 8 * inner + inner
    return c + (2 * c_in if stage.kind == "conv_out" else 0)


def _stages(network: Network) -> Iterator[Stage]:
    first, widths, last = network.widths[0], network.widths, len(network.widths) - 1
    yield Stage("time_embedding", "time", first, 4 * first, 0)
    yield Stage("conv_in", "conv_in", network.channels_in, first, 0)
    yield Stage("transformer_in", "temporal_attention", first, first, 0, INNER_HEADS * network.head)
    skips, width = [(first, 0)], first
    for level, wide in enumerate(widths):
        block, attends = f"down_blocks.{level}", network.down_attends[level]
        for i in range(network.layers):
            yield from _row(block, i, width, wide, level, attends, tuple(skips))
            skips.append((wide, level))
            width = wide
        if level < last:
            yield Stage(f"{block}.downsamplers.0", "down", wide, wide, level + 1, skips=tuple(skips))
            skips.append((wide, level + 1))
    held = tuple(skips)
    yield from _convolutions("mid_block", 0, width, width, last, held)
    yield from _attentions("mid_block", 0, width, last, held)
    yield from _convolutions("mid_block", 1, width, width, last, held)
    for i, wide in enumerate(reversed(widths)):
        block, level = f"up_blocks.{i}", last - i
        held = tuple(skips)  # the block is given all its skips, which live until it ends
        for j in range(network.layers + 1):
            yield from _row(block, j, width + skips.pop()[0], wide, level, network.up_attends[i], held)
            width = wide
        if level > 0:
            yield Stage(f"{block}.upsamplers.0", "up", wide, wide, level - 1, skips=held)
    yield Stage("conv_out", "conv_out", first, network.channels_out, 0)


def _row(
    block: str, i: int, c_in: int, c: int, level: int, attends: bool, skips: tuple[tuple[int, int], ...]
) -> Iterator[Stage]:
    yield from _convolutions(block, i, c_in, c, level, skips)
    if attends:
        yield from _attentions(block, i, c, level, skips)


def _convolutions(
    block: str, i: int, c_in: int, c: int, level: int, skips: tuple[tuple[int, int], ...]
) -> Iterator[Stage]:
    yield Stage(f"{block}.resnets.{i}", "resnet", c_in, c, level, skips=skips)
    yield Stage(f"{block}.temp_convs.{i}", "temporal_conv", c, c, level, skips=skips)


def _attentions(block: str, i: int, c: int, level: int, skips: tuple[tuple[int, int], ...]) -> Iterator[Stage]:
    yield Stage(f"{block}.attentions.{i}", "attention", c, c, level, c, skips)
    yield Stage(f"{block}.temp_attentions.{i}", "temporal_attention", c, c, level, c, skips)
