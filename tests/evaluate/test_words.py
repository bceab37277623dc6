"""Words that become others: what counts as having become one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vxedit.edit.locate import Located
from vxedit.evaluate import words as measured
from vxedit.evaluate.case import Case, case
from vxedit.evaluate.words import measure_word, other_word
from vxedit.make import Brief, Outcome
from vxedit.render.objects import DRAWINGS
from vxedit.render.scene import render


def test_an_object_becomes_another_that_can_be_drawn() -> None:
    found = {seed: other_word(seed, "burger") for seed in range(40)}
    assert set(found.values()) <= set(DRAWINGS) - {"burger"} and len(set(found.values())) > 5
    assert other_word(3, "burger") == found[3]


@pytest.fixture(scope="module")
def one() -> Case:
    """A case of four frames."""
    whole = case(1)
    clip = whole.clip
    few = replace(
        clip, frames=clip.frames[::4], clean=clip.clean[::4], masks=clip.masks[:, ::4], boxes=clip.boxes[:, ::4]
    )
    return replace(whole, clip=few)


class Made:
    """An editor that leaves what it is given, and notes what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, frames: np.ndarray) -> None:
        self.frames = frames
        monkeypatch.setattr(measured, "edit_frames", self)
        monkeypatch.setattr(measured, "tflop", lambda *_: {"tflop": 1.0})
        monkeypatch.setattr(measured, "word_edit", lambda _, prompt, *, replace: SimpleNamespace(replaced=replace))
        monkeypatch.setattr(measured, "columns", lambda *_: (1,))

    def __call__(self, brief: Brief, *_: Any) -> Outcome:
        self.brief = brief
        found = Located(np.ones(self.frames.shape[:3], bool), np.tile([0.0, 0.0, 1.0, 1.0], (len(self.frames), 1)))
        flat = (np.zeros((len(self.frames), 1, 1), np.float32),)
        return Outcome(self.frames, np.ones(self.frames.shape[:3]), (found,), (found.boxes,), flat, flat, None,
                       self.frames, ())  # fmt: skip


def figures(made: Made, one: Case) -> dict[str, float]:
    outline: Any = SimpleNamespace(tokens=lambda prompt: ())
    return measure_word(None, outline, one, None, flops=1.0)[1]  # type: ignore[arg-type]


def as_another(one: Case, *, shift: float = 0.0) -> np.ndarray:
    """The case's clip with the other object in the old one's place."""
    old = one.scene.actors[0]
    new = replace(old, name=other_word(one.seed, old.name), centres=old.centres + shift)
    return render(replace(one.scene, actors=(new,))).frames[::4]


def test_another_object_in_the_old_ones_place_is_what_was_asked(one: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch, as_another(one))
    found = figures(made, one)
    old = one.scene.actors[0].name
    assert made.brief.words is not None and made.brief.words.replaced == {old: other_word(1, old)}  # type: ignore[attr-defined]
    assert found["became"] > 0.9 and found["stayed"] < 0.1
    moving = one.clip.boxes[0]
    (wanted,) = made.brief.objects  # it goes on as the old one did
    assert np.allclose(wanted.motion.sample(made.brief.clip.times_s, start_boxes=moving).boxes, moving)
    assert found["new_likeness"] > 0.8 > found["old_likeness"] and found["background_db"] > 60


def test_a_clip_that_was_left_as_it_is_has_not_become_anything(one: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    found = figures(Made(monkeypatch, one.clip.frames), one)
    assert found["became"] < 0.1 and found["stayed"] > 0.9
    assert found["background_db"] == 100 and found["flicker"] == 1


def test_another_object_elsewhere_is_not_what_was_asked(one: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    centre = one.scene.actors[0].centres.mean()
    found = figures(Made(monkeypatch, as_another(one, shift=0.3 if centre < 0.5 else -0.3)), one)
    assert found["became"] < 0.1 and found["new_likeness"] > 0.5
