"""Open-Sora 2.0's Backbone: Flux's network over packed latents, T5 and CLIP, HunyuanVideo's autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vxedit.backbones.family import Facts
from vxedit.backbones.flow import TIMESTEPS
from vxedit.backbones.layout import Layout, first_line
from vxedit.backbones.opensora2.convert import build_network
from vxedit.backbones.opensora2.layers import text_layers
from vxedit.backbones.opensora2.packing import PATCH, pack, places, unpack
from vxedit.backbones.opensora2.prompts import T5AndClip, parted
from vxedit.backbones.opensora2.vae_convert import build_vae
from vxedit.backbones.parts import load_part, unreported
from vxedit.backbones.texts import T5Text
from vxedit.backbones.tokens import load_tokenizer
from vxedit.backbones.transformer import Loaded, VideoTransformer
from vxedit.backbones.video_vae import VideoVae
from vxedit.errors import ModelError


class OpenSora2(VideoTransformer):
    """A Backbone over the published Open_Sora_v2.safetensors, as FluxTransformer2DModel."""

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        network = load_published(layout, "transformer", build_network, device=device, dtype=dtype)
        vae = load_published(layout, "vae", build_vae, device=device, dtype=torch.float32)
        cell, scale = int(vae.config.spatial_compression_ratio), float(vae.config.scaling_factor)
        return Loaded(
            network,
            VideoVae(vae, facts.sizes.length, cell, 0.0, scale),
            load_prompts(layout, facts, device=device, dtype=dtype),
            text_layers(network),
            patch=(1, PATCH, PATCH),
            channels=int(network.config.in_channels) // PATCH**2,
        )

    def forward(self, x: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        text, pooled = parted(embeds, self.network.config.pooled_projection_dim)
        output = self.network(
            hidden_states=pack(x),
            encoder_hidden_states=text,
            pooled_projections=pooled,
            timestep=torch.full((len(x),), timestep / TIMESTEPS, device=x.device),
            img_ids=places(x.shape, x.device),
            txt_ids=torch.zeros(text.shape[1], 3, device=x.device),
            return_dict=False,
        )[0]
        return unpack(output, x.shape)


def load_published(
    layout: Layout, part: str, build: Callable[..., Any], *, device: torch.device, dtype: torch.dtype
) -> Any:
    """A part of the authors' own file by `build`(weights, source=). Raises ModelError where the file can't be read or
    its weights are not what is wanted."""
    from safetensors.torch import load_file

    file = layout.path(layout.weights[part].file)
    try:
        weights = {name: value.to(dtype) for name, value in load_file(file, device=str(device)).items()}
    except Exception as err:
        raise ModelError(f"{file} can't be loaded: {first_line(err)}; get the model's files again") from err
    return build(weights, source=str(file))


def load_prompts(layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> T5AndClip:
    """Both text encoders. T5 is told of no padding, as in training; CLIP stays in float32: it is small and runs once a
    prompt."""
    from transformers import CLIPTextModel

    t5 = T5Text.load(
        layout, facts, kind="T5EncoderModel", device=device, dtype=dtype, reads_mask=False, zero_pads=False
    )
    with unreported("transformers"):  # it would warn of the half for pictures, which is published too
        clip = load_part(layout, "text_encoder_2", device=device, dtype=torch.float32, kind=CLIPTextModel)
    return T5AndClip(t5, load_tokenizer(layout, layout.family.second_tokenizer), clip)
