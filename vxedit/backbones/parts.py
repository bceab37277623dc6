"""Loading a model's parts from its files: the classes, the variants and the files that layout.py has chosen."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any, Literal

import torch

from vxedit.backbones.layout import Layout, first_line
from vxedit.errors import ModelError


def load_part(
    layout: Layout, part: str, *, device: torch.device, dtype: torch.dtype, kind: Any = None, **options: Any
) -> Any:
    """A part of the model, in evaluation mode and with weights that take no gradient.

    `kind`: its class; None: diffusers' that its configuration names. Raises ModelError where it can't be loaded, or its
    weights are not all there.
    """
    import diffusers

    kind = kind or getattr(diffusers, layout.configs[part]["_class_name"])
    if issubclass(kind, diffusers.ModelMixin):
        options = {**_low_memory(), **options}
    weights = layout.weights[part]
    where = f"{layout.tree}/{weights.file}"
    try:
        with no_progress_bars():
            model, report = kind.from_pretrained(
                str(layout.folder(part)),
                variant=weights.variant,
                use_safetensors=weights.safe,
                dtype=dtype,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    except Exception as err:
        raise ModelError(f"{where} can't be loaded: {first_line(err)}; get the model's files again") from err
    # Both libraries fill in what a file lacks with random numbers, and go on.
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{where} lacks {len(missing)} of the weights that its config.json asks for, "
            f"{missing[0]} among them: get both files from the same place"
        )
    return model.eval().requires_grad_(False).to(device)


def load_clip_text(layout: Layout, *, device: torch.device) -> Any:
    """CLIP's text encoder, in float32: it is small and runs once a prompt."""
    from transformers import CLIPTextModel

    return load_part(layout, "text_encoder", device=device, dtype=torch.float32, kind=CLIPTextModel)


def _low_memory() -> dict[str, bool]:
    """diffusers warns where it can't load with little memory for want of accelerate."""
    return {"low_cpu_mem_usage": importlib.util.find_spec("accelerate") is not None}


@contextlib.contextmanager
def unreported(library: Literal["diffusers", "transformers"]) -> Iterator[None]:
    """While this is open, the library warns of nothing: neither of settings nor of weights beyond those that it takes.
    Of missing ones load_part tells."""
    logging = importlib.import_module(f"{library}.utils.logging")
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


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
