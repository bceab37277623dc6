"""Which part of the frame an edit may touch, in pixels and in latent cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vxedit.edit.locate import grown


@dataclass(frozen=True)
class Region:
    """An edit's places, in pixels, float32 (F, H, W) in [0, 1]: the object's `source` and `target` cover, what it
    `vacated`, and `alpha`, how much of the result is taken from the edit: 1 in the edit region, falling to 0 over a
    narrow seam."""

    source: np.ndarray
    target: np.ndarray
    vacated: np.ndarray
    alpha: np.ndarray


def region_of(source: np.ndarray, target: np.ndarray, *, margin: int, seam: int, source_margin: int) -> Region:
    """The places of an edit from the object's cover before and after, (F, H, W) in [0, 1].

    The edit region is the target grown by `margin` pixels and the source by `source_margin`; over `seam` pixels more it
    gives way to the source.
    """
    source, target = source.astype(np.float32), target.astype(np.float32)
    places = zip(source > 0.05, target > 0.05, strict=True)
    cores = [(grown(left, source_margin) | grown(aim, margin)).astype(np.uint8) for left, aim in places]
    distance = np.stack([cv2.distanceTransform(1 - core, cv2.DIST_L2, 5) for core in cores])
    alpha = np.clip(1 - distance / max(seam, 1e-3), 0, 1).astype(np.float32)
    return Region(source, target, np.clip(source - target, 0, 1), alpha)


Spans = Sequence[Sequence[int]]
"""For every frame of the latents, the clip's frames that it covers, as Backbone.spans gives them."""


def to_cells(mask: np.ndarray, height: int, width: int, spans: Spans | None = None) -> Tensor:
    """A pixel mask (F, H, W) as the share of each latent cell that it covers: (f, height, width). Without `spans` a
    frame of the latents is one of the clip."""
    cells = F.adaptive_avg_pool2d(_pixels(mask), (height, width))[:, 0]
    return cells if spans is None else torch.stack([cells[list(span)].mean(0) for span in spans])


def touched_cells(mask: np.ndarray, height: int, width: int, spans: Spans | None = None) -> Tensor:
    """The latent cells that a pixel mask touches at all: (f, height, width), 0 or 1; `spans` as for `to_cells`."""
    touched = (F.adaptive_max_pool2d(_pixels(mask), (height, width)) > 0.01).float()[:, 0]
    return touched if spans is None else torch.stack([touched[list(span)].amax(0) for span in spans])


def _pixels(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask, np.float32))[:, None]
