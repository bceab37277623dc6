"""What the backbones over video transformers share: everything but how their network is called."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from vxedit.backbones.borrowed import recomputed_blocks, to_recompute
from vxedit.backbones.family import Facts
from vxedit.backbones.flow import TIMESTEPS, scale_of
from vxedit.backbones.identity import identity as identity_of
from vxedit.backbones.layout import Layout
from vxedit.backbones.placing import Parts, part_of
from vxedit.backbones.protocol import Attention, Control, Layer, Piece, Schedule, Size, Text
from vxedit.backbones.sizes import Length
from vxedit.backbones.steering import chosen_layers
from vxedit.errors import UsageError

MIDDLE = (0.25, 0.5)
"""The layers of the network, by the share of a pass that is over, whose maps are taken where nothing says which. Early
ones look at words before they know the picture; late ones cost more to reach. To be tuned on real weights."""

MOST_WATCHED = 3
"""How many of them, evenly spread: each keeps a whole block's activations for the gradient."""


class Codec(Protocol):
    """Frames to latents and back, as Backbone's encode and decode, by its `modules`."""

    def modules(self) -> tuple[Any, ...]: ...

    @property
    def length(self) -> Length: ...

    @property
    def cell(self) -> int: ...

    def encode(self, frames: np.ndarray) -> Tensor: ...

    def decode(self, latents: Tensor, frames: int) -> np.ndarray: ...


class Prompts(Protocol):
    """Prompts to embeddings, as Backbone's text and tokens, by its `modules`."""

    def modules(self) -> tuple[Any, ...]: ...

    def text(self, prompt: str) -> Text: ...

    def tokens(self, prompt: str) -> tuple[Piece, ...]: ...


@dataclass(frozen=True)
class Loaded:
    """The parts of a model, ready for work. `network`: the one whose weights are in the number format asked for (of
    several `experts` the first); `patch`: frames, height and width of a token in latent cells; `channels` of its
    latents."""

    network: Any
    codec: Codec
    prompts: Prompts
    layers: tuple[Layer, ...]
    patch: tuple[int, int, int]
    channels: int
    experts: tuple[Any, ...] = ()


