"""AnimateDiff (Guo et al. 2024, arXiv 2307.04725): Stable Diffusion 1.5 or what was tuned from it, with motion modules,
either in a folder `motion_adapter` of their own or in the network already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vxedit.backbones.families.settings import guidance_scale, most_frames, shared_noise, steering
from vxedit.backbones.families.unet3d import STEERING, sizes
from vxedit.backbones.family import CLIP, OF_TRANSFORMERS, SCHEDULER, Facts, Family, Known, Part
from vxedit.backbones.noise import noise
from vxedit.backbones.protocol import Size
from vxedit.errors import ModelError

if TYPE_CHECKING:
    from vxedit.backbones.layout import Layout

MOST_FRAMES = 32
"""Rows of the motion modules' table of places in time, where nothing says otherwise."""

TRAINED_WITH: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "set_alpha_to_one": True,
}
"""What the motion modules were trained with and their authors sample with (DDIM); an image model's own scheduler says
otherwise."""


def facts(layout: Layout, native: Size | None) -> Facts:
    network = layout.configs["unet"]
    adapter = layout.configs.get("motion_adapter")
    motion = network if adapter is None else adapter
    _check(layout, motion)
    shapes = sizes(layout, native)
    most = int(motion.get("motion_max_seq_length", MOST_FRAMES))
    scheduler: dict[str, Any] = dict(layout.configs["scheduler"])
    return Facts(
        sizes=replace(shapes, max_frames=min(most, most_frames(layout, most))),
        levels=noise(scheduler if adapter is None else scheduler | TRAINED_WITH),
        text_limit=layout.configs["text_encoder"].get("max_position_embeddings", 77),
        steering=steering(layout, STEERING),
        guidance_scale=guidance_scale(layout, 7.5),
        shared_noise=shared_noise(layout),
        per_frame=True,
        controls=True,
    )


def _check(layout: Layout, motion: Any) -> None:
    network, text, vae = (layout.configs[part] for part in ("unet", "text_encoder", "vae"))
    wanted, given = network.get("cross_attention_dim", 1280), text.get("hidden_size")
    if network.get("addition_embed_type") or wanted != given:
        raise ModelError(
            f"{layout.tree}: the network wants text {wanted} wide and the text encoder gives {given}, as in Stable "
            "Diffusion XL: vxedit knows AnimateDiff over Stable Diffusion 1.5, take that or what was tuned from it"
        )
    channels = int(motion.get("conv_in_channels") or network.get("in_channels", 4))
    if channels != vae.get("latent_channels", 4):
        raise ModelError(
            f"{layout.tree}: the network takes {channels} channels and a latent has {vae.get('latent_channels', 4)}, "
            "so it needs a picture besides the text (inpainting, PIA): take one that makes clips of text alone"
        )


def _family(name: str, network: str, *parts: Part, known: tuple[Known, ...] = ()) -> Family:
    return Family(
        name=name,
        title="AnimateDiff",
        parts=(
            Part("unet", (network,)),
            *parts,
            Part("vae", ("AutoencoderKL",)),
            Part("text_encoder", ("CLIPTextModel",), stems=OF_TRANSFORMERS),
            SCHEDULER,
        ),
        tokenizer=CLIP,
        facts=facts,
        backbone="vxedit.backbones.animatediff:AnimateDiff",
        known=known,
    )


STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
ADAPTER = "guoyww/animatediff-motion-adapter-v1-5-3"

ANIMATEDIFF = (
    _family(
        "animatediff",
        "UNet2DConditionModel",
        Part("motion_adapter", ("MotionAdapter",)),
        known=(
            Known(
                "animatediff",
                {"": STABLE_DIFFUSION, "motion_adapter": ADAPTER},
                Size(16, 512, 512),
                "CreativeML OpenRAIL-M, adapter Apache-2.0",
                6.0,
            ),
        ),
    ),
    _family("animatediff-whole", "UNetMotionModel"),
)
"""A network and the motion modules apart; and both in one, as a pipeline is saved that was put together."""
