"""OWL-ViT and OWLv2 of the real classes at tiny size, and boxes whose place is known."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.score.tiny_judges import write_judge
from vxedit.errors import ModelError
from vxedit.score.owl import Owl, load_owl

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["owlvit", "owlv2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judge(tmp_path_factory.mktemp("judges") / request.param, request.param)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (6, 24, 40, 3), np.uint8)


class Planted:
    """A network that sees a box (cx, cy, w, h) with a score, and a less likely one elsewhere."""

    config = SimpleNamespace(text_config=SimpleNamespace(max_position_embeddings=16))

    def __init__(self, box: tuple[float, float, float, float], score: float) -> None:
        self.box, self.score, self.asked = box, score, 0

    def __call__(self, *, input_ids: torch.Tensor, pixel_values: torch.Tensor, **rest: Any) -> SimpleNamespace:
        count = len(pixel_values)
        assert len(input_ids) == count
        self.asked += count
        logits = torch.logit(torch.tensor([self.score / 2, self.score])).expand(count, 2)[..., None]
        boxes = torch.tensor([(0.9, 0.9, 0.1, 0.1), self.box]).expand(count, 2, 4)
        return SimpleNamespace(logits=logits, pred_boxes=boxes)


def planted(folder: Path, box: tuple[float, float, float, float], score: float, *, padded: bool) -> Owl:
    return Owl("planted", Planted(box, score), load_owl(str(folder), device=CPU).processor, padded, CPU)


def test_it_finds_what_its_own_processor_says(folder: Path, frames: np.ndarray) -> None:
    owl = load_owl(str(folder), device=CPU)
    found = owl.find(frames, "red ball")
    text = owl.processor(
        text=[["red ball"]] * 6, images=list(frames), padding="max_length", max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        seen = owl.network(**text)
    sizes = torch.tensor([frames.shape[1:3]] * 6)
    said = owl.processor.post_process_grounded_object_detection(seen, threshold=0.0, target_sizes=sizes)
    for box, score, one in zip(found.boxes, found.scores, said, strict=True):
        best = one["scores"].argmax()
        assert score == pytest.approx(float(one["scores"][best]), abs=1e-5)
        expected = np.clip(one["boxes"][best].numpy() / (40, 24, 40, 24), 0, 1)
        if score > 0.1 and (expected[2:] > expected[:2]).all():
            assert box == pytest.approx(expected, abs=1e-5)
        else:
            assert np.isnan(box).all()


def test_another_word_is_another_question(folder: Path, frames: np.ndarray) -> None:
    owl = load_owl(str(folder), device=CPU)
    assert not np.allclose(owl.find(frames, "burger").scores, owl.find(frames, "duck").scores)


def test_the_likeliest_box_in_shares_of_the_frame(folder: Path, frames: np.ndarray) -> None:
    owl = planted(folder, (0.5, 0.25, 0.2, 0.3), 0.6, padded=False)
    found = owl.find(frames, "ball")
    assert found.boxes == pytest.approx(np.tile([0.4, 0.1, 0.6, 0.4], (6, 1)), abs=1e-6)
    assert found.scores == pytest.approx(np.full(6, 0.6))
    assert owl.network.asked == 6
    # a frame of 40x24 is padded below to 40x40: heights are shares of 40
    padded = planted(folder, (0.5, 0.25, 0.2, 0.3), 0.6, padded=True).find(frames, "ball")
    assert padded.boxes[0] == pytest.approx([0.4, 4 / 24, 0.6, 16 / 24], abs=1e-6)


def test_unlikely_boxes_and_boxes_off_the_frame_are_none(folder: Path, frames: np.ndarray) -> None:
    for score, expected in ((0.099, True), (0.101, False)):
        found = planted(folder, (0.5, 0.5, 0.2, 0.2), score, padded=False).find(frames, "ball")
        assert np.isnan(found.boxes).all() == expected
    in_the_padding = planted(folder, (0.5, 0.9, 0.1, 0.1), 0.9, padded=True).find(frames, "ball")
    assert np.isnan(in_the_padding.boxes).all()


def test_what_cannot_be_a_detector(tmp_path: Path) -> None:
    clip = write_judge(tmp_path / "clip", "clip")
    with pytest.raises(ModelError, match=r"is of type clip.*--owl"):
        load_owl(str(clip), device=CPU)
    with pytest.raises(ModelError, match=r"--owl"):
        load_owl(str(tmp_path / "nowhere"), device=CPU)


def test_damaged_weights(folder: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="can't be loaded") as raised:
        load_owl(str(damaged), device=CPU)
    assert "\n" not in str(raised.value)


def test_weights_that_lack_a_part(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    partial = shutil.copytree(folder, tmp_path / "partial")
    weights = load_file(partial / "model.safetensors")
    del weights["box_head.dense0.weight"]
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of its weights, box_head\.dense0\.weight"):
        load_owl(str(partial), device=CPU)


def test_a_random_network_has_scores_in_range(folder: Path, frames: np.ndarray) -> None:
    found = load_owl(str(folder), device=CPU).find(frames[:1], "ball")
    assert found.boxes.shape == (1, 4) and 0 <= found.scores[0] <= 1 and not math.isnan(found.scores[0])
