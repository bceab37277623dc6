"""The scene as it should look, cut and laid together from the source's own pixels: the objects at their targets over a
clean plate.

It is not the result: outlines, light and what no frame shows are wrong in it. It says what goes where, and the model
makes it true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from vxedit.edit.locate import Located
from vxedit.edit.plate import Plate, clean_plate, register
from vxedit.edit.refine import hidden_by
from vxedit.edit.transport import carry


@dataclass(frozen=True)
class Cutout:
    """An object cut out of its frames: its `colours` float32 (F, H, W, 3) in [0, 255], times its `cover` (F, H, W) in
    [0, 1], and the `boxes` (F, 4), xyxy in shares of the frame, that it stands in."""

    colours: np.ndarray
    cover: np.ndarray
    boxes: np.ndarray

    def at(self, frames: Sequence[int]) -> Cutout:
        """Its frames of these numbers, in their order."""
        chosen = list(frames)
        return Cutout(self.colours[chosen], self.cover[chosen], self.boxes[chosen])


class Moved(NamedTuple):
    """An object that was `found`, the boxes (F, 4) it should stand in, and what is laid there where that isn't the
    object itself: another's `cutout`."""

    found: Located
    targets: np.ndarray
    cutout: Cutout | None = None


@dataclass(frozen=True)
class Scene:
    """`frames` uint8 (F, H, W, 3), the objects laid over the `plate`, later ones over earlier ones; `source`, `target`:
    their cover before (with whatever may be theirs) and after, float32 (F, H, W) in [0, 1]; `covers` (n, F, H, W), what
    is to be seen of each at its target; `camera` (F, 3, 3), the camera's motion in pixels, as `register` gives it."""

    frames: np.ndarray
    source: np.ndarray
    target: np.ndarray
    covers: np.ndarray
    plate: Plate
    camera: np.ndarray


def lay(frames: np.ndarray, objects: Sequence[Moved]) -> Scene:
    """Lay the objects that were found in frames uint8 (F, H, W, 3), or what they become, so that they stand in their
    boxes."""
    hidden = np.logical_or.reduce([hidden_by(one.found) for one in objects])
    known = next((one.found.camera for one in objects if one.found.camera is not None), None)
    camera = register(frames, hidden) if known is None else known
    plate = clean_plate(frames, hidden, camera)
    laid = plate.frames.astype(np.float32)
    source = np.zeros(frames.shape[:3], np.float32)
    covers: list[np.ndarray] = []
    for found, targets, cutout in objects:
        soft = soft_cover(found)
        one = cutout or Cutout(unmixed(frames, soft, plate), soft, found.boxes)
        colour, cover = carry(one.colours, one.cover, one.boxes, targets)
        laid = laid * (1 - cover[..., None]) + colour
        covers = [below * (1 - cover) for below in covers] + [cover]
        source = np.maximum(source, np.maximum(soft, found.extent))
    made = np.clip(laid + 0.5, 0, 255).astype(np.uint8)
    return Scene(made, source, np.clip(np.sum(covers, 0), 0, 1), np.stack(covers), plate, camera)


def enlarge(scene: Scene, frames: np.ndarray, objects: Sequence[Moved]) -> Scene:
    """The same scene laid from larger frames (F, H, W, 3) of the same clip, with what was found on the small ones."""
    height, width = frames.shape[1:3]
    tall, wide = scene.target.shape[1:]
    if (height, width) == (tall, wide):
        return scene
    # pixel centres: x' + 0.5 = (x + 0.5) * ratio
    rx, ry = width / wide, height / tall
    up = np.array([[rx, 0, rx / 2 - 0.5], [0, ry, ry / 2 - 0.5], [0, 0, 1]])
    camera = up @ scene.camera @ np.linalg.inv(up)

    def larger(found: Located) -> Located:
        reach = None if found.reach is None else _larger(found.reach, height, width)
        cover = None if found.cover is None else _resized(found.cover, height, width)
        return Located(_larger(found.masks, height, width), found.boxes, reach, camera, cover)

    def larger_cutout(one: Cutout) -> Cutout:
        colours = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in one.colours]
        cover = _resized(one.cover, height, width)
        return Cutout(np.clip(np.stack(colours), 0, 255 * cover[..., None]), cover, one.boxes)

    return lay(
        frames,
        [Moved(larger(one.found), one.targets, one.cutout and larger_cutout(one.cutout)) for one in objects],
    )


