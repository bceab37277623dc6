"""Which detector looks for a word, and that it is loaded when it is needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.score.rendered import pair
from tests.score.tiny_judges import write_judge
from vxedit.errors import ModelError, UsageError
from vxedit.score.boxes import iou
from vxedit.score.detector import Detectors, choose

CPU = torch.device("cpu")
NOWHERE = "owner/nothing-of-this-name"


@pytest.fixture(scope="module")
def owl(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_judge(tmp_path_factory.mktemp("judges") / "owl", "owlvit"))


def test_what_the_embedded_model_draws_has_a_template(owl: str) -> None:
    assert choose("auto", "burger", embedded=True, owl=NOWHERE) == "template"
    assert choose("auto", "Burger", embedded=True, owl=NOWHERE) == "template"
    assert choose("template", "burger", embedded=False, owl=NOWHERE) == "template"


def test_anything_else_needs_owl(owl: str) -> None:
    assert choose("auto", "zebra", embedded=True, owl=owl) == "owl"
    assert choose("auto", "burger", embedded=False, owl=owl) == "owl"
    assert choose("owl", "burger", embedded=True, owl=NOWHERE) == "owl"


@pytest.mark.parametrize(("word", "embedded"), [("zebra", True), ("burger", False)])
def test_without_weights_the_remedies_are_named(word: str, embedded: bool) -> None:
    with pytest.raises(ModelError, match=f"no detector for '{word}'") as raised:
        choose("auto", word, embedded=embedded, owl=NOWHERE)
    for remedy in ("--detector template", "--detector owl", f"`hf download {NOWHERE}`", "--owl"):
        assert remedy in str(raised.value)


def test_a_template_that_there_is_none_of() -> None:
    with pytest.raises(UsageError, match=r"no 'zebra'; it knows .*burger.*--detector owl"):
        choose("template", "zebra", embedded=True, owl=NOWHERE)


def test_the_template_finds_the_burger() -> None:
    found = Detectors(device=CPU)["template"].find(pair().edit.frames[:1], "BURGER")
    assert iou(found.boxes, pair().after[:1])[0] > 0.8
    assert found.scores.shape == (1,)


def test_owl_is_loaded_once(owl: str) -> None:
    detectors = Detectors(owl=owl, device=CPU)
    assert detectors["owl"] is detectors["owl"]
    assert detectors["owl"].name == f"owlvit {owl}"
    assert detectors["owl"].find(np.zeros((1, 32, 32, 3), np.uint8), "burger").boxes.shape == (1, 4)
    with pytest.raises(ModelError, match="hf download"):
        Detectors(owl=NOWHERE, device=CPU)["owl"]
