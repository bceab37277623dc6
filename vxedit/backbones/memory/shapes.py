"""The sizes of each family's transformer, as far as memory depends on them, from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vxedit.backbones.memory.transformer import TransformerMemory

Config = Mapping[str, Any]
Shape = Callable[[Config], dict[str, Any]]


def _of_diffusers(config: Config, *, blocks: int = 1, feed_forward: int | None = None) -> dict[str, Any]:
    heads = int(config["num_attention_heads"])
    width = heads * int(config["attention_head_dim"])
    return {
        "depth": blocks * int(config["num_layers"]),
        "width": width,
        "heads": heads,
        "feed_forward": feed_forward or 4 * width,
    }


def _stdit3(config: Config) -> dict[str, Any]:
    width = int(config["hidden_size"])
    inner = int(width * float(config.get("mlp_ratio", 4)))
    return {"depth": 2 * int(config["depth"]), "width": width, "heads": int(config["num_heads"]), "feed_forward": inner}


SHAPES: Mapping[str, Shape] = {
    "wan": lambda config: _of_diffusers(config, feed_forward=int(config["ffn_dim"])),
    "ltx": _of_diffusers,
    "cogvideox": lambda config: {**_of_diffusers(config), "joint": True},
    "latte": lambda config: _of_diffusers(config, blocks=2),
    "allegro": _of_diffusers,
    "opensora": _stdit3,
}
"""By the family's name. What isn't here can't be estimated."""


def transformer_memory(family: str, config: Config, *, tokens: int, text: int, number: int) -> TransformerMemory | None:
    """What a pass over `tokens` of a clip and a prompt of `text` columns needs, `number` bytes each; None where the
    family's shape isn't known."""
    shape = SHAPES.get("allegro" if family.startswith("opensora-plan") else family)
    if shape is None:
        return None
    known = shape(config)
    return TransformerMemory(**known, tokens=tokens + (text if known.get("joint") else 0), text=text, number=number)
