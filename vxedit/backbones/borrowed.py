"""What a forward pass installs on a network while it runs: text for each frame, and less kept for the gradient."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LARGE = 64 * 64 * 16
"""Latent positions from which on a gradient's memory matters more than the time that recomputing takes."""

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


@contextlib.contextmanager
def text_per_frame(attentions: Iterable[nn.Module], embeds: Tensor) -> Iterator[None]:
    """Have these text attentions read `embeds` (B * f, L, D), not the text that the network repeats over frames."""

    def swap(module: nn.Module, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
        given = dict(zip(("hidden_states", "encoder_hidden_states", "attention_mask"), args, strict=False), **kwargs)
        return (), {**given, "encoder_hidden_states": embeds}

    # First of all hooks, so that one that looks at the text sees the frame's own.
    handles = [module.register_forward_pre_hook(swap, with_kwargs=True, prepend=True) for module in attentions]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def to_recompute(latents: Tensor, embeds: Tensor, wish: bool | None) -> bool:
    """Whether a pass over latents (B, C, f, h, w) keeps less for a gradient: as wished; None: where they are large."""
    if not (torch.is_grad_enabled() and (latents.requires_grad or embeds.requires_grad)):
        return False
    return latents[:, 0].numel() > LARGE if wish is None else wish


@contextlib.contextmanager
def recomputed(network: nn.Module) -> Iterator[None]:
    """Keep only the inputs of the network's convolutional and temporal leaves for the gradient, and run them again
    when it is taken (Chen et al. 2016, arXiv 1604.06174).

    The spatial transformers, where attention is captured, are left as they are: a hook on a part that runs twice would
    see it twice, and one that stops the pass would stop the second run too. The graph outlives the context.
    """
    from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
    from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
    from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

    kinds = (ResnetBlock2D, TemporalConvLayer, TransformerTemporalModel, AnimateDiffTransformer3D)
    leaves = [module for module in network.modules() if isinstance(module, kinds)]
    before = [vars(leaf).get("forward") for leaf in leaves]
    for leaf in leaves:
        # The weights are in evaluation mode, without dropout: no random state to put back.
        again = functools.partial(checkpoint, leaf.forward, use_reentrant=False, preserve_rng_state=False)
        vars(leaf)["forward"] = again
    try:
        yield
    finally:
        for leaf, forward in zip(leaves, before, strict=True):
            del vars(leaf)["forward"]
            if forward is not None:
                vars(leaf)["forward"] = forward


@contextlib.contextmanager
def recomputed_blocks(network: Any) -> Iterator[None]:
    """Have a transformer keep only the inputs of its blocks for the gradient, and run them again when it is taken, save
    those in which a hook looks on: as in `recomputed`, where attention is captured nothing may run twice.

    `network` is one of diffusers', or has their two attributes for it.
    """

    def run(block: Any, *args: Any) -> Any:
        if any(module._forward_pre_hooks for module in block.modules()):
            return block(*args)
        return checkpoint(block.__call__, *args, use_reentrant=False, preserve_rng_state=False)

    kept = {name: vars(network).get(name) for name in ("gradient_checkpointing", "_gradient_checkpointing_func")}
    network.gradient_checkpointing, network._gradient_checkpointing_func = True, run
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(network, name, value)
