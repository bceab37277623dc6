"""Bytes that a text encoder needs for its activations, from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text_encoder_bytes(config: Mapping[str, Any], tokens: int, *, number: int = 4) -> int:
    """The peak of embedding a prompt of `tokens`: a layer's input, norm, queries, keys, values and output, and twice
    its feed-forward's width, three times where that is gated. Configurations of CLIP or T5, which makes its scores
    besides."""
    width = config.get("hidden_size") or config["d_model"]
    inner = config.get("intermediate_size") or config["d_ff"]
    gated = "gated" in str(config.get("feed_forward_proj", ""))
    scores = 2 * config["num_heads"] * tokens if "d_kv" in config else 0
    return number * tokens * (6 * width + (3 if gated else 2) * inner + scores)
