"""Scenes: what is where in every frame, drawn from a seed, and how a scene becomes frames with known truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from vxedit.render.backgrounds import BACKGROUNDS, TEST_BACKGROUNDS
from vxedit.render.objects import DRAWINGS

Split = Literal["train", "test"]

SUPERSAMPLE = 4
BASE = 128  # the size, in pixels, that textures and the lens are made for
LENS_BLUR = 0.6  # pixels at BASE; no camera resolves its own pixel grid
TEMPLATES = (
    "{objects} over {place}",
    "{objects} in front of {place}",
    "{objects} moving over {place}",
    "{place} and {objects}",
)


@dataclass(frozen=True)
class Actor:
    """One object through time. centres, sizes: (F, 2) as shares of the frame; angles (F,) in degrees."""

    name: str
    centres: np.ndarray
    sizes: np.ndarray
    angles: np.ndarray
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    light: tuple[float, float] = (-0.15, -0.2)


@dataclass(frozen=True)
class Scene:
    """A clip to be drawn: actors in painting order over one background, under one camera and light."""

    actors: tuple[Actor, ...]
    place: str
    held_out: bool
    texture_seed: int
    pan: np.ndarray  # (F, 2) shift of the camera, shares of the frame
    zoom: np.ndarray  # (F,)
    glow: np.ndarray  # (F, 2) direction and strength of the light across the frame
    caption: str
    size: int

    @property
    def frames(self) -> int:
        return len(self.zoom)


@dataclass(frozen=True)
class Rendered:
    """A drawn scene: frames and clean (background alone) uint8 (F, H, W, 3); for each actor its unoccluded
    coverage masks (n, F, H, W) bool and their tight boxes (n, F, 4), xyxy in [0, 1]; the caption."""

    frames: np.ndarray
    clean: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    caption: str


def never_trained(name: str, place: str) -> bool:
    """Whether this object and background are kept apart in training: about one pair in seven, spread evenly."""
    return (list(DRAWINGS).index(name) * 3 + list(BACKGROUNDS).index(place) * 5) % 7 == 0


def _track(rng: np.random.Generator, frames: int, size: np.ndarray) -> np.ndarray:
    """A smooth path (F, 2) of a centre that keeps a box of this size inside the frame."""
    low, high = size / 2 + 0.01, 1 - size / 2 - 0.01
    start = rng.uniform(low, high)
    end = start + rng.uniform(-0.3, 0.3, 2)
    time = np.linspace(0, 1, frames)[:, None]
    bend = rng.uniform(-0.06, 0.06, 2) * np.sin(np.pi * time * rng.uniform(0.5, 2.0))
    return np.clip(start + (np.clip(end, low, high) - start) * time + bend, low, high)


def random_actor(
    rng: np.random.Generator, name: str, frames: int, *, scale: tuple[float, float] = (0.24, 0.42)
) -> Actor:
    """An actor of random size (the geometric mean of its sides, as a share of the frame), track, sway and tint."""
    aspect = DRAWINGS[name].aspect
    mean = rng.uniform(*scale)
    base = np.array([mean * aspect**0.5, mean / aspect**0.5])
    growth = 1 + rng.uniform(-0.12, 0.12) * np.linspace(-1, 1, frames)[:, None]
    phase = np.linspace(0, 2 * np.pi * rng.uniform(0.5, 1.5), frames) + rng.uniform(0, 2 * np.pi)
    red, green, blue = (float(v) for v in rng.uniform(0.9, 1.08, 3))
    across, down = (float(v) for v in rng.uniform(-0.3, 0.3, 2))
    return Actor(
        name,
        _track(rng, frames, base * 1.15),
        base * growth,
        rng.uniform(0, 7) * np.sin(phase),
        (red, green, blue),
        (across, down),
    )


def random_scene(
    seed: int,
    *,
    frames: int = 16,
    size: int = 128,
    split: Split = "train",
    actors: int | None = None,
    name: str | None = None,
    place: str | None = None,
) -> Scene:
    """Draw a scene from a seed. `train` leaves out the never-trained pairs; `test` may use them and the held-out
    photographs.

    Seeds of the two splits never give the same scene. Raises KeyError for an unknown object or place, ValueError where
    a never-trained pair is asked of `train`.
    """
    for asked, table in ((name, DRAWINGS), (place, BACKGROUNDS)):
        if asked is not None and asked not in table:
            raise KeyError(f"{asked!r} can't be drawn; there are {', '.join(table)}")
    if split == "train" and name and place and never_trained(name, place):
        raise ValueError(f"{name!r} and {place!r} are never trained together; draw them with split='test'")
    rng = np.random.default_rng([seed, {"train": 0, "test": 1}[split]])
    count = actors if actors is not None else (2 if rng.random() < 0.25 else 1)
    while True:
        names = list(rng.choice(list(DRAWINGS), count, replace=False))
        names = [name, *[n for n in names if n != name]][:count] if name else names
        where = place or str(rng.choice(list(BACKGROUNDS)))
        if split == "test" or not any(never_trained(str(n), where) for n in names):
            break
    held_out = split == "test" and where in TEST_BACKGROUNDS
    cast = tuple(random_actor(rng, str(n), frames, scale=(0.24, 0.42) if count == 1 else (0.2, 0.32)) for n in names)
    time = np.linspace(0, 1, frames)[:, None]
    pan = rng.uniform(-0.12, 0.12, 2) * (time - 0.5) * 2
    zoom = 1 + rng.uniform(-0.06, 0.06) * (time[:, 0] - 0.5) * 2
    turn = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.8, 0.8) * time[:, 0]
    glow = rng.uniform(0, 0.22) * np.stack([np.cos(turn), np.sin(turn)], 1)
    objects = " and ".join(f"{'an' if n[0] in 'aeiou' else 'a'} {n}" for n in map(str, names))
    caption = str(rng.choice(TEMPLATES)).format(objects=objects, place=where)
    return Scene(cast, where, held_out, int(rng.integers(2**31)), pan, zoom, glow, caption, size)


def _layer(actor: Actor, frame: int, size: int) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
    """One actor in one frame: colour (h, w, 3) premultiplied, alpha (h, w), and where that patch lies in the frame."""
    centre, (width, height) = actor.centres[frame] * size, actor.sizes[frame] * size
    angle = np.radians(actor.angles[frame])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    reach = int(np.ceil(np.hypot(width, height) / 2)) + 1
    corner = np.floor(centre).astype(int) - reach
    span = 2 * reach + 1
    patch = np.zeros((span * SUPERSAMPLE, span * SUPERSAMPLE, 4), np.float32)
    for shape in DRAWINGS[actor.name].shapes:
        points = (shape.points - 0.5) * (width, height) @ turn.T + centre - corner
        fixed = np.round((points * SUPERSAMPLE - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(patch, [fixed], (*shape.colour, 1.0), cv2.LINE_8, 8)
    patch = cv2.resize(patch, (span, span), interpolation=cv2.INTER_AREA)
    y, x = (np.mgrid[:span, :span] - reach) / max(width, height)
    patch[..., :3] *= (1 + actor.light[0] * x + actor.light[1] * y)[..., None] * np.array(actor.tint)
    low = np.clip(-corner, 0, span)
    high = np.clip(size - corner, 0, span)
    patch = patch[low[1] : high[1], low[0] : high[0]]
    start = np.maximum(corner, 0)
    place = (slice(start[1], start[1] + patch.shape[0]), slice(start[0], start[0] + patch.shape[1]))
    return np.clip(patch[..., :3], 0, 255), patch[..., 3], place


def tight_box(mask: np.ndarray) -> np.ndarray:
    """The smallest box (4,) xyxy in [0, 1] round a mask (H, W) bool; zeros where the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros(4)
    height, width = mask.shape
    return np.array([columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height])


