"""ModelScope 1.7B, ZeroScope, potat1 and the embedded model (Wang et al. 2023, arXiv 2308.06571)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, shared_noise, steering
from vxedit.backbones.family import CLIP, OF_TRANSFORMERS, SCHEDULER, Facts, Family, Known, Part
from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Sizes, pixels_a_cell

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

STEERING = ("up_blocks.1", "up_blocks.2.attentions.0")
"""The decoder's attentions at a quarter and, the first one, at half of the latents' sides: coarser is too coarse for a
box, finer is noisy."""

FRAMES = 16
"""What the family was trained on, where nothing says otherwise."""

MOST_TIMES_NATIVE = 3
"""The longest clip in one piece, in native lengths: the network takes any, but was trained on short ones."""


def facts(layout: Layout, native: Size | None) -> Facts:
    return Facts(
        sizes=sizes(layout, native),
        levels=noise(layout.configs["scheduler"]),
        text_limit=layout.configs["text_encoder"].get("max_position_embeddings", 77),
        steering=steering(layout, STEERING),
        guidance_scale=guidance_scale(layout, 9.0),
        shared_noise=shared_noise(layout),
        per_frame=True,
        controls=True,
    )


def sizes(layout: Layout, native: Size | None) -> Sizes:
    """Which clips the model can do: as its model_index.json says under "vxedit", else `native`, else the network's
    sample size."""
    network = layout.configs["unet"]
    cell = pixels_a_cell(layout.configs["vae"])
    sample = network.get("sample_size") or 32
    tall, wide = (sample, sample) if isinstance(sample, int) else sample
    size = native_size(layout, native or Size(FRAMES, tall * cell, wide * cell))
    halvings = len(network["block_out_channels"]) - 1
    most = most_frames(layout, MOST_TIMES_NATIVE * size.frames)
    return Sizes(native=size, multiple=cell * 2**halvings, max_frames=most)


UNET3D = Family(
    name="unet3d",
    title="ModelScope, ZeroScope, potat1",
    parts=(
        Part("unet", ("UNet3DConditionModel",)),
        Part("vae", ("AutoencoderKL", "AutoencoderDC")),
        Part("text_encoder", stems=OF_TRANSFORMERS),
        SCHEDULER,
    ),
    tokenizer=CLIP,
    facts=facts,
    backbone="vxedit.backbones.unet3d:UNet3D",
    known=(
        Known("modelscope", {"": "damo-vilab/text-to-video-ms-1.7b"}, Size(16, 256, 256), "CC-BY-NC-4.0", 7.6, 4.2),
        Known("zeroscope", {"": "cerspense/zeroscope_v2_576w"}, Size(24, 320, 576), "CC-BY-NC-4.0", 3.8, 8.5),
        Known("zeroscope-xl", {"": "cerspense/zeroscope_v2_XL"}, Size(24, 576, 1024), "CC-BY-NC-4.0", 3.8, 20.9),
        Known("potat1", {"": "camenduru/potat1"}, Size(24, 576, 1024), "CC-BY-NC-4.0", 7.6, 20.9),
    ),
)
