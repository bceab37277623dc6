"""Open-Sora 2.0's network from its published names into diffusers' FluxTransformer2DModel (Peng et al. 2025, arXiv
2503.09642, section 3).

The network is Flux's (double-stream blocks, then single-stream ones) over video tokens. Four things differ from what
diffusers expects: values and the MLP's first layer are one matrix; the last modulation has the shift before the scale;
a second input carries reference frames; and rotary positions turn channel j together with channel j + d / 2 of a head's
d channels, where diffusers turns 2j with 2j + 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vxedit.backbones.opensora2.assemble import assemble
from vxedit.errors import ModelError

TOP = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    "final_layer.linear": "proj_out",
}
DOUBLE = {
    "img_mod.lin": ("norm1.linear",),
    "img_attn.q_proj": ("attn.to_q",),
    "img_attn.k_proj": ("attn.to_k",),
    "img_attn.v_proj": ("attn.to_v",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.norm.query_norm": ("attn.norm_q",),
    "img_attn.norm.key_norm": ("attn.norm_k",),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
    "txt_attn.q_proj": ("attn.add_q_proj",),
    "txt_attn.k_proj": ("attn.add_k_proj",),
    "txt_attn.v_proj": ("attn.add_v_proj",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.norm.query_norm": ("attn.norm_added_q",),
    "txt_attn.norm.key_norm": ("attn.norm_added_k",),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
SINGLE = {
    "modulation.lin": ("norm.linear",),
    "q_proj": ("attn.to_q",),
    "k_proj": ("attn.to_k",),
    "v_mlp": ("attn.to_v", "proj_mlp"),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "norm.query_norm": ("attn.norm_q",),
    "norm.key_norm": ("attn.norm_k",),
    "linear2": ("proj_out",),
}
"""What a block's layer becomes. Where it becomes several, its rows are theirs one after another."""

TURNED = ("to_q", "to_k", "add_q_proj", "add_k_proj", "norm_q", "norm_k", "norm_added_q", "norm_added_k")
"""Layers whose output is turned by the rotary positions."""

NAME = re.compile(r"(?:(?P<stream>double|single)_blocks\.(?P<block>\d+)\.)?(?P<layer>.+)\.(?P<kind>weight|bias|scale)")


def network_config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """FluxTransformer2DModel's settings, from the shapes of the published `weights`.

    Of a head's d channels d / 8 carry the position in time, 7 d / 16 each the row and the column: 16, 56 and 56 of 128.
    Raises ModelError where `weights` are not of this network.
    """
    hidden, channels = _shape(weights, "img_in.weight")
    (head,) = _shape(weights, "double_blocks.0.img_attn.norm.query_norm.scale")
    if hidden % head or head % 32:
        raise ModelError(
            f"Open-Sora 2.0's network can't be {hidden} wide with heads of {head}: heads are a multiple of 32 and "
            "divide the width; get the file again"
        )
    return {
        "in_channels": channels,
        "num_layers": _blocks(weights, "double"),
        "num_single_layers": _blocks(weights, "single"),
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": _shape(weights, "txt_in.weight")[1],
        "pooled_projection_dim": _shape(weights, "vector_in.in_layer.weight")[1],
        "guidance_embeds": False,
        "axes_dims_rope": (head // 8, 7 * head // 16, 7 * head // 16),
    }


def network_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published `weights` under diffusers' names, in its order of rows; most share memory with `weights`.

    The reference input `cond_in` sees nothing but zeros in text-to-video, so that of it only the bias remains, added
    to that of the latents' input. Raises ModelError where a name is not of this network.
    """
    config = network_config(weights)
    width = config["num_attention_heads"] * config["attention_head_dim"]
    # The authors' code turns halves where projections are apart, as published, and neighbours where they are one.
    halves = "double_blocks.0.img_attn.q_proj.weight" in weights
    converted = {}
    for name, value in weights.items():
        if name.startswith("cond_in."):
            continue
        targets = _targets(name)
        rows = [width] * (len(targets) - 1)
        for target, part in zip(targets, value.split([*rows, len(value) - sum(rows)]), strict=True):
            if target.split(".")[-2] in TURNED and halves:
                part = neighbours(part, config["attention_head_dim"])
            if target.startswith("norm_out.linear."):
                part = torch.cat(part.chunk(2)[::-1])  # shift, scale -> scale, shift
            converted[target] = part
    if "cond_in.bias" in weights:
        converted["x_embedder.bias"] = converted["x_embedder.bias"] + weights["cond_in.bias"]
    return converted


def build_network(weights: Mapping[str, Tensor], *, source: str) -> Any:
    """The FluxTransformer2DModel of the published `weights`, in their number format. `source`: the file, for people.

    Raises ModelError where a weight is missing, unknown or of another shape.
    """
    from diffusers import FluxTransformer2DModel

    return assemble(FluxTransformer2DModel, network_config(weights), network_weights(weights), source=source)


def neighbours(rows: Tensor, head: int) -> Tensor:
    """Rows (heads * head, ...) with channels j and j + head / 2 of every head brought together to 2j and 2j + 1.

    Both orders give the same attention: queries and keys change alike.
    """
    return rows.unflatten(0, (-1, 2, head // 2)).transpose(1, 2).flatten(0, 2)


def _targets(name: str) -> list[str]:
    """What the tensor of the published `name` becomes, in the order of its rows."""
    match = NAME.fullmatch(name)
    if match is not None:
        stream, block, layer = match["stream"], match["block"], match["layer"]
        kind = "weight" if match["kind"] == "scale" else match["kind"]
        if stream is None and layer in TOP:
            return [f"{TOP[layer]}.{kind}"]
        if stream == "double" and layer in DOUBLE:
            return [f"transformer_blocks.{block}.{target}.{kind}" for target in DOUBLE[layer]]
        if stream == "single" and layer in SINGLE:
            return [f"single_transformer_blocks.{block}.{target}.{kind}" for target in SINGLE[layer]]
    raise ModelError(
        f"{name} is not a weight of Open-Sora 2.0's text-to-video network: take Open_Sora_v2.safetensors as published "
        "at hpcai-tech/Open-Sora-v2"
    )


def _blocks(weights: Mapping[str, Tensor], stream: str) -> int:
    found = {match["block"] for match in map(NAME.fullmatch, weights) if match and match["stream"] == stream}
    return len(found)


def _shape(weights: Mapping[str, Tensor], name: str) -> torch.Size:
    if name not in weights:
        raise ModelError(
            f"Open-Sora 2.0's network needs {name}, which is not there: take Open_Sora_v2.safetensors as published at "
            "hpcai-tech/Open-Sora-v2"
        )
    return weights[name].shape
