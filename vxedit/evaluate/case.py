"""Unseen rendered clips with a path asked of them, and how a perfect edit would leave them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vxedit.render.scene import Rendered, Scene, moved, random_scene, render

FPS = Fraction(8)


@dataclass(frozen=True)
class Case:
    """A rendered clip, its truth, and the path asked of its first actor; `targets` (F, 4): the true box's size at the
    path's centres. `truth`: the clip as a perfect edit would leave it. `more`: paths and targets of further actors."""

    seed: int
    scene: Scene
    clip: Rendered
    path: str
    targets: np.ndarray
    truth: Rendered
    more: tuple[tuple[str, np.ndarray], ...] = ()

    @property
    def paths(self) -> tuple[tuple[str, np.ndarray], ...]:
        """Every moved actor's path and targets."""
        return ((self.path, self.targets), *self.more)


def case(seed: int, *, scale: float = 1.0) -> Case:
    """A clip with one object and a random path at least an eighth of the frame, on average, from its own track.

    `scale` other than 1 also asks for that many times the object's size, from the first frame on.
    """
    scene = random_scene(seed, split="test", actors=1)
    clip = render(scene)
    rng = np.random.default_rng([seed, 99])
    boxes = clip.boxes[0]
    sizes = (boxes[:, 2:] - boxes[:, :2]) * scale
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = sizes.max(0) / 2 + 0.01
    time = np.linspace(0, 1, len(boxes))[:, None]
    while True:
        ends = rng.uniform(half, 1 - half, (2, 2)).round(3)
        track = ends[0] + (ends[1] - ends[0]) * time
        if np.linalg.norm(track - centres, axis=1).mean() > 0.18:
            break
    targets = np.concatenate([track - sizes / 2, track + sizes / 2], 1)
    size = "" if scale == 1 else ",{:.4f},{:.4f}"
    rows = zip(("0%", "100%"), ends, sizes[[0, -1]], strict=True)
    path = " ".join(f"{when}:{x:.3f},{y:.3f}" + size.format(*side) for when, (x, y), side in rows)
    if scale != 1:  # keyframes that give sizes lead from the first one's to the last one's
        sizes = sizes[:1] + (sizes[-1:] - sizes[:1]) * time
        targets = np.concatenate([track - sizes / 2, track + sizes / 2], 1)
    actor = scene.actors[0]
    grown = actor.sizes * (sizes / (boxes[:, 2:] - boxes[:, :2]))
    truth = render(moved(scene, 0, actor.centres + (track - centres), None if scale == 1 else grown))
    return Case(seed, scene, clip, path, targets, truth)


def crossing(seed: int) -> Case:
    """A clip with two objects that stand apart, asked to cross: each goes where the other is, the second in front."""
    rng = np.random.default_rng([seed, 7])
    for attempt in range(1000):
        scene = random_scene(seed * 1000 + attempt, split="test", actors=2)
        clip = render(scene)
        middles = (clip.boxes[:, :, :2] + clip.boxes[:, :, 2:]) / 2
        apart = not (clip.masks[0] & clip.masks[1]).any() and np.abs(middles[0] - middles[1])[:, 0].min() > 0.38
        if apart:
            break
    time = np.linspace(0, 1, scene.frames)[:, None]
    lift = rng.uniform(0.02, 0.06)
    paths, made = [], scene
    for k, other in ((0, 1), (1, 0)):
        boxes = clip.boxes[k]
        sizes = boxes[:, 2:] - boxes[:, :2]
        half = sizes.max(0) / 2 + 0.01
        ends = np.clip(np.stack([middles[k, 0], middles[other, -1]]) + [0, lift * (2 * k - 1)], half, 1 - half).round(3)
        track = ends[0] + (ends[1] - ends[0]) * time
        paths.append(
            (
                " ".join(f"{when}:{x:.3f},{y:.3f}" for when, (x, y) in zip(("0%", "100%"), ends, strict=True)),
                np.concatenate([track - sizes / 2, track + sizes / 2], 1),
            )
        )
        made = moved(made, k, scene.actors[k].centres + track - middles[k])
    return Case(seed, scene, clip, *paths[0], render(made), more=(paths[1],))
