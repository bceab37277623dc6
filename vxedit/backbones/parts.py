"""Loading a model's parts from its folder: the classes, the variants and the files that layout.py has chosen."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import torch

from vxedit.backbones.layout import Layout, first_line
from vxedit.errors import ModelError


def load_unet(layout: Layout, *, device: torch.device, dtype: torch.dtype) -> Any:
    """The denoising network, like every part in evaluation mode and with weights that take no gradient."""
    from diffusers import UNet3DConditionModel

    return _load(UNet3DConditionModel, layout, "unet", device=device, dtype=dtype, **_low_memory())


def load_vae(layout: Layout, *, device: torch.device) -> Any:
    """The autoencoder, of the class that its configuration names, in float32: its errors would be every result's."""
    import diffusers

    kind = getattr(diffusers, layout.configs["vae"]["_class_name"])
    return _load(kind, layout, "vae", device=device, dtype=torch.float32, **_low_memory())


def load_text_encoder(layout: Layout, *, device: torch.device) -> Any:
    """The text encoder, in float32: it runs once a prompt."""
    from transformers import CLIPTextModel

    return _load(CLIPTextModel, layout, "text_encoder", device=device, dtype=torch.float32)


def _load(kind: Any, layout: Layout, part: str, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Any:
    weights = layout.weights[part]
    try:
        with no_progress_bars():
            model, report = kind.from_pretrained(
                str(layout.root / part),
                variant=weights.variant,
                use_safetensors=weights.safe,
                dtype=dtype,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    except Exception as err:
        message = f"{layout.root}/{weights.file} can't be loaded: {first_line(err)}; get the model's files again"
        raise ModelError(message) from err
    # Both libraries fill in what a file lacks with random numbers, and go on.
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{layout.root}/{weights.file} lacks {len(missing)} of the weights that its config.json asks for, "
            f"{missing[0]} among them: get both files from the same place"
        )
    return model.eval().requires_grad_(False).to(device)


def _low_memory() -> dict[str, bool]:
    """diffusers warns where it can't load with little memory for want of accelerate."""
    return {"low_cpu_mem_usage": importlib.util.find_spec("accelerate") is not None}


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """While this is open, transformers loads in silence."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
