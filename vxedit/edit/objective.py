"""What guidance lowers: a weighted sum of energies on the attention of one object's word, or of several objects'."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.edit.energy import (
    box_energy,
    centroid,
    centroid_energy,
    corner_energy,
    drawn_energy,
    leak_energy,
    normalised,
    rasterise,
    smoothness_energy,
    topk_energy,
    union,
)
from vxedit.edit.likeness import (
    appearance,
    appearance_energy,
    carried,
    presence_energy,
    shape_energy,
    size,
    size_energy,
)
from vxedit.errors import UsageError

HIDDEN = 0.05
"""An object of whose box less than this share is left by the boxes in front of it is not pulled in that frame."""


@dataclass(frozen=True)
class Weights:
    """How much each energy counts: finite, not negative; 0 leaves it out. Raises UsageError for anything else.

    `leak` takes part where there are several objects; `size`, `shape` and `appearance` compare with the source.
    """

    box: float = 1.0
    drawn: float = 0.0
    centroid: float = 0.0
    topk: float = 0.0
    corner: float = 0.0
    smoothness: float = 0.0
    presence: float = 0.0
    size: float = 0.0
    shape: float = 0.0
    appearance: float = 0.0
    leak: float = 1.0

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise UsageError(f"the weight of {name} is {weight:g}: {_ALLOWED}, as in {name}=0.5")


_ALLOWED = "a weight is a finite number that is 0 or more"

NAMES: tuple[str, ...] = tuple(field.name for field in fields(Weights))
"""The energies that a weight can be given to."""


def parse_weights(texts: Sequence[str]) -> Weights:
    """Weights from texts such as "centroid=0.5"; what is not named keeps its default, so "box=0" leaves the box out.

    Raises UsageError for a text of another form, an unknown or repeated name, and a weight that isn't one.
    """
    given: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise UsageError(f'"{text}" gives no weight: write NAME=WEIGHT, as in centroid=0.5')
        if name not in NAMES:
            near = difflib.get_close_matches(name.lower(), NAMES, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f'no energy "{name}" in "{text}": {hint}the energies are {", ".join(NAMES)}')
        if name in given:
            raise UsageError(f"{name} is given twice, as {given[name]:g} and as {value}: give it once")
        try:
            given[name] = float(value)
        except ValueError as err:
            raise UsageError(f'the weight of {name} is "{value}": {_ALLOWED}, as in {name}=0.5') from err
    return Weights(**given)


@dataclass(frozen=True)
class Aim:
    """Where one object should be, and what it was.

    `boxes` (f, 4) xyxy in [0, 1]; of objects that overlap, the one of higher `order` is in front. `source`: its word's
    maps in the source by layer, (1, f, h, w); `source_boxes` (f, 4): where it was; `features`: the source's features
    by layer, (1, f, h, w, C).
    """

    boxes: np.ndarray
    order: int = 0
    source: Mapping[str, Tensor] | None = None
    source_boxes: np.ndarray | None = None
    features: Mapping[str, Tensor] | None = None


def energy_of(
    maps: Mapping[str, Tensor],
    aims: Sequence[Aim],
    weights: Weights,
    *,
    features: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The weighted sum of energies in every frame, (f,), the mean over the layers and over the objects.

    `maps` by layer, (1, W, f, h, w), with one W an aim, in order; boxes are rasterised by area on each layer's own
    grid. `features` by layer, (1, f, h, w, C), are those of the pass that gave the maps. An object's own region is its
    box without what boxes in front of it cover. Raises UsageError where maps and aims don't fit, or a term lacks what
    it compares with.
    """
    _check(maps, aims)
    views = (_View.of(layer, m, aims, i, features) for layer, m in maps.items() for i in range(len(aims)))
    return torch.stack([_weighted(view, weights) for view in views]).mean(0)


