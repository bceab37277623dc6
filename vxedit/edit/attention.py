"""Where the model looks for a word: its probability in the text attentions, seen from outside by hooks.

The map of a layer is the cross-attention of Rombach et al. 2022 (arXiv 2112.10752, section 3.3), for the columns of one
word as in Hertz et al. 2022 (arXiv 2208.01626): softmax over all keys of q k^T / sqrt(d), summed over the columns,
averaged over the heads. Processors stay as they are, so the model's output does too.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vxedit.backbones.protocol import Backbone, Layer
from vxedit.errors import UsageError

SHORT = 128
"""Up to so many keys the whole softmax is made, in float32; beyond, it would take more memory than the model does."""


@dataclass
class Capture:
    """What was seen in the latest pass, by layer, first to run first. `maps`: float32 in 0..1, (B, f, h, w), or (B, W,
    f, h, w) of `capture_words`; `features`, where asked for: what the layer's tokens hold, (B, f, h, w, C)."""

    maps: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)


class _Seen(Exception):
    """Every layer that was asked for has been seen: leave the pass."""


@contextlib.contextmanager
def capture(
    backbone: Backbone, columns: Sequence[int], *, layers: Sequence[str] | None = None, stop: bool = False
) -> Iterator[Capture]:
    """While this is open, `backbone.predict` leaves the maps of the text's `columns` in `.maps` of what is given.

    `layers`: names of backbone.layers(); None: its steering layers. Maps keep the graph where gradients are enabled.
    `stop`: the pass ends after the last of the layers, and with it the `with` block, without an error; nothing of the
    block after predict is run. Raises UsageError where a layer or a column isn't there.
    """
    with _watching(backbone, (columns,), layers, stop=stop, single=True) as seen:
        yield seen


@contextlib.contextmanager
def capture_words(
    backbone: Backbone,
    words: Sequence[Sequence[int]],
    *,
    layers: Sequence[str] | None = None,
    stop: bool = False,
    features: bool = False,
) -> Iterator[Capture]:
    """`capture` of several words at once, each given by its columns: maps are (B, W, f, h, w), in the words' order."""
    with _watching(backbone, words, layers, stop=stop, features=features) as seen:
        yield seen


@contextlib.contextmanager
def _watching(
    backbone: Backbone,
    words: Sequence[Sequence[int]],
    layers: Sequence[str] | None,
    *,
    stop: bool,
    single: bool = False,
    features: bool = False,
) -> Iterator[Capture]:
    wanted = _wanted(backbone, layers)
    if not words or not all(words):
        raise UsageError("no columns to capture: name a word that is in the prompt")
    chosen = tuple(tuple(columns) for columns in words)
    watch = _Watch(backbone, chosen, single, features, stop_at=len(wanted) if stop else None)
    with contextlib.ExitStack() as borrowed:
        if stop:
            borrowed.enter_context(contextlib.suppress(_Seen))
        borrowed.enter_context(_predict_watched(backbone, watch))
        for layer in wanted:
            look = functools.partial(watch.look, layer)
            for module in (layer.module, *layer.twins):
                borrowed.callback(module.register_forward_pre_hook(look, with_kwargs=True).remove)
        yield watch.seen


