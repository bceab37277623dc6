"""Clips that are measured are made as vxedit-gen makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import write_tiny_checkpoint
from vxedit.backbones.registry import load
from vxedit.backbones.tokens import columns
from vxedit.evaluate import sample as sampling
from vxedit.evaluate.sample import sample
from vxedit.gen import plan_gen
from vxedit.job import GenerateSettings, GenJob, ObjectJob

PROMPT = "a burger over a red ball"


@pytest.mark.parametrize("steady", [True, False])
@pytest.mark.parametrize("words", [None, (), ("ball",)])
def test_its_settings_are_those_of_vxedit_gen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady: bool, words: tuple[str, ...] | None
) -> None:
    asked: list[dict[str, Any]] = []
    folder = write_tiny_checkpoint(tmp_path / "own", vxedit={"steps": 7, "eta": 0.5, "steady": steady})
    backbone, how = load(str(folder), device="cpu"), GenerateSettings(steady=words)
    monkeypatch.setattr(sampling, "generate", lambda *given, **how: asked.append(how))
    sample(backbone, PROMPT, "burger", torch.Generator(), how)
    job = GenJob(PROMPT, tmp_path / "out.mp4", (ObjectJob("burger", "left"),), model=str(folder), generate=how)
    planned = plan_gen(job)
    assert tuple(asked[0]["steady"]) == planned.steady
    expected = words if words is not None else ("burger",) if steady else ()
    assert planned.steady == tuple(columns(backbone.tokens(PROMPT), PROMPT, word) for word in expected)
    own = {"steps": backbone.steps, "eta": backbone.eta, "guidance_scale": backbone.guidance_scale}
    for name, value in own.items():
        assert asked[0][name] is None and getattr(planned.job.generate, name) == value
    assert planned.job.generate.steady == expected  # so that the record says it all
