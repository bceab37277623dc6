"""What every text-to-video model offers to the rest of vxedit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

Parameterization = Literal["epsilon", "v_prediction", "flow"]


class Size(NamedTuple):
    """A clip's size in pixels and frames."""

    frames: int
    height: int
    width: int


class Piece(NamedTuple):
    """One text token: its column in the embeddings and the characters [start, end) of the prompt that it covers."""

    column: int
    start: int
    end: int


@dataclass(frozen=True)
class Text:
    """A prompt as the model sees it. `embeds` (1, L, D) float32, in which a row of zeros is no token to a model that
    reads text under a mask; `pieces` leaves out start, end and padding tokens."""

    prompt: str
    embeds: Tensor
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Schedule:
    """The noise levels of a run of N steps, most noise first.

    Step i takes latents from level `abar[i]`, where the model is called with `timesteps[i]`, to level `abar[i + 1]`.
    `abar` has N + 1 entries, rising; its last is the level at which clean latents are taken to be.
    """

    timesteps: tuple[float, ...]
    abar: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.timesteps)


@dataclass(frozen=True)
class Layer:
    """One text attention that can be captured.

    `qk(module, args, kwargs)` gives, from the arguments the module is called with, its queries and keys
    (B', heads, N, d) and an additive bias or None. `share` is the part of a forward pass that is over once this layer
    has run, 0 to 1. `stride` is the token grid's cell in latent cells (1 at the finest). `twins`: modules that run in
    its place at other levels of noise, in models of several experts.
    """

    name: str
    module: nn.Module
    qk: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], tuple[Tensor, Tensor, Tensor | None]]
    share: float
    stride: int
    twins: tuple[nn.Module, ...] = ()


AttentionKind = Literal["text", "space", "time"]


@dataclass(frozen=True)
class Attention:
    """One attention of the network: to the "text", over the "space" of a frame, or over the "time" of a place.
    `stride`: its token grid's cell in latent cells."""

    name: str
    kind: AttentionKind
    module: Any
    stride: int


@dataclass(frozen=True)
class AttentionCall:
    """What an attention is about to compute: queries (B', heads, N, d), keys and values (B', heads, L, d), an additive
    bias that broadcasts to (B', heads, N, L) or None, over `batch` clips of `frames` token frames of `height` x
    `width`.

    In "text" and "space", B' = batch * frames and N = height * width; in "time", B' = batch * height * width and N =
    frames; clips vary slowest.
    """

    attention: Attention
    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor | None
    batch: int
    frames: int
    height: int
    width: int


Control = Callable[[AttentionCall], "Tensor | None"]
"""Gives an attention's output (B', heads, N, d) in place of its own, or None to leave it."""


class Backbone(Protocol):
    """A loaded text-to-video model. Latents are float32 (1, C, f, h, w), already scaled, and sqrt(abar) clean +
    sqrt(1 - abar) noise at every level, whatever the model was trained on; the network may run narrower."""

    name: str
    parameterization: Parameterization
    device: torch.device
    dtype: torch.dtype
    native: Size
    identity: str
    """Hash over configuration and weights' names, sizes and content: what an inversion belongs to."""

    shared_noise: float
    """The part of their noise's variance, 0 to 1, that the frames of a generated clip have in common."""

    guidance_scale: float
    """The scale of classifier-free guidance that clips are generated at unless another is asked for."""

    steps: int
    """The steps that clips are generated in unless others are asked for."""

    eta: float
    """How much of its noise a clip's generation draws anew in each step, 0 (DDIM) to 1 (DDPM), likewise."""

    steady: bool
    """Whether objects that are moved in its clips are kept on one way while these are generated."""

    per_frame: bool
    """Whether `predict` takes embeddings one a frame."""

    def latent_shape(self, size: Size) -> tuple[int, int, int, int, int]:
        """The shape (1, C, f, h, w) of the latents of a clip of a size that `fit` gives."""
        ...

    def fit(self, frames: int, height: int, width: int) -> Size:
        """The nearest size that the model can do: sides at the model's multiple, area near its native area,
        aspect kept as well as the multiple allows, frames as asked within the model's range."""
        ...

    def encode(self, frames: np.ndarray) -> Tensor:
        """uint8 (F, H, W, 3) to latents (1, C, f, h, w): the mean of the posterior, scaled. A clip whose length isn't
        one that the model takes is continued with its last frame."""
        ...

    def decode(self, latents: Tensor, frames: int) -> np.ndarray:
        """Latents to uint8 (frames, H, W, 3), rounded."""
        ...

    def text(self, prompt: str) -> Text:
        """Embed a prompt. Raises UsageError, naming the words that were cut, where it is too long."""
        ...

    def tokens(self, prompt: str) -> tuple[Piece, ...]:
        """The prompt's tokens, from the tokenizer alone."""
        ...

    def unconditional(self, prompt: str) -> Tensor:
        """The embeddings (1, L, D) that classifier-free guidance sets against the prompt's."""
        ...

    def predict(self, latents: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        """The model's output for latents (B, C, f, h, w) under embeds (B, L, D) or, one a frame where `per_frame`,
        (B, f, L, D); float32, the latents' shape. Keeps the graph where gradients are enabled."""
        ...

    def layers(self) -> tuple[Layer, ...]:
        """The text attentions in the order in which they run."""
        ...

    def attentions(self) -> tuple[Attention, ...]:
        """Every attention of the network that can be controlled, in the order in which they run."""
        ...

    def controlled(self, control: Control) -> AbstractContextManager[None]:
        """While this is open, every pass of predict asks `control` at each of `attentions()`. Contexts nest: the inner
        one rules alone. The model is as before when it ends."""
        ...

    def steering_layers(self) -> tuple[str, ...]:
        """The names of the layers whose maps localise objects best in this family."""
        ...

    def grid(self, maps: Tensor, latents: Tensor) -> Tensor:
        """Maps over a layer's tokens (B', N) to (B, f, h', w'), one a frame of the latents they were made from."""
        ...

    def spans(self, frames: int) -> tuple[tuple[int, ...], ...]:
        """For every frame of the latents of a clip of `frames` frames, the ones that it covers."""
        ...

    def schedule(self, steps: int, shape: Sequence[int] | None = None, *, invertible: bool = False) -> Schedule:
        """The noise levels of a run of `steps` steps over latents of `shape` (1, C, f, h, w), on which they depend in
        some families. `invertible`: they begin where there is signal enough left to invert a clip; otherwise a
        generated clip's noise lies at the first."""
        ...
