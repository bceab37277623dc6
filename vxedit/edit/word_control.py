"""The noise of a word edit: the old prompt's attention taken over by the new prompt's pass, step by step.

Prompt-to-prompt (Hertz et al. 2022, arXiv 2208.01626, algorithm 1) on an inverted clip: at every step one pass of the
source under its prompt, and one of the edited clip under the new prompt that uses the source's attention. Attention
over time is left to itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.backbones.protocol import AttentionCall, Backbone
from vxedit.edit.attending import logits, mixed
from vxedit.edit.attention import mean_map
from vxedit.edit.words import WordEdit
from vxedit.errors import UsageError
from vxedit.invert.ddim import guided
from vxedit.invert.inversion import Inversion, denoiser

LAYOUT_CELLS = 16 * 16
"""Token grids up to this size hold a frame's layout; finer ones its texture, which the new words may change."""


@dataclass(frozen=True)
class TakeoverSettings:
    """`cross`, `self_`: the shares of the steps, from the first on, that take over the source's attention to the text
    and over a frame's places. `blend`: the share of a frame's highest attention from which on a place may change, in
    the steps from the share `blend_from` on."""

    cross: float = 0.6
    self_: float = 0.3
    blend: float = 0.3
    blend_from: float = 0.2


class WordMaps(NamedTuple):
    """How much the source looks at the words that go or change, and the edited clip at those that come or change: the
    mean over the steering layers, float32 in 0..1 (f, h, w) on the latents' grid, before any reweighting; zero without
    such words."""

    source: Tensor
    target: Tensor


class WordDenoiser:
    """The edited clip's noise at each step of an inversion. `forwards` counts its passes; `attention` are the maps of
    the last call, None before the first.

    `scale` None: the inversion's own. `cells`: the largest token grid whose attention over places is taken over.
    Raises UsageError where the edit is not one of the inversion's prompt.
    """

    def __init__(
        self,
        backbone: Backbone,
        inversion: Inversion,
        edit: WordEdit,
        *,
        scale: float | None,
        settings: TakeoverSettings,
        cells: int = LAYOUT_CELLS,
    ) -> None:
        if edit.prompt != inversion.prompt:
            raise UsageError(
                f"the edit is of the prompt {edit.prompt!r} and the clip was inverted under {inversion.prompt!r}; "
                "invert it under the edit's prompt"
            )
        self.backbone, self.edit, self.settings, self.cells = backbone, edit, settings, cells
        self.attention: WordMaps | None = None
        self._plain = denoiser(backbone, inversion, scale)
        self._embeds = backbone.text(edit.target).embeds
        length = self._embeds.shape[1]
        self._takeover = Takeover(
            torch.from_numpy(edit.mapping(length)).to(backbone.device),
            torch.from_numpy(edit.factors(length)).to(backbone.device),
        )

    @property
    def forwards(self) -> int:
        return self._plain.forwards

    @torch.no_grad()
    def __call__(self, x: Tensor, i: int, source: Tensor) -> Tensor:
        """The guided noise (1, C, f, h, w) of x at step i, given the source's latents there. The source's own pass is
        left out where nothing of it is needed. Raises ValueError where the two have different shapes."""
        if x.shape != source.shape:
            raise ValueError(f"latents {tuple(x.shape)} can't take over the attention of {tuple(source.shape)}")
        text, space = self._within(self.settings.cross, i), self._within(self.settings.self_, i)
        steering = self.backbone.steering_layers()
        seen = Seen(steering, self.edit.source_changed, text=text, space=space, cells=self.cells)
        if text or space or self.edit.source_changed:
            with self.backbone.controlled(seen):
                self._plain.noise(source, i, self._plain.conditional)
        taken = Taken(steering, self.edit.changed, seen, self._takeover)
        with self.backbone.controlled(taken):
            eps = self._plain.noise(x, i, self._embeds)
        self.attention = WordMaps(_mean(seen.maps, x), _mean(taken.maps, x))
        if self._plain.scale == 1 or self._plain.unconditional is None:
            return eps
        # Equal embeddings don't make the passes equal: only one of them takes over the source's attention.
        return guided(self._plain.noise(x, i, self._plain.null(i)), eps, self._plain.scale)

    def blended(self, x: Tensor, i: int, source: Tensor) -> Tensor:
        """Latents after step i, and the source's there: from `blend_from` on the source's own wherever the last call
        saw neither the words that go nor those that come."""
        if self.attention is None or self._within(self.settings.blend_from, i):
            return x
        return local_blend(source, x, *self.attention, self.settings.blend)

    def _within(self, share: float, i: int) -> bool:
        return i < round(share * len(self._plain.schedule))


