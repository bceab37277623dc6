"""CLIP's similarities, on the real classes at tiny size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.score.tiny_judges import write_judge
from vxedit.errors import ModelError
from vxedit.score.text_image import TextImage, load_text_image

CPU = torch.device("cpu")
PROMPT = "a red ball on the grass"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> TextImage:
    return load_text_image(str(write_judge(tmp_path_factory.mktemp("judges") / "clip", "clip")), device=CPU)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (10, 40, 48, 3), np.uint8)


def test_the_cosines_are_the_model_s_own(judge: TextImage, frames: np.ndarray) -> None:
    inputs = judge.processor(text=[PROMPT], images=list(frames), return_tensors="pt")
    with torch.no_grad():
        seen = judge.network(**inputs)
    expected = seen.image_embeds @ seen.text_embeds[0]
    neighbours = (seen.image_embeds[1:] * seen.image_embeds[:-1]).sum(-1)
    got = judge.similarity(frames, PROMPT)
    assert got.text == pytest.approx(float(expected.mean()), abs=1e-5)
    assert got.frames == pytest.approx(float(neighbours.mean()), abs=1e-5)
    assert got.text != pytest.approx(judge.similarity(frames, "a duck").text, abs=1e-4)


def test_a_still_clip_is_fully_consistent(judge: TextImage, frames: np.ndarray) -> None:
    assert judge.similarity(np.repeat(frames[:1], 3, 0), None).frames == pytest.approx(1, abs=1e-6)


def test_no_answer_without_prompt_or_neighbour(judge: TextImage, frames: np.ndarray) -> None:
    got = judge.similarity(frames[:1], None)
    assert math.isnan(got.text) and math.isnan(got.frames)


def test_a_long_prompt_is_cut(judge: TextImage, frames: np.ndarray) -> None:
    assert math.isfinite(judge.similarity(frames[:1], PROMPT * 20).text)


def test_what_cannot_be_a_clip(tmp_path: Path) -> None:
    owl = write_judge(tmp_path / "owl", "owlvit")
    with pytest.raises(ModelError, match=r"is of type owlvit.*--clip"):
        load_text_image(str(owl), device=CPU)
    damaged = write_judge(tmp_path / "damaged", "clip")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="can't be loaded"):
        load_text_image(str(damaged), device=CPU)
