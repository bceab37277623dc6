"""The model that comes with the package: that it is there, small, described, and does what it is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import EMBEDDED, load, outline
from vxedit.backbones.tokens import columns
from vxedit.evaluate.edits import FPS, case
from vxedit.invert.store import Store
from vxedit.io.read import read_video
from vxedit.io.write import write_video
from vxedit.job import InvertSettings, RealJob
from vxedit.plan import plan
from vxedit.real import edit_real
from vxedit.render.objects import DRAWINGS
from vxedit.score.boxes import score_boxes
from vxedit.score.detect import detect

MOST_BYTES = 32 * 10**6


@pytest.fixture(scope="module")
def embedded() -> Backbone:
    return load("embedded", device="cpu")


def test_it_is_small_whole_and_described() -> None:
    files = [path for path in EMBEDDED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    assert {path.suffix for path in files} <= {".json", ".txt", ".safetensors", ".md"}
    (card,) = EMBEDDED.glob("*.md")
    text = card.read_text(encoding="utf-8").lower()
    assert all(word in text for word in ("data", "cost", "loss", "licen"))


def test_it_loads_for_clips_of_its_own_size(embedded: Backbone) -> None:
    assert (embedded.native.frames, embedded.native.height, embedded.native.width) == (16, 128, 128)
    assert embedded.identity == load("embedded", device="cpu").identity
    latents = embedded.encode(np.full((2, 128, 128, 3), 90, np.uint8))
    assert np.abs(embedded.decode(latents, 2).astype(int) - 90).mean() < 6


def test_it_knows_its_objects_by_words_and_splits_those_it_does_not_know() -> None:
    described = outline("embedded")
    for name in DRAWINGS:
        prompt = f"a {name} over a wall"
        assert len(columns(described.tokens(prompt), prompt, name)) >= 1
    prompt = "a xylophone over a wall"
    found = described.tokens(prompt)
    several = columns(found, prompt, "xylophone")
    assert len(several) > 1
    covered = "".join(prompt[piece.start : piece.end] for piece in found if piece.column in several)
    assert covered.replace(" ", "") == "xylophone"


def test_it_moves_an_object_where_it_is_asked(embedded: Backbone, tmp_path: Path) -> None:
    one = case(1)
    name = one.scene.actors[0].name
    write_video(tmp_path / "clip.mp4", one.clip.frames, FPS)
    job = RealJob(tmp_path / "clip.mp4", tmp_path / "out.mp4", name, one.path, prompt=one.clip.caption)
    job = replace(job, invert=InvertSettings(steps=8))
    assert plan(job).size == (16, 128, 128)
    result = edit_real(job, backbone=embedded, store=Store(tmp_path / "store"))
    edited = read_video(result.output).frames
    assert edited.shape == one.clip.frames.shape
    seen = detect(edited, name)
    scores = score_boxes(seen.boxes, one.targets, frame=(128, 128))
    assert scores.covered and scores.centre_distance < 0.05 and scores.mean_iou > 0.5
    unmoved = score_boxes(one.clip.boxes[0], one.targets, frame=(128, 128))
    assert unmoved.centre_distance > 0.1
