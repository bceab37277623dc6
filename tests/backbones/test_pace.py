"""How long an edit will take, about."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.backbones.test_wan import write_tiny_wan
from vxedit.backbones import pace
from vxedit.backbones.memory.transformer import TransformerMemory
from vxedit.backbones.pace import pass_flops, spoken, transformer_flops, work_of
from vxedit.backbones.protocol import Size
from vxedit.backbones.registry import load, outline
from vxedit.job import InvertSettings


def test_a_transformer_s_operations_are_those_that_are_counted(tmp_path: Path) -> None:
    """Against torch's own counter, whose sum has the embeddings of time, text and patches besides."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    folder = str(write_tiny_wan(tmp_path / "wan"))
    shown, backbone = outline(folder), load(folder, device="cpu")
    size = Size(9, 64, 96)
    embeds = torch.zeros(1, 512, 32)
    # the counter knows the products of attention in this kernel alone
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        backbone.predict(torch.randn(backbone.latent_shape(size)), 500.0, embeds)
    found = pass_flops(shown.layout, shown.facts, size)
    assert found is not None
    by_module = counted.get_flop_counts()
    blocks = sum(sum(ops.values()) for name, ops in by_module.items() if name.split(".")[-2:-1] == ["blocks"])
    assert 0 < blocks < counted.get_total_flops()
    assert found == pytest.approx(blocks, rel=0.02)


def test_operations_grow_as_analysis_says() -> None:
    one = TransformerMemory(depth=2, width=64, heads=4, feed_forward=256, tokens=1000, text=10, number=2)
    weights, products = 6 * 64**2 + 2 * 64 * 256, 2 * 64 * 1010
    assert transformer_flops(one) == 2 * 2 * (1000 * (weights + products) + 2 * 10 * 64**2)


def test_what_an_edit_asks_for_is_counted_in_passes() -> None:
    shown = outline("embedded")
    size = shown.native

    def passes(kind: str | None, scale: float = 1.0, steps: int = 20, drawn: float = 0.0) -> float:
        invert = None if kind is None else InvertSettings(kind, steps, scale)  # type: ignore[arg-type]
        found = work_of(shown.layout, shown.facts, size, steps=steps, guidance_scale=scale, invert=invert, drawn=drawn)
        assert found is not None
        return found.passes

    assert passes("uni") - passes("ddim") == 1
    assert passes("null-text") > 2 * passes("uni")
    assert passes(None, 5.0) > 1.5 * passes(None, 1.0)
    assert passes("uni", drawn=0.5) - passes("uni") == shown.facts.steps  # half a clip, two passes a step
    assert passes("ddim", steps=40) == pytest.approx(2 * passes("ddim"))


def test_a_faster_device_takes_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "device_rate", lambda device, dtype: 1e9)
    work = pace.Work(flops=9 * 10**8, passes=10)
    assert work.seconds(torch.device("cpu"), torch.float32) == pytest.approx(10.0)
    assert work.seconds(torch.device("cpu"), torch.bfloat16) == pytest.approx(30.0)


def test_the_device_s_pace_is_measured() -> None:
    assert 1e8 < pace.device_rate(torch.device("cpu"), torch.float32) < 1e15


def test_times_are_told_as_roughly_as_they_are_known() -> None:
    assert [spoken(seconds) for seconds in (0.2, 44.4, 100, 3000, 7000)] == ["1 s", "44 s", "2 min", "50 min", "2 h"]
