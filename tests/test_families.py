"""Whole edits with a model that packs time and tells noise as a flow: what the rooms agree on when latents have fewer
frames than the clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.backbones.test_wan import write_tiny_wan
from tests.footage import write_footage
from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import load
from vxedit.errors import UsageError
from vxedit.gen import edit_generated
from vxedit.invert.store import Store
from vxedit.io.read import read_video
from vxedit.job import (
    EditSettings,
    GenerateSettings,
    GenJob,
    InvertSettings,
    ObjectJob,
    RealJob,
    Selection,
    WordSettings,
)
from vxedit.look import LookJob, look
from vxedit.real import edit_real, plan

PROMPT = "a red ball on the burger"
BOX = (0.15, 0.3, 0.45, 0.7)
FAST = InvertSettings(kind="uni", steps=4, guidance_scale=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"frames": 9, "height": 32, "width": 48, "max_frames": 17}
    return write_tiny_wan(tmp_path_factory.mktemp("models") / "wan", index={"vxedit": settings})


@pytest.fixture(scope="module")
def wan(folder: Path) -> Backbone:
    return load(str(folder), device="cpu")


@pytest.fixture
def job(folder: Path, tmp_path: Path) -> RealJob:
    clip = tmp_path / "clip.mp4"
    write_footage(clip)
    return RealJob(
        clip,
        tmp_path / "out.mp4",
        "ball",
        "by:+0.25,0",
        prompt=PROMPT,
        box=BOX,
        model=str(folder),
        invert=FAST,
        selection=Selection(num_frames=6),
    )


def test_a_real_clip_of_a_length_that_the_model_has_not_is_edited(job: RealJob, wan: Backbone, tmp_path: Path) -> None:
    result = edit_real(job, backbone=wan, store=Store(tmp_path / "store"))
    before, after = read_video(job.input, num_frames=6), read_video(result.output)
    assert after.frames.shape == before.frames.shape
    boxes = result.record["boxes"]
    assert len(boxes["target"]) == len(boxes["source"]) == 6
    moved = np.abs(after.frames.astype(int) - before.frames).mean((1, 2, 3))
    assert (moved > 1).all()
    again = edit_real(replace(job, output=tmp_path / "again.mp4"), backbone=wan, store=Store(tmp_path / "store"))
    assert again.record["cost"]["inversion_from_store"]


def test_a_clip_is_generated_with_its_twin(folder: Path, wan: Backbone, tmp_path: Path) -> None:
    job = GenJob(
        PROMPT,
        tmp_path / "twin.mp4",
        objects=(ObjectJob("ball", "by:+0.25,0", BOX),),
        model=str(folder),
        generate=GenerateSettings(steps=4, num_frames=9),
    )
    result = edit_generated(job, backbone=wan)
    assert len(read_video(result.output)) == len(read_video(tmp_path / "twin-original.mp4")) == 9
    with pytest.raises(UsageError, match="--num-frames 5 or 9"):
        edit_generated(replace(job, overwrite=True, generate=GenerateSettings(steps=4, num_frames=6)), backbone=wan)


def test_words_are_looked_at_in_every_frame(job: RealJob, wan: Backbone, tmp_path: Path) -> None:
    seen = look(
        LookJob(job.input, tmp_path / "look.png", prompt=PROMPT, model=job.model, selection=job.selection), backbone=wan
    )
    assert len(seen.record["words"]) >= 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"words": WordSettings(replace=(("ball", "burger"),))}, r"word edits.*Wan"),
        ({"edit": EditSettings(recipe="peekaboo")}, r"peekaboo.*Wan.*embedded"),
        ({"invert": replace(FAST, per_frame=True)}, r"--per-frame.*Wan"),
    ],
)
def test_what_the_family_has_not_is_refused_before_the_weights(
    job: RealJob, change: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        plan(replace(job, **change))


def test_null_text_optimisation_runs_on_a_flow(wan: Backbone) -> None:
    from vxedit.invert.inversion import invert, replay_inversion

    clean = 0.5 * torch.randn(1, 4, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    made = invert(wan, clean, PROMPT, InvertSettings(steps=4, guidance_scale=3.0))
    plain = invert(wan, clean, PROMPT, InvertSettings(kind="uni", steps=4, guidance_scale=3.0))
    assert made.null is not None

    def missed(inversion: object) -> float:
        return float((replay_inversion(wan, inversion, pinned=False) - clean).square().mean())  # type: ignore[arg-type]

    assert missed(made) < missed(plain)
