"""Open-Sora-Plan 1.2.0: Allegro's network under other settings, mT5 under a mask, and a causal autoencoder of its own.

Lin et al. 2024, arXiv 2412.00131.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load_file

from vxedit.backbones.allegro import Allegro, loaded
from vxedit.backbones.families.opensora_plan import CELL_PX, STEP
from vxedit.backbones.family import Facts
from vxedit.backbones.layout import Layout, first_line
from vxedit.backbones.opensora_plan.causal_vae import SCALE, CausalVae, causal_vae_config, published_weights
from vxedit.backbones.parts import load_part, unreported
from vxedit.backbones.sizes import Length
from vxedit.backbones.texts import T5Text
from vxedit.backbones.tiles import Axis, Run, Runs, faded, sharing_a_frame
from vxedit.backbones.transformer import Loaded
from vxedit.backbones.video_vae import VideoVae
from vxedit.errors import ModelError

PIECE_FRAMES, PIECE_PX, OVERLAP_PX = 29, 256, 32
"""The largest piece that the autoencoder takes at once, as the authors set it where memory is short."""

SAME_AS_ALLEGRO: Mapping[str, Any] = {
    "use_rope": True,
    "norm_type": "ada_norm_single",
    "activation_fn": "gelu-approximate",
    "downsampler": None,
}
"""Settings under which the authors' network is AllegroTransformer3DModel; others make it another one."""


class OpenSoraPlan(Allegro):
    """A Backbone over Open-Sora-Plan's published parts."""

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        """As VideoTransformer's. Raises ModelError also where the network is one of the authors' others."""
        from diffusers import AllegroTransformer3DModel

        for setting, wanted in SAME_AS_ALLEGRO.items():
            if (got := layout.configs["transformer"].get(setting, wanted)) != wanted:
                raise ModelError(
                    f"{layout.folder('transformer')}/config.json has {setting} {got!r}, vxedit's network {wanted!r}: "
                    "take a network of Open-Sora-Plan 1.2.0"
                )
        with unreported("diffusers"):  # it would warn that the configuration is that of another class
            network = load_part(layout, "transformer", device=device, dtype=dtype, kind=AllegroTransformer3DModel)
        prompts = T5Text.load(
            layout, facts, kind="MT5EncoderModel", device=device, dtype=dtype, reads_mask=True, zero_pads=True
        )
        return loaded(network, codec(load_vae(layout, device=device)), prompts)


def load_vae(layout: Layout, *, device: torch.device) -> CausalVae:
    """The autoencoder in float32, in evaluation mode and with weights that take no gradient. Raises ModelError where
    its checkpoint can't be read, or holds other weights than its configuration asks for."""
    config = causal_vae_config(layout.configs["vae"])
    weights = layout.weights["vae"]
    file = layout.path(weights.file)
    try:
        # Of a checkpoint of training only tensors and plain values are read: no code of its own is run.
        read = load_file(file) if weights.safe else torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as err:
        raise ModelError(f"{file} can't be loaded: {first_line(err)}; get the model's files again") from err
    with torch.device("meta"):
        vae = CausalVae(config)
    try:
        vae.load_state_dict(published_weights(read), strict=True, assign=True)
    except RuntimeError as err:
        raise ModelError(
            f"{file} doesn't hold the weights that its config.json asks for: {' '.join(str(err).split()[:30])}; get "
            "both files from the same place"
        ) from err
    return vae.to(device, torch.float32).eval().requires_grad_(False)


def codec(vae: CausalVae) -> VideoVae:
    """The autoencoder in pieces, as its authors run it; but their last piece may be a single cell, and here it is moved
    back to be whole."""

    def in_pieces(run: Run, frames: int, grows: float, shrunk: int) -> Run:
        for dim in (4, 3):
            run = faded(run, Axis(dim, PIECE_PX // shrunk, OVERLAP_PX // shrunk, grows))
        return sharing_a_frame(run, frames)

    runs = Runs(
        vae,
        in_pieces(vae.encode, PIECE_FRAMES, 1 / CELL_PX, 1),
        in_pieces(vae.decode, 1 + (PIECE_FRAMES - 1) // STEP, CELL_PX, CELL_PX),
    )
    return VideoVae(runs, Length(first=1, step=STEP), CELL_PX, 0.0, SCALE)
