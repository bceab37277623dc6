"""Perceptual distance of two clips, of all of them or of a part: LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vxedit.errors import ModelError

Distance = Callable[[Tensor, Tensor], Tensor]
"""Two batches (B, 3, H, W) in [-1, 1] to a map of distances (B, 1, H, W)."""


def load_lpips(*, device: torch.device, net: str = "alex") -> Distance:
    """The `lpips` package's network with its map of distances. Raises ModelError where the package isn't installed or
    its backbone's weights can't be had."""
    try:
        package: Any = importlib.import_module("lpips")
    except ImportError as err:
        raise ModelError(
            "LPIPS needs the lpips package, which isn't installed: run `pip install vxedit[metrics]`, or leave out "
            "--lpips"
        ) from err
    try:
        network: Any = package.LPIPS(net=net, spatial=True, verbose=False).to(device).eval()
    except (OSError, RuntimeError) as err:  # torchvision fetches the backbone's weights
        said = " ".join(str(err).split())
        raise ModelError(
            f"LPIPS's {net} weights can't be had ({said}): run once with a network, or without --lpips"
        ) from err
    return lambda a, b: network(a.to(device), b.to(device))


def masked_distance(
    edited: np.ndarray, source: np.ndarray, mask: np.ndarray, distance: Distance, *, batch: int = 4
) -> float:
    """Mean of the distance map over the pixels where `mask` bool (F, H, W) is true. Clips: uint8 (F, H, W, 3).

    The pixels outside the mask are set to the source's first, so that what was meant to change is not seen from beside
    it. NaN where the mask is empty.
    """
    if not mask.any():
        return float("nan")
    held = np.where(mask[..., None], edited, source)
    total = 0.0
    for i in range(0, len(held), batch):
        part = slice(i, i + batch)
        with torch.inference_mode():
            maps = distance(_signed(held[part]), _signed(source[part])).float().cpu().numpy()[:, 0]
        total += float(maps[mask[part]].sum(dtype=np.float64))
    return total / float(mask.sum())


def _signed(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