class VideoTransformer(Parts):
    """A Backbone over a transformer whose tokens are the patches of a clip, in the order frames, height, width.

    A family says with `loaded` how its parts are made and with `forward` how its network is called; with `told` what
    else it takes from the model's files. `checkpoint_activations`: whether gradients are taken with recomputed
    activations; None: where latents are large.
    """

    def __init__(
        self,
        loaded: Loaded,
        facts: Facts,
        *,
        name: str,
        identity: str,
        checkpoint_activations: bool | None = None,
    ) -> None:
        network, codec, prompts = loaded.network, loaded.codec, loaded.prompts
        self.network, self.codec, self.prompts = network, codec, prompts
        self.patch, self.channels = loaded.patch, loaded.channels
        self._layers = loaded.layers
        self._experts = loaded.experts or (network,)
        self._steering = chosen_layers(self._layers, facts.steering) if facts.steering else _middle(self._layers)
        networks = {part_of(i): expert for i, expert in enumerate(self._experts)}
        others = {"vae": codec.modules(), "text_encoder": prompts.modules()}
        super().__init__(
            {**networks, **{part: nn.ModuleList(modules) for part, modules in others.items()}},
            facts,
            name=name,
            identity=identity,
            checkpoint_activations=checkpoint_activations,
        )

    @classmethod
    def load(
        cls,
        layout: Layout,
        facts: Facts,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        checkpoint_activations: bool | None = None,
    ) -> Self:
        """Load every part of `layout` onto `device`, the network and the text encoder in `dtype`, the autoencoder,
        whose errors would be every result's, in float32. Raises ModelError where one can't be."""
        made = cls(
            cls.loaded(layout, facts, device=device, dtype=dtype),
            facts,
            name=name,
            identity=identity_of(layout),
            checkpoint_activations=checkpoint_activations,
        )
        made.told(layout)
        return made

    @classmethod
    def loaded(cls, layout: Layout, facts: Facts, *, device: torch.device, dtype: torch.dtype) -> Loaded:
        """The parts, as for `load`."""
        raise NotImplementedError

    def told(self, layout: Layout) -> None:
        """Take what else the model's files say."""

    def forward(self, x: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        """The network's output (B, C, f, h, w) for latents x of that shape on the scale it was trained on, and embeds
        (B, L, D), both in its own dtype."""
        raise NotImplementedError

    def expert(self, timestep: float) -> int:
        """Which of the experts runs at a timestep."""
        return 0

    def latent_shape(self, size: Size) -> tuple[int, int, int, int, int]:
        cell = self.codec.cell
        return (1, self.channels, self.codec.length.latents(size.frames), size.height // cell, size.width // cell)

    def fit(self, frames: int, height: int, width: int) -> Size:
        return self._facts.sizes.fit(frames, height, width)

    def encode(self, frames: np.ndarray) -> Tensor:
        self.use("vae")
        return self.codec.encode(frames)

    def decode(self, latents: Tensor, frames: int) -> np.ndarray:
        self.use("vae")
        return self.codec.decode(latents, frames)

    def text(self, prompt: str) -> Text:
        return self.remembered(prompt, self.prompts.text)

    def tokens(self, prompt: str) -> tuple[Piece, ...]:
        return self.prompts.tokens(prompt)

    def unconditional(self, prompt: str) -> Tensor:
        return self.text("").embeds

    def predict(self, latents: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        if embeds.ndim != 3 or len(embeds) != len(latents):
            raise ValueError(
                f"for latents {tuple(latents.shape)} embeds must be ({len(latents)}, L, D), got {tuple(embeds.shape)}"
            )
        self.use(part_of(self.expert(timestep)))
        scale = scale_of(timestep / TIMESTEPS) if self.parameterization == "flow" else 1.0
        moved, text = (given.to(self.device, self.dtype) for given in (scale * latents, embeds))
        with contextlib.ExitStack() as borrowed:
            if self._recomputes(latents, embeds):
                for expert in self._experts:
                    borrowed.enter_context(recomputed_blocks(expert))
            output = self.forward(moved, timestep, text)
        return output.float()

    def layers(self) -> tuple[Layer, ...]:
        return self._layers

    def attentions(self) -> tuple[Attention, ...]:
        return ()

    @contextlib.contextmanager
    def controlled(self, control: Control) -> Iterator[None]:
        raise UsageError(f"the attention of {self.name} can't be replaced: take another recipe, or a U-Net model")
        yield

    def steering_layers(self) -> tuple[str, ...]:
        return self._steering

    def grid(self, maps: Tensor, latents: Tensor) -> Tensor:
        batch, _, frames, height, width = latents.shape
        deep, tall, wide = (-(-side // step) for side, step in zip((frames, height, width), self.patch, strict=True))
        if maps.numel() != batch * deep * tall * wide:
            raise ValueError(f"maps {tuple(maps.shape)} don't come from latents {tuple(latents.shape)}")
        # A token of several frames tells the same of each; what a clip lacks of a whole one is padded in front.
        return maps.reshape(batch, deep, tall, wide).repeat_interleave(self.patch[0], 1)[:, -frames:]

    def spans(self, frames: int) -> tuple[tuple[int, ...], ...]:
        return self.codec.length.spans(frames)

    def schedule(self, steps: int, shape: Sequence[int] | None = None, *, invertible: bool = False) -> Schedule:
        return self._facts.levels.schedule(steps, shape, invertible=invertible)

    def _recomputes(self, latents: Tensor, embeds: Tensor) -> bool:
        return to_recompute(latents, embeds, self.checkpoint_activations)


def _middle(layers: Sequence[Layer]) -> tuple[str, ...]:
    """A few layers in the network's middle, or the nearest to it."""
    low, high = MIDDLE
    inside = [layer.name for layer in layers if low <= layer.share <= high]
    if not inside:
        return (min(layers, key=lambda layer: abs(layer.share - (low + high) / 2)).name,)
    chosen = np.linspace(0, len(inside) - 1, min(MOST_WATCHED, len(inside))).round().astype(int)
    return tuple(inside[i] for i in chosen)