@dataclass(frozen=True)
class _View:
    """One object in one layer. Its `maps` (1, f, h, w); (f, h, w) in [0, 1]: its `own` region, what boxes in `front` of
    it cover, and `elsewhere`, the rest of all boxes; `seen` (f,): 1 where enough of it is to be seen, else 0."""

    layer: str
    maps: Tensor
    aim: Aim
    own: Tensor
    front: Tensor
    elsewhere: Tensor
    seen: Tensor
    features: Mapping[str, Tensor] | None

    @classmethod
    def of(
        cls, layer: str, maps: Tensor, aims: Sequence[Aim], index: int, features: Mapping[str, Tensor] | None
    ) -> _View:
        aim, grid = aims[index], (maps.shape[-2], maps.shape[-1])
        whole, everyone = rasterise(aim.boxes, *grid), union([other.boxes for other in aims], *grid)
        fronts = [other.boxes for other in aims if other.order > aim.order]
        front = union(fronts, *grid) if fronts else torch.zeros_like(whole)
        own = (union([aim.boxes, *fronts], *grid) - front).clamp(0, 1)
        seen = own.sum((1, 2)) >= HIDDEN * whole.sum((1, 2))
        own, front, elsewhere, seen = (t.to(maps) for t in (own, front, (everyone - own).clamp(0, 1), seen))
        return cls(layer, maps[:, index], aim, own, front, elsewhere, seen, features)

    def centres(self) -> Tensor:
        """Where the centre of what is to be seen should be, x, y as shares of the frame: (f, 2).

        The centre of the box's part in the frame, exactly; off it by as much as what is in front moves the raster's.
        """
        inside = np.clip(self.aim.boxes, 0, 1)
        centre = torch.from_numpy((inside[:, :2] + inside[:, 2:]) / 2).to(self.own)
        moved = centroid(self.own) - centroid(rasterise(self.aim.boxes, *self.own.shape[-2:]).to(self.own))
        return centre + moved * self.seen[:, None]

    def steady(self) -> Tensor:
        """1 in frames that are seen together with both their neighbours, else 0: (f,)."""
        return 1 - F.max_pool1d(1 - self.seen[None], 3, 1, 1)[0]

    def expected_size(self) -> Tensor:
        """The source's size, times the area that is to be seen, over the area of the source's box: (f,)."""
        source_area = rasterise(self.source_boxes("size"), *self.own.shape[-2:]).to(self.own).mean((1, 2))
        grown = self.own.mean((1, 2)) / source_area.clamp_min(1e-12)
        return (size(self.source("size"))[0] * grown).clamp_max(1)

    def expected_shape(self) -> Tensor:
        """The source's shape, carried from its box to the target's, without what is in front: (f, h, w)."""
        shape = carried(normalised(self.source("shape"))[0], self.source_boxes("shape"), self.aim.boxes)
        return shape * (1 - self.front)

    def appearance_energy(self) -> Tensor:
        then = self._given(self.aim.features, "the source's features", "appearance").detach()
        now = self._given(self.features, "the current features", "appearance")
        return appearance_energy(self.maps, now, appearance(self.source("appearance"), then)[0])

    def source(self, term: str) -> Tensor:
        return self._given(self.aim.source, "the object's source maps", term).detach()

    def source_boxes(self, term: str) -> np.ndarray:
        if self.aim.source_boxes is None:
            raise UsageError(f"the {term} energy needs the object's source boxes, got none: {_remedy(term)}")
        return self.aim.source_boxes

    def _given(self, found: Mapping[str, Tensor] | None, what: str, term: str) -> Tensor:
        if found is None or self.layer not in found:
            got = f"those of {', '.join(found)}" if found else "none"
            raise UsageError(f"the {term} energy needs {what} in layer {self.layer}, got {got}: {_remedy(term)}")
        return found[self.layer].to(self.maps)


def _remedy(term: str) -> str:
    return f"give what it compares with, or leave it out with {term}=0"


_TERMS: dict[str, Callable[[_View], Tensor]] = {
    "box": lambda view: box_energy(view.maps, view.own),
    "drawn": lambda view: drawn_energy(view.maps, view.own),
    "centroid": lambda view: centroid_energy(view.maps, view.centres()),
    "topk": lambda view: topk_energy(view.maps, view.own),
    "corner": lambda view: corner_energy(view.maps, view.own),
    "smoothness": lambda view: smoothness_energy(view.maps, view.centres()) * view.steady(),
    "presence": lambda view: presence_energy(view.maps),
    "size": lambda view: size_energy(view.maps, view.expected_size()),
    "shape": lambda view: shape_energy(view.maps, view.expected_shape()),
    "appearance": lambda view: view.appearance_energy(),
    "leak": lambda view: leak_energy(view.maps, view.elsewhere),
}


def _weighted(view: _View, weights: Weights) -> Tensor:
    """The weighted sum for one object in one layer, (f,). Of an object that is hidden only the leak counts."""
    total = 0 * view.maps.sum((-2, -1))[0]  # has a graph even if no term has a weight
    for name, weight in asdict(weights).items():
        if weight > 0:
            value = _TERMS[name](view)[0]
            total = total + weight * (value if name == "leak" else value * view.seen)
    return total


def _check(maps: Mapping[str, Tensor], aims: Sequence[Aim]) -> None:
    if not maps or not aims:
        raise UsageError(
            f"an energy needs maps and aims, got {len(maps)} layers and {len(aims)} aims: give one or more"
        )
    for layer, m in maps.items():
        if m.ndim != 5 or m.shape[:2] != (1, len(aims)):
            wanted = f"(1, {len(aims)}, f, h, w), a word an aim"
            raise UsageError(f"the maps of layer {layer} are {tuple(m.shape)}, not {wanted}: capture one word an aim")
        for aim in aims:
            boxes = [b for b in (aim.boxes, aim.source_boxes) if b is not None]
            for wrong in (b for b in boxes if b.shape != (m.shape[2], 4)):
                raise UsageError(
                    f"boxes are {wrong.shape}, and the maps of layer {layer} have {m.shape[2]} frames: "
                    f"give one box a frame of the maps, ({m.shape[2]}, 4)"
                )
