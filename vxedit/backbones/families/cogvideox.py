"""CogVideoX 1.0 and 1.5 (Yang et al. 2024, arXiv 2408.06072), text to video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vxedit.backbones.families.settings import guidance_scale, most_frames, native_size, refuse_pictures, steering
from vxedit.backbones.family import OF_TRANSFORMERS, SCHEDULER, T5, Facts, Family, Known, Part
from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Size
from vxedit.backbones.sizes import Length, Sizes, pixels_a_cell

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

TEXT_COLUMNS, CHANNELS = 226, 16
LATER_SIDES, LATER_FRAMES = (768, 1360), 161
"""Of 1.5: the height and width it was trained on, which its configuration doesn't say (its sample size is the end of
the rotary positions), and the longest clip in one piece."""


@dataclass(frozen=True)
class TokenLength(Length):
    """A Length whose latents make whole tokens of `deep` frames: what they lack stands in front, as copies of the
    first. It covers the first frame of the clip as well."""

    deep: int = 1

    def latents(self, frames: int) -> int:
        return -(-super().latents(frames) // self.deep) * self.deep

    def spans(self, frames: int) -> tuple[tuple[int, ...], ...]:
        own = super().spans(frames)
        return (own[0],) * (self.latents(frames) - len(own)) + own


def facts(layout: Layout, native: Size | None) -> Facts:
    network, vae = layout.configs["transformer"], layout.configs["vae"]
    taken, given = (network.get(side, CHANNELS) for side in ("in_channels", "out_channels"))
    refuse_pictures(layout, taken, given or CHANNELS, instead="cogvideox-2b")
    cell, deep = pixels_a_cell(vae), network.get("patch_size_t")
    tall, wide = (network.get(side, usual) * cell for side, usual in (("sample_height", 60), ("sample_width", 90)))
    sample = Size(network.get("sample_frames", 49), *(LATER_SIDES if deep else (tall, wide)))
    size = native_size(layout, native or sample)
    most = max(LATER_FRAMES, size.frames) if deep else size.frames
    return Facts(
        sizes=Sizes(
            native=size,
            multiple=cell * int(network.get("patch_size", 2)),
            max_frames=most_frames(layout, most),
            length=TokenLength(step=int(vae.get("temporal_compression_ratio", 4)), deep=deep or 1),
        ),
        levels=noise(layout.configs["scheduler"]),
        text_limit=network.get("max_text_seq_length", TEXT_COLUMNS),
        steering=steering(layout),
        guidance_scale=guidance_scale(layout, 6.0),
    )


COGVIDEOX = Family(
    name="cogvideox",
    title="CogVideoX 1.0, CogVideoX 1.5",
    parts=(
        Part("transformer", ("CogVideoXTransformer3DModel",)),
        Part("vae", ("AutoencoderKLCogVideoX",)),
        Part("text_encoder", ("T5EncoderModel",), stems=OF_TRANSFORMERS),
        SCHEDULER,
    ),
    tokenizer=T5,
    facts=facts,
    backbone="vxedit.backbones.cogvideox:CogVideoX",
    known=(
        Known("cogvideox-2b", {"": "zai-org/CogVideoX-2b"}, Size(49, 480, 720), "Apache-2.0", 13.3, 10.1),
        Known("cogvideox-5b", {"": "zai-org/CogVideoX-5b"}, Size(49, 480, 720), "CogVideoX License", 21.1, 22.5),
        Known("cogvideox1.5-5b", {"": "zai-org/CogVideoX1.5-5B"}, Size(81, 768, 1360), "CogVideoX License", 31.1, 40),
    ),
)