def cut_out(frames: np.ndarray, found: Located) -> Cutout:
    """The object that was found in frames uint8 (F, H, W, 3), without what shows through its edge."""
    hidden = hidden_by(found)
    camera = register(frames, hidden) if found.camera is None else found.camera
    cover = soft_cover(found)
    return Cutout(unmixed(frames, cover, clean_plate(frames, hidden, camera)), cover, found.boxes)


def soft_cover(found: Located) -> np.ndarray:
    """How much of each pixel is the object's, float32 (F, H, W) in [0, 1]: as was found, or its masks' with an edge."""
    return soften(found.masks, 0.7 * found.masks.shape[2] / 128) if found.cover is None else found.cover


def _larger(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Masks (F, h, w) bool at a larger size, their outlines smooth."""
    return _resized(soften(masks, 0.8), height, width) > 0.5


def _resized(covers: np.ndarray, height: int, width: int) -> np.ndarray:
    large = [cv2.resize(cover, (width, height), interpolation=cv2.INTER_CUBIC) for cover in covers]
    return np.clip(np.stack(large), 0, 1)


def unmixed(frames: np.ndarray, cover: np.ndarray, plate: Plate) -> np.ndarray:
    """The object's own colour times its `cover` (F, H, W), float32 (F, H, W, 3): what frames uint8 show less what the
    plate shows through, so that no rim of the old background travels along.

    I = c F + (1 - c) B, solved for c F (Smith & Blinn 1996, the case of a known background). Where no frame shows the
    background, what the frame shows is taken for the object's.
    """
    c, picture = cover[..., None], frames.astype(np.float32)
    own = np.clip(picture - (1 - c) * plate.frames, 0, 255 * c)
    return np.where(plate.known[..., None], own, picture * c)


def soften(masks: np.ndarray, sigma: float) -> np.ndarray:
    """Masks (F, H, W) bool as cover in [0, 1] whose edge runs over about a pixel, as a camera records an outline."""
    return np.stack([cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(sigma, 0.3)) for mask in masks])


def vouched(scene: Scene, *, objects: bool) -> np.ndarray:
    """Where the scene stands for what it shows, bool (F, H, W): in the background that some frame shows and, if
    `objects`, in the objects too, which may be to look otherwise. The rest was made up: it is the model's to draw."""
    return scene.plate.known | (scene.target > 0.5) if objects else scene.plate.known & (scene.target <= 0.1)


def with_detail(
    decoded: np.ndarray, expected: np.ndarray, scene: np.ndarray, held: np.ndarray, *, tolerance: float = 8.0
) -> np.ndarray:
    """Give the result the scene itself where the model kept it, so that it is as sharp and as steady as the source.

    decoded: the model's result; expected: the laid scene through the autoencoder alone; scene: that scene itself; all
    uint8 (F, H, W, 3) at the output's size. held (F, H, W) in [0, 1]: where the scene is `vouched` for. The scene's
    weight is exp(-(d / tolerance)^2) of the local difference d, in grey levels, between result and expectation, so
    what the model made anew stays as it made it. A small difference is another in every frame, and flickers: it goes
    where the scene is held. Where it isn't, only what `expected` lacks of the scene is added, and the difference stays.
    """
    out = np.empty_like(decoded)
    near = max(1.0, decoded.shape[2] / 64)
    for i in range(len(decoded)):
        made, laid = decoded[i].astype(np.float32), expected[i].astype(np.float32)
        apart = cv2.GaussianBlur(np.abs(made - laid).mean(-1), (0, 0), near)
        weight = np.exp(-((apart / tolerance) ** 2))[..., None]
        lacking = scene[i] - laid - held[i][..., None] * (made - laid)
        out[i] = np.clip(made + weight * lacking + 0.5, 0, 255).astype(np.uint8)
    return out
