"""What an edit with a model of ModelScope's family needs, from its configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vxedit.backbones.memory.autoencoder import VaeWay, autoencoder_bytes, pixels_at_once
from vxedit.backbones.memory.needs import Needs, Pass
from vxedit.backbones.memory.plan import Asked
from vxedit.backbones.memory.text import text_encoder_bytes
from vxedit.backbones.memory.unet3d import UNetMemory
from vxedit.backbones.memory.unet3d_stages import Grid
from vxedit.backbones.sizes import pixels_a_cell

NUMBER_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}

FLOAT_BYTES = 4
"""The autoencoder, the text encoder, latents and embeddings are float32."""

CHUNK_PIXELS = 2**20
"""vxedit.backbones.autoencoder's PIXELS_AT_ONCE, known here without torch."""

HEAP_SHARE = 0.25
"""On a processor, what oneDNN's copies of weights and the holes that they leave in the C library's heap come to, as a
share of the network's weights. Fitted to the peak resident size of ModelScope's network in bf16 on two cores
(scripts/measure_memory): 0.52 to 0.88 GB over what is counted, for 2.82 GB of weights, at 8 and 16 frames of 256x256,
with and without recomputed activations. It is 0.06 to 0.17 GB where the allocator gives every block back
(MALLOC_MMAP_THRESHOLD_=131072)."""


@dataclass(frozen=True)
class Edit:
    """What of an edit memory depends on besides the clip. `null_text`: whether null embeddings are optimised;
    `per_frame`: one a frame; `device`: as torch names its kind; `chunk`: pixels that the autoencoder sees at once."""

    steps: int
    null_text: bool = True
    per_frame: bool = False
    guided: bool = True
    device: str = "cpu"
    chunk: int = CHUNK_PIXELS


def unet3d_needs(
    configs: Mapping[str, Mapping[str, Any]],
    others: Mapping[str, int],
    steering: Sequence[str],
    edit: Edit,
    asked: Asked,
) -> Needs:
    """The bytes that `edit` needs for the clip `asked` for.

    `configs`: config.json of "unet", "vae" and "text_encoder". `others`: the number of weights of "vae" and
    "text_encoder". `steering`: names or beginnings of names of the layers whose maps guide.
    """
    frames, height, width = asked.size
    cell, number = pixels_a_cell(configs["vae"]), NUMBER_BYTES[asked.dtype]
    grid = Grid(frames, -(-height // cell), -(-width // cell))
    text = int(configs["text_encoder"].get("max_position_embeddings", 77))
    network = UNetMemory.of(configs["unet"], grid, number=number, text=text)
    captured = network.captured(steering)
    guidance = {again: _guidance(network, captured, again) for again in (False, True)} if edit.guided else {}
    null_text = {again: _null_text(network, again) for again in (False, True)} if edit.null_text else {}
    weights = network.weight_bytes()
    return Needs(
        network=weights,
        autoencoder=FLOAT_BYTES * others["vae"],
        text_encoder=FLOAT_BYTES * others["text_encoder"],
        stage=network.largest_stage_bytes(),
        text=text_encoder_bytes(configs["text_encoder"], text),
        forward=network.forward(),
        decode={way: _autoencoder(configs["vae"], asked, way, edit.chunk) for way in ("chunks", "frames", "tiles")},
        guidance=guidance,
        null_text=null_text,
        kept=inversion_bytes(network, edit),
        scratch=int(HEAP_SHARE * weights) if edit.device == "cpu" else 0,
    )


def inversion_bytes(network: UNetMemory, edit: Edit) -> int:
    """An inversion's pivots, one a level, and its null embeddings; twice, since they are joined when all are there."""
    grid, one = network.grid, network.network
    pivots = (edit.steps + 1) * one.channels_in * grid.positions(0)
    null = edit.steps * network.text * one.text_width * (grid.frames if edit.per_frame else 1) * edit.null_text
    return FLOAT_BYTES * 2 * (pivots + null)


def _guidance(network: UNetMemory, captured: Sequence[str], again: bool) -> Pass:
    return Pass(network.guidance(captured, recomputed=again), network.bound(captured, recomputed=again))


def _null_text(network: UNetMemory, again: bool) -> Pass:
    return Pass(network.null_text(recomputed=again), network.bound((), recomputed=again))


def _autoencoder(config: Mapping[str, Any], asked: Asked, way: VaeWay, chunk: int) -> int:
    return autoencoder_bytes(config, pixels_at_once(config, asked.size, way, chunk=chunk))
