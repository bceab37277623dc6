"""From a model's name to the model: what it can do without its weights (`outline`), and the model itself (`load`)."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vxedit.backbones import tokens
from vxedit.backbones.hub import hub_folder
from vxedit.backbones.layout import Layout, find_layout
from vxedit.backbones.noise import Noise, noise
from vxedit.backbones.protocol import Backbone, Piece, Schedule, Size
from vxedit.backbones.sizes import Sizes, pixels_a_cell
from vxedit.errors import ModelError

EMBEDDED = Path(__file__).parent / "embedded"

HUB_NAMES = {"modelscope": "damo-vilab/text-to-video-ms-1.7b", "zeroscope": "cerspense/zeroscope_v2_576w"}
"""Short names. ModelScope's licence, CC-BY-NC-4.0, rules out commercial use."""

NAMES = ("embedded", *HUB_NAMES)

TRAINED_AT = {
    "damo-vilab/text-to-video-ms-1.7b": Size(16, 256, 256),
    "cerspense/zeroscope_v2_576w": Size(24, 320, 576),
    "cerspense/zeroscope_v2_XL": Size(24, 576, 1024),
    "camenduru/potat1": Size(24, 576, 1024),
}
"""Sizes that the fine-tuned models' own configurations, taken over from ModelScope, don't say."""

FRAMES = 16
"""What the family was trained on, where nothing says otherwise."""

MOST_TIMES_NATIVE = 3
"""The longest clip in one piece, in native lengths: the network takes any, but was trained on short ones."""

BIG_BYTES = 512 * 2**20
"""A network's file from which on an accelerator runs it narrow by default; a small one gains nothing from it."""


@dataclass(frozen=True)
class Place:
    """Where a model is: a folder, or an id on the hub. `native`: its size, where that's known by name."""

    name: str
    source: Path | str
    native: Size | None = None

    def layout(self, *, half: bool = False, need_weights: bool = True, allow_pickle: bool = False) -> Layout:
        """The model's files, checked; of a hub's model the weights only where they're needed."""
        if isinstance(self.source, Path):
            return find_layout(self.source, half=half, allow_pickle=allow_pickle)
        root = hub_folder(self.source, half=half, need_weights=need_weights, allow_pickle=allow_pickle)
        return find_layout(root, half=half, need_weights=need_weights, allow_pickle=allow_pickle)


class Outline:
    """What a model can do, known from its configuration and tokenizer alone."""

    def __init__(self, name: str, layout: Layout, sizes: Sizes, noise: Noise) -> None:
        self.name, self.native, self.max_frames = name, sizes.native, sizes.max_frames
        self._layout, self._sizes, self._noise = layout, sizes, noise

    def fit(self, frames: int, height: int, width: int) -> Size:
        """The nearest size that the model can do, as Backbone.fit. Raises UsageError where there is nothing to fit."""
        return self._sizes.fit(frames, height, width)

    def check(self, frames: int, height: int, width: int) -> Size:
        """The size as asked for. Raises UsageError, with the nearest, where the model can't do it."""
        return self._sizes.check(frames, height, width)

    def schedule(self, steps: int) -> Schedule:
        """The noise levels of `steps` steps. Raises UsageError where the model hasn't so many."""
        return self._noise.schedule(steps)

    def tokens(self, prompt: str) -> tuple[Piece, ...]:
        """The prompt's tokens. Raises UsageError where it is too long."""
        positions = self._layout.configs["text_encoder"].get("max_position_embeddings", 77)
        return tokens.pieces(self._tokenizer, prompt, tokens.text_limit(self._tokenizer, positions))

    @cached_property
    def _tokenizer(self) -> Any:
        return tokens.load_tokenizer(self._layout)


def outline(model: str, *, allow_pickle: bool = False) -> Outline:
    """What `model` (a name of NAMES, a folder, or a hub id "owner/name") can do. No weights are read or fetched.

    Raises ModelError where it is unknown, incomplete or of a kind that can't be used.
    """
    place = find(model)
    layout = place.layout(need_weights=False, allow_pickle=allow_pickle)
    return Outline(place.name, layout, sizes(layout, native=place.native), noise(layout.configs["scheduler"]))


def load(
    model: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    allow_pickle: bool = False,
    checkpoint_activations: bool | None = None,
) -> Backbone:
    """Load `model`, named as for `outline`. Every call loads it anew.

    `device` "auto" is the first accelerator, else the processor; `dtype` "auto" (or fp32, fp16, bf16) is
    narrow for big networks on an accelerator. `checkpoint_activations` as UNet3D's. Raises ModelError as `outline`,
    and where the weights can't be read; UsageError for a device or dtype that isn't there.
    """
    from vxedit.backbones.device import choose_device, choose_dtype
    from vxedit.backbones.unet3d import UNet3D

    where, place = choose_device(device), find(model)
    narrow = choose_dtype(dtype, where, big=True)
    half = narrow.itemsize < 4
    layout = place.layout(half=half, allow_pickle=allow_pickle)
    big = (layout.root / layout.weights["unet"].file).stat().st_size > BIG_BYTES
    chosen = choose_dtype(dtype, where, big=big)
    if half and chosen.itemsize == 4:
        layout = place.layout(allow_pickle=allow_pickle)
    return UNet3D.load(
        layout,
        sizes(layout, native=place.native),
        name=place.name,
        device=where,
        dtype=chosen,
        checkpoint_activations=checkpoint_activations,
    )


def find(model: str) -> Place:
    """Where `model` is. A folder wins over a hub id. Raises ModelError, with the nearest names, where it is none."""
    folder = Path(model).expanduser()
    if model == "embedded":
        if not EMBEDDED.is_dir():
            raise ModelError(f"the embedded model's folder, {EMBEDDED}, is missing: install vxedit again")
        return Place(model, EMBEDDED)
    if model in HUB_NAMES:
        return Place(model, HUB_NAMES[model], native=TRAINED_AT[HUB_NAMES[model]])
    if folder.is_dir():
        return Place(folder.resolve().name, folder)
    if folder.is_file():
        raise ModelError(f"{model} is a file: give the folder in diffusers' layout that the model is in")
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", model):
        return Place(model, model, native=TRAINED_AT.get(model))
    near = difflib.get_close_matches(model.lower(), NAMES, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ModelError(f"unknown model {model!r}; {hint}Give {', '.join(NAMES)}, a folder, or a hub id like owner/name")


def sizes(layout: Layout, *, native: Size | None = None) -> Sizes:
    """Which clips the model in `layout` can do: as its model_index.json says under "vxedit", else `native`, else the
    network's sample size."""
    network, settings = layout.configs["unet"], layout.settings
    cell = pixels_a_cell(layout.configs["vae"])
    sample = network.get("sample_size") or 32
    tall, wide = (sample, sample) if isinstance(sample, int) else sample
    frames, height, width = native or Size(FRAMES, tall * cell, wide * cell)
    size = Size(settings.get("frames", frames), settings.get("height", height), settings.get("width", width))
    halvings = len(network["block_out_channels"]) - 1
    most = settings.get("max_frames", MOST_TIMES_NATIVE * size.frames)
    return Sizes(native=size, multiple=cell * 2**halvings, max_frames=most)
