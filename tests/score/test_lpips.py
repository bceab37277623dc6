"""LPIPS of a part of the frame; the package itself is an extra that need not be here."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vxedit.errors import ModelError
from vxedit.score.lpips import load_lpips, masked_distance

CPU = torch.device("cpu")


def difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the channels of the absolute difference, (B, 1, H, W)."""
    return (a - b).abs().mean(1, keepdim=True)


def test_the_mean_is_over_the_mask() -> None:
    source = np.zeros((5, 4, 6, 3), np.uint8)
    edited = source.copy()
    edited[:, 0] = 51  # 0.4 of the range [-1, 1]
    mask = np.zeros((5, 4, 6), bool)
    mask[:, :2] = True
    assert masked_distance(edited, source, mask, difference, batch=2) == pytest.approx(0.2)
    assert np.isnan(masked_distance(edited, source, np.zeros_like(mask), difference))


def test_what_was_meant_to_change_is_not_seen_from_beside_it() -> None:
    def wide(a: Tensor, b: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(difference(a, b), 3, 1, 1)

    source = np.zeros((1, 6, 6, 3), np.uint8)
    edited = source.copy()
    edited[:, 3:] = 255
    mask = np.zeros((1, 6, 6), bool)
    mask[:, :3] = True
    assert masked_distance(edited, source, mask, wide) == 0


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ModelError, match=r"pip install vxedit\[metrics\]"):
        load_lpips(device=CPU)


def test_the_package_is_asked_for_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Network(torch.nn.Module):
        def __init__(self, **options: Any) -> None:
            super().__init__()
            asked.update(options)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return difference(a, b)

    package = types.ModuleType("lpips")
    vars(package)["LPIPS"] = Network
    monkeypatch.setitem(sys.modules, "lpips", package)
    distance = load_lpips(device=CPU)
    assert asked["spatial"] is True and asked["net"] == "alex"
    assert distance(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)).tolist() == [[[[1, 1], [1, 1]]]]


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**options: Any) -> None:
        raise OSError("no network")

    package = types.ModuleType("lpips")
    vars(package)["LPIPS"] = offline
    monkeypatch.setitem(sys.modules, "lpips", package)
    with pytest.raises(ModelError, match="no network"):
        load_lpips(device=CPU)
