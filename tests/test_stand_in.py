"""What an object becomes when its word does: drawn, found, cut out, and fitted into the old one's boxes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from tests.edit.scenes import clip, mask_iou
from vxedit import stand_in
from vxedit.backbones.protocol import Size
from vxedit.backbones.registry import load
from vxedit.backbones.tokens import columns
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.path import parse_path
from vxedit.edit.scene import Cutout
from vxedit.edit.words import WordEdit, word_edit
from vxedit.errors import VxeditError
from vxedit.objects import Wanted
from vxedit.render.scene import Rendered
from vxedit.stand_in import StandIns, fitted, stand_ins, there_and_back

PROMPT, SIZE = "a red ball and a car", Size(3, 64, 64)


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> UNet3D:
    return cast(UNet3D, load(str(checkpoint), device="cpu"))


@pytest.fixture(scope="module")
def words(tiny: UNet3D) -> WordEdit:
    return word_edit(tiny.tokens, PROMPT, replace={"ball": "burger"})


def wanted(tiny: UNet3D, word: str, **place: Any) -> Wanted:
    return Wanted(word, columns(tiny.tokens(PROMPT), PROMPT, word), parse_path("hold"), **place)


def test_an_object_that_stays_what_it_is_needs_nothing_drawn(tiny: UNet3D, words: WordEdit) -> None:
    assert stand_ins(tiny, words, [wanted(tiny, "car")], SIZE, seed=0) == StandIns((None,), 0, 0)


def test_it_is_drawn_by_the_model_under_the_new_prompt_from_a_seed(tiny: UNet3D, words: WordEdit) -> None:
    told: list[tuple[int, int]] = []
    objects = [wanted(tiny, "car"), wanted(tiny, "ball")]
    drawn, again, other = (
        stand_ins(tiny, words, objects, SIZE, seed=seed, progress=lambda *at: told.append(at)) for seed in (0, 0, 1)
    )
    assert told[: tiny.steps] == [(i + 1, tiny.steps) for i in range(tiny.steps)]
    assert (drawn.forwards, drawn.gradient_passes) == (2 * tiny.steps, 0)
    assert drawn.cutouts[0] is None
    one, same, different = (cast(Cutout, found.cutouts[1]) for found in (drawn, again, other))
    assert one.colours.shape == (*SIZE, 3) and one.cover.shape == SIZE and one.boxes.shape == (3, 4)
    assert np.array_equal(one.colours, same.colours) and not np.array_equal(one.colours, different.colours)


class Drawn:
    """A model that draws a clip that is known, and is asked for what it drew it from."""

    steady = True

    def __init__(self, truth: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
        self.truth = truth
        monkeypatch.setattr(stand_in, "generate", self.generate)
        monkeypatch.setattr(stand_in, "attention_in_frames", self.attention)

    def generate(self, _: Any, prompt: str, size: Size, **how: Any) -> Any:
        self.prompt, self.size, self.how = prompt, size, how
        return SimpleNamespace(clean=None, forwards=7, backwards=2)

    def decode(self, latents: Any, frames: int) -> np.ndarray:
        return self.truth.frames

    def attention(self, _: Any, __: Any, words: list[tuple[int, ...]], frames: int) -> list[np.ndarray]:
        self.looked_for = words
        return [np.stack([cv2.resize(mask.astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
                          for mask in self.truth.masks[0]])]  # fmt: skip


def test_the_new_object_is_found_by_its_own_word_and_cut_out(
    tiny: UNet3D, words: WordEdit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the old one was said to be says nothing of it."""
    truth = clip("burger", "gravel", frames=4, size=64, start=(0.6, 0.6), end=(0.5, 0.55))
    drawn = Drawn(truth, monkeypatch)
    masks = np.zeros((1, 64, 64), bool)
    masks[:, :9, :9] = True
    objects = [wanted(tiny, "ball", masks=masks)]
    found = stand_ins(cast(UNet3D, drawn), words, objects, Size(4, 64, 64), seed=3)
    new = words.carried(objects[0].columns)
    assert drawn.prompt == words.target == "a red burger and a car" and drawn.looked_for == [new]
    assert drawn.how["steady"] == [new] and drawn.how["generator"].initial_seed() == 3
    assert (found.forwards, found.gradient_passes) == (7, 2)
    one = cast(Cutout, found.cutouts[0])
    assert mask_iou(one.cover > 0.5, truth.masks[0]).min() > 0.8
    inside = (one.cover > 0.99) & truth.masks[0]
    assert inside.sum() > 400
    assert np.abs(one.colours[inside] - truth.frames[inside]).max() < 0.01 * 255  # what at most shows through
    assert np.abs(one.boxes - truth.boxes[0]).max() < 3 / 64


def test_a_model_that_fails_says_what_can_be_done(
    tiny: UNet3D, words: WordEdit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("not finite; try --dtype fp32")

    monkeypatch.setattr(stand_in, "generate", fail)
    with pytest.raises(VxeditError, match="try --dtype fp32"):
        stand_ins(tiny, words, [wanted(tiny, "ball")], SIZE, seed=0)


def test_frames_go_there_and_back_again() -> None:
    assert there_and_back(0, 10, 4) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert there_and_back(5, 9, 4) == there_and_back(0, 9, 4)[5:]
    assert there_and_back(3, 6, 1) == [0, 0, 0]
    assert there_and_back(0, 5, 2) == [0, 1, 0, 1, 0]
    many = there_and_back(0, 200, 16)
    assert set(many) == set(range(16)) and set(np.abs(np.diff(many))) == {1}


def cutout(*, width: float, height: float, frames: int = 4) -> Cutout:
    flat = np.zeros((frames, 8, 8), np.float32)
    boxes = np.tile([0.1, 0.1, 0.1 + width, 0.1 + height], (frames, 1))
    boxes[:, 2] += np.linspace(-0.01, 0.01, frames)
    return Cutout(flat[..., None].repeat(3, -1), flat + np.arange(frames)[:, None, None], boxes)


def test_pieces_of_a_longer_clip_share_the_frames_that_they_share() -> None:
    whole = StandIns((cutout(width=0.2, height=0.1), None), 9, 3)
    first, second = whole.between(0, 6), whole.between(4, 10)
    one, other = cast(Cutout, first.cutouts[0]), cast(Cutout, second.cutouts[0])
    assert np.array_equal(one.cover[4:], other.cover[:2]) and one.cover[4:, 0, 0].tolist() == [2, 1]
    assert first.cutouts[1] is None and second.cutouts[1] is None
    assert (first.forwards, first.gradient_passes) == (9, 3)  # told once
    assert (second.forwards, second.gradient_passes) == (0, 0)


def test_the_boxes_keep_their_middles_and_areas_and_take_the_new_shape() -> None:
    """Of a clip twice as wide as the model sees it, a shape that the model draws square is half as wide in shares."""
    boxes = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.6, 0.3]])
    for drawn, aspect, shape in (((0.2, 0.1), 1.0, 2.0), ((0.2, 0.2), 2.0, 0.5), ((0.1, 0.3), 0.5, 2 / 3)):
        found = fitted(boxes, cutout(width=drawn[0], height=drawn[1]), aspect)
        sides = found[:, 2:] - found[:, :2]
        assert np.allclose(found[:, :2] + found[:, 2:], boxes[:, :2] + boxes[:, 2:])
        assert np.allclose(sides.prod(1), [0.04, 0.04]) and np.allclose(sides[:, 0] / sides[:, 1], shape)