def local_blend(
    source: Tensor, edited: Tensor, attention_source: Tensor, attention_target: Tensor, threshold: float
) -> Tensor:
    """The edited latents (1, C, f, h, w) where a word is looked at, the source's, bit for bit, elsewhere (Hertz et al.
    2022, section 4, "local editing").

    A word is looked at where the highest of its map (f, h, w) among a cell and its eight neighbours is above
    `threshold` times that of the frame.
    """
    mask = _looked_at(attention_source, threshold) | _looked_at(attention_target, threshold)
    return torch.where(mask, edited, source)


def _looked_at(attention: Tensor, threshold: float) -> Tensor:
    highest = attention.amax((1, 2), keepdim=True)
    return F.max_pool2d(attention, kernel_size=3, stride=1, padding=1) > threshold * highest


@dataclass(frozen=True)
class Takeover:
    """`mapping` (L, L) from the source's text columns to the target's, zero in columns that are the target's own, and
    `factors` (L,) for the target's."""

    mapping: Tensor
    factors: Tensor

    def own(self) -> Tensor:
        """Which target columns take nothing over: bool (L,)."""
        return ~self.mapping.bool().any(0)


@dataclass
class Seen:
    """A control that changes nothing and keeps, of one pass: the probabilities (B', heads, N, L) of attention to the
    `text`, the attention over `space` at up to `cells` tokens, each where asked, and by layer the `maps` (B, f, h, w)
    of `columns` in the `layers` named."""

    layers: Sequence[str]
    columns: Sequence[int]
    text: bool
    space: bool
    cells: int
    probabilities: dict[str, Tensor] = field(default_factory=dict)
    spaces: dict[str, AttentionCall] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, call: AttentionCall) -> None:
        name = call.attention.name
        if call.attention.kind == "space" and self.space and call.height * call.width <= self.cells:
            self.spaces[name] = call
        mapped = bool(self.columns) and name in self.layers
        if call.attention.kind == "text" and (self.text or mapped):
            found = logits(call).softmax(-1)
            if mapped:
                self.maps[name] = _map(call, found, self.columns)
            if self.text:
                # 8 bits of a bfloat16 are too few for what is summed over; probabilities need none of its range
                self.probabilities[name] = found if call.query.dtype == torch.float32 else found.half()


@dataclass
class Taken:
    """A control that uses what was `seen` of the source: its text probabilities carried over to the target's columns,
    its queries and keys over space with the pass's own values. Leaves its own `maps` as Seen does.

    Text probabilities then need not sum to 1: words were dropped, have come in or were reweighted. As published, they
    are not normalised again. Reweighting, other than in the published code, does not end with the takeover.
    """

    layers: Sequence[str]
    columns: Sequence[int]
    seen: Seen
    takeover: Takeover
    maps: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, call: AttentionCall) -> Tensor | None:
        name = call.attention.name
        if name in self.seen.spaces:
            source = self.seen.spaces[name]
            return F.scaled_dot_product_attention(source.query, source.key, call.value, attn_mask=source.bias)
        if call.attention.kind != "text":
            return None
        found = logits(call).softmax(-1)
        if name in self.seen.probabilities:
            carried = self.seen.probabilities[name].float() @ self.takeover.mapping
            found = torch.where(self.takeover.own(), found, carried)
        if self.columns and name in self.layers:
            self.maps[name] = _map(call, found, self.columns)
        return mixed(found * self.takeover.factors, call)


def _map(call: AttentionCall, found: Tensor, columns: Sequence[int]) -> Tensor:
    """The probability of any of the columns, the heads' mean: (B, f, h, w)."""
    return found[..., list(columns)].sum(-1).mean(1).view(call.batch, call.frames, call.height, call.width)


def _mean(maps: dict[str, Tensor], x: Tensor) -> Tensor:
    """One map (f, h, w) on the grid of latents x (1, C, f, h, w); zero without maps."""
    if not maps:
        return torch.zeros(x.shape[2:], device=x.device)
    height, width = x.shape[-2:]
    return mean_map(maps, (height, width))[0]