def attention_maps(
    backbone: Backbone,
    latents: Tensor,
    timestep: float,
    embeds: Tensor,
    columns: Sequence[int],
    *,
    layers: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """The maps that `capture` gives for this call of predict, by layer, from a pass that ends after the last one."""
    with capture(backbone, columns, layers=layers, stop=True) as seen:
        backbone.predict(latents, timestep, embeds)
    return seen.maps


def words_maps(
    backbone: Backbone,
    latents: Tensor,
    timestep: float,
    embeds: Tensor,
    words: Sequence[Sequence[int]],
    *,
    layers: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """The maps of several words, each given by its columns, from one pass that ends after the last layer: (B, W, f, h,
    w) by layer."""
    with capture_words(backbone, words, layers=layers, stop=True) as seen:
        backbone.predict(latents, timestep, embeds)
    return seen.maps


def mean_map(maps: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
    """The mean of `maps`, (B, f, h', w') each, brought bilinearly to one grid of `size` (h, w): (B, f, h, w).

    Coarser grids are reached by averaging over the cells' area, not by sampling. Raises ValueError without maps.
    """
    if not maps:
        raise ValueError("no maps to average")
    scaled = [F.interpolate(m, size=size, mode="bilinear", align_corners=False, antialias=True) for m in maps.values()]
    return torch.stack(scaled).mean(0)


def word_probability(query: Tensor, key: Tensor, bias: Tensor | None, columns: Sequence[int]) -> Tensor:
    """The probability that a query looks at any of the `columns`: q (B, heads, N, d), k (B, heads, L, d), additive bias
    that broadcasts to (B, heads, N, L) or None; gives float32 (B, heads, N)."""
    return words_probability(query, key, bias, (columns,))[:, :, 0]


def words_probability(query: Tensor, key: Tensor, bias: Tensor | None, words: Sequence[Sequence[int]]) -> Tensor:
    """`word_probability` for several words at once: float32 (B, heads, W, N)."""
    if key.shape[2] <= SHORT:
        scores = query.float() @ key.float().transpose(-1, -2) / query.shape[-1] ** 0.5
        scores = scores if bias is None else scores + bias.float()
        probability = scores.softmax(-1)
        return torch.stack([probability[..., list(columns)].sum(-1) for columns in words], 2)
    # With values 1 at a word's columns and 0 elsewhere, attention's output is their probability, in memory O(N d).
    found = []
    for start in range(0, len(words), key.shape[3]):
        some = words[start : start + key.shape[3]]
        value = torch.zeros_like(key)
        for i, columns in enumerate(some):
            value[:, :, list(columns), i] = 1
        found.append(F.scaled_dot_product_attention(query, key, value, attn_mask=bias)[..., : len(some)])
    return torch.cat(found, -1).transpose(2, 3).float()


@dataclass
class _Watch:
    """What the hooks share. `latents` are those of the pass in progress: a hook sees tokens alone, and their grid comes
    from the latents. `single`: maps of the one word without a dimension for it. `stop_at`: the number of layers to end
    the pass after."""

    backbone: Backbone
    words: tuple[tuple[int, ...], ...]
    single: bool
    features: bool
    stop_at: int | None
    seen: Capture = field(default_factory=Capture)
    latents: Tensor | None = None

    def look(self, layer: Layer, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.latents is None:
            raise RuntimeError("the model was run past backbone.predict, or by a predict taken before capture")
        query, key, bias = layer.qk(module, args, kwargs)
        last = key.shape[2] - 1
        for columns in self.words:
            if not all(0 <= column <= last for column in columns):
                raise UsageError(f"columns {columns} are not all in 0..{last}: take them from this prompt's tokens")
        probability = words_probability(query, key, bias, self.words).mean(1)  # (B', W, N)
        maps = torch.stack([self._on_grid(one) for one in probability.unbind(1)], 1)
        self.seen.maps[layer.name] = maps[:, 0] if self.single else maps
        if self.features:
            tokens = args[0] if args else kwargs["hidden_states"]  # (B', N, C)
            self.seen.features[layer.name] = torch.stack([self._on_grid(one) for one in tokens.float().unbind(-1)], -1)
        if len(self.seen.maps) == self.stop_at:
            raise _Seen

    def _on_grid(self, values: Tensor) -> Tensor:
        assert self.latents is not None
        return self.backbone.grid(values, self.latents)


@contextlib.contextmanager
def _predict_watched(backbone: Backbone, watch: _Watch) -> Iterator[None]:
    """Have predict say which latents it is called with. What it is for so long stands in the object's own dictionary,
    which is looked up before the class."""
    own = vars(backbone)
    before, predict = own.get("predict"), backbone.predict

    @functools.wraps(predict)
    def watched(latents: Tensor, timestep: float, embeds: Tensor) -> Tensor:
        watch.seen.maps, watch.seen.features, watch.latents = {}, {}, latents
        try:
            return predict(latents, timestep, embeds)
        finally:
            watch.latents = None

    own["predict"] = watched
    try:
        yield
    finally:
        del own["predict"]
        if before is not None:
            own["predict"] = before


def _wanted(backbone: Backbone, names: Sequence[str] | None) -> tuple[Layer, ...]:
    names = backbone.steering_layers() if names is None else names
    there = {layer.name: layer for layer in backbone.layers()}
    unknown = [name for name in names if name not in there]
    if unknown or not names:
        raise UsageError(f"no text attention {', '.join(unknown) or 'named'}: this model's are {', '.join(there)}")
    return tuple(layer for name, layer in there.items() if name in names)
