"""One object, one way through the clip: what keeps a generated object from vanishing here and appearing there.

Where objects stand is settled in the first steps of sampling, frame by frame, and a small network may settle it
differently in frames that follow each other. There the word's attention is drawn to the best way through the frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vxedit.backbones.protocol import Backbone
from vxedit.edit.attention import capture_words, mean_map
from vxedit.edit.energy import box_energy
from vxedit.edit.guidance import GuidanceSettings, Guided, guide
from vxedit.edit.viterbi import best_sequence

CELLS = 24
"""The most cells of a frame's longer side that a way is looked for on."""

SIZE = 0.08
"""The spread of the blur by which attention is gathered before a way is looked for, as all lengths here in shares of
the frame's geometric mean side: about half an object's."""


@dataclass(frozen=True)
class OneTrack:
    """`until`: the share of the steps that is guided at most; it ends with the first step in which nothing needed it.
    `reach`: how far from its way an object's attention may lie, a standard deviation; `stride`: how far it likely goes
    from one frame to the next, another. `guidance`: the steps down the energy."""

    until: float = 0.3
    reach: float = 0.2
    stride: float = 0.08
    guidance: GuidanceSettings = field(default_factory=lambda: GuidanceSettings(iterations=1, rate=0.03, enough=0.02))


def keep_on_track(
    backbone: Backbone, latents: Tensor, timestep: float, embeds: Tensor, words: Sequence[Sequence[int]], how: OneTrack
) -> Guided:
    """Latents (1, C, f, h, w) guided so that each word's attention, given by its columns, stays near its way."""

    def energy(x: Tensor) -> Tensor:
        with capture_words(backbone, words, stop=True) as seen:
            backbone.predict(x, timestep, embeds)
        return track_energy(seen.maps, how)

    everywhere = torch.ones(1, 1, latents.shape[2], 1, 1, device=latents.device)
    return guide(energy, latents, everywhere, how.guidance)


def track_energy(maps: Mapping[str, Tensor], how: OneTrack) -> Tensor:
    """How much of the words' attention lies off their ways, (f,): the box energy with a bell of `reach` round the way
    for a box, the mean over the words and layers of maps (1, W, f, h, w)."""
    total, words = [], next(iter(maps.values())).shape[1]
    for k in range(words):
        own = {layer: m[:, k] for layer, m in maps.items()}
        ways = best_way(mean_map({layer: m.detach() for layer, m in own.items()}, _grid(own))[0], how.stride)
        for m in own.values():
            off = (_places(m.shape[-2], m.shape[-1]).to(m)[None] - ways[:, None]).square().sum(-1)
            near = torch.exp(-off / (2 * how.reach**2)).view(m.shape[1:])
            total.append(box_energy(m, near)[0])
    return torch.stack(total).mean(0)


def best_way(maps: Tensor, stride: float) -> Tensor:
    """The places (f, 2) that together have the most attention, maps (f, h, w), and hop the least (Viterbi 1967): x, y
    in shares of the geometric mean side. A frame's place counts by the logarithm of its share of the attention, a move
    d by -(d / stride)^2 / 2."""
    places = _places(*maps.shape[-2:]).to(maps)
    apart = (places[:, None] - places[None]).square().sum(-1)
    blur = torch.exp(-apart / (2 * SIZE**2))
    gathered = maps.flatten(1) @ (blur / blur.sum(1, keepdim=True))
    worth = torch.log(gathered / gathered.sum(1, keepdim=True).clamp_min(1e-12) + 1e-6)
    cost = (apart / (2 * stride**2)).cpu().numpy()
    return places[best_sequence(list(worth.cpu().numpy()), [cost] * (len(maps) - 1))]


def _grid(maps: Mapping[str, Tensor]) -> tuple[int, int]:
    """The finest of the maps' grids, or a coarser one of its aspect with no more than CELLS cells a side."""
    height, width = max((tuple(m.shape[-2:]) for m in maps.values()), key=lambda side: side[0] * side[1])
    shrink = min(1.0, CELLS / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _places(height: int, width: int) -> Tensor:
    """The middles of a grid's cells, (height * width, 2)."""
    side = (height * width) ** 0.5
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], -1) / side