def _expose(canvas: np.ndarray, light: np.ndarray) -> np.ndarray:
    """What the camera records of a lit canvas (H, W, 3): softened by its lens, rounded to 8 bits."""
    soft = cv2.GaussianBlur(canvas * light, (0, 0), LENS_BLUR * canvas.shape[0] / BASE)
    return np.clip(soft + 0.5, 0, 255).astype(np.uint8)


def render(scene: Scene) -> Rendered:
    """Draw a scene. The result depends on the scene alone."""
    size, rng = scene.size, np.random.default_rng(scene.texture_seed)
    table = TEST_BACKGROUNDS if scene.held_out else BACKGROUNDS
    span = int(size * 1.4)
    # textures are made for one size and then scaled, so that a larger clip shows the same scene, not a finer grain
    texture = cv2.resize(
        table[scene.place](rng, int(BASE * 1.4)).astype(np.float32), (span, span), interpolation=cv2.INTER_CUBIC
    )
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    clean = np.empty((scene.frames, size, size, 3), np.uint8)
    frames = np.empty_like(clean)
    masks = np.zeros((len(scene.actors), scene.frames, size, size), bool)
    for i in range(scene.frames):
        zoom, shift = scene.zoom[i], span / 2 + scene.pan[i] * size
        view = np.array([[zoom, 0, shift[0] - zoom * size / 2], [0, zoom, shift[1] - zoom * size / 2]])
        canvas = cv2.warpAffine(
            texture,
            view,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        light = (1 + 2 * (scene.glow[i, 0] * x + scene.glow[i, 1] * y))[..., None]
        clean[i] = _expose(canvas, light)
        for k, actor in enumerate(scene.actors):
            colour, alpha, (rows, columns) = _layer(actor, i, size)
            canvas[rows, columns] = canvas[rows, columns] * (1 - alpha[..., None]) + colour
            masks[k, i, rows, columns] = alpha >= 0.5
        frames[i] = _expose(canvas, light)
    boxes = np.stack([[tight_box(mask) for mask in track] for track in masks])
    return Rendered(frames, clean, masks, boxes, scene.caption)


def moved(scene: Scene, actor: int, centres: np.ndarray, sizes: np.ndarray | None = None) -> Scene:
    """The same scene with one actor on another track: what a perfect edit would give. centres, sizes: (F, 2)."""
    old = scene.actors[actor]
    new = replace(old, centres=centres, sizes=old.sizes if sizes is None else sizes)
    return replace(scene, actors=(*scene.actors[:actor], new, *scene.actors[actor + 1 :]))
