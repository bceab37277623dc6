"""The last stage: what of the scene as laid, and what of the model's own picture, the finished frames show."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.edit.scenes import grown
from vxedit.backbones.protocol import Backbone
from vxedit.edit.locate import Located
from vxedit.edit.region import Region
from vxedit.edit.scene import Moved, lay, vouched
from vxedit.edit.task import Edited, Subject
from vxedit.io.fit import resize_frames
from vxedit.make import finish

FRAMES, SIDE = 3, 64


class Pictures:
    """As much of a backbone as finishing asks for: its latents are numbers, and each stands for a clip."""

    def __init__(self, *clips: np.ndarray) -> None:
        self.clips = clips

    def decode(self, latents: Tensor, frames: int) -> np.ndarray:
        return self.clips[int(latents)]


def still() -> tuple[np.ndarray, Located]:
    """A still clip of smooth colours, (3, 64, 64, 3), and an object at its upper left."""
    rng = np.random.default_rng(1)
    picture = resize_frames(rng.integers(60, 190, (1, 8, 8, 3)).astype(np.uint8), SIDE, SIDE)
    masks = np.zeros((FRAMES, SIDE, SIDE), bool)
    masks[:, 4:20, 4:20] = True
    return picture.repeat(FRAMES, 0), Located(masks, np.full((FRAMES, 4), (4, 4, 20, 20)) / SIDE)


@pytest.mark.parametrize("size", [SIDE, 2 * SIDE])
def test_the_models_noise_is_left_out_where_the_scene_is_held_and_its_picture_kept_elsewhere(size: int) -> None:
    """The left half is held; the model differs from what was laid by 2 grey levels everywhere, brighter and darker in
    turn."""
    frames, found = still()
    scene = lay(frames, [Moved(found, found.boxes)])
    flicker = 2 * np.array([1, -1, 1])[:, None, None, None]
    whole, left = np.ones(frames.shape[:3], np.float32), np.zeros(frames.shape[:3], np.float32)
    left[:, :, : SIDE // 2] = 1
    region = Region(whole, whole, 0 * whole, whole)
    backbone = cast(Backbone, Pictures((scene.frames + flicker).astype(np.uint8), scene.frames))
    edited = Edited(torch.tensor(0), torch.tensor(1), left, region, scene, None, None, 0, 0)
    source = resize_frames(frames, size, size)
    made, alpha = finish(backbone, source, [Subject("it", (0,), found, found.boxes)], edited)
    assert made.shape == source.shape and (alpha == 1).all() and alpha.shape == source.shape[:3]
    steps = np.diff(made.astype(int), axis=0)
    half, seam = size // 2, size // 32
    # rounded before and after their size changes
    assert np.abs(steps[:, :, : half - seam]).max() <= 1
    assert set(np.unique(np.abs(steps[:, :, half + seam :]))) <= {3, 4, 5}


def test_what_no_frame_shows_is_the_models_and_steady() -> None:
    """An object that stands still is moved away under a still camera: the model draws its place lighter and lighter,
    the frames get the mean."""
    frames, found = still()
    targets = found.boxes + 20 / SIDE
    scene = lay(frames, [Moved(found, targets)])
    made = scene.frames.copy()
    place = found.masks & (scene.target == 0)
    made[place] = 20
    made[place] += np.array([0, 3, 6], np.uint8).repeat(place[0].sum())[:, None]
    whole = np.ones(frames.shape[:3], np.float32)
    edited = Edited(
        torch.tensor(0),
        torch.tensor(1),
        vouched(scene, objects=True).astype(np.float32),
        Region(whole, whole, 0 * whole, whole),
        scene,
        None,
        None,
        0,
        0,
    )
    backbone = cast(Backbone, Pictures(made, scene.frames))
    out, _ = finish(backbone, frames, [Subject("it", (0,), found, targets)], edited)
    deep = place & ~grown(~place, 3)
    assert deep.sum() > 60 and (out[deep] == 23).all()
