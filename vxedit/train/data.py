"""Training data: rendered clips kept in memory, photographs, and what a U-Net batch is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vxedit.render.backgrounds import HELD_OUT, TRAIN_PHOTOS, photo_crop
from vxedit.render.scene import Rendered, Split, random_scene, render

Rng = np.random.Generator


def rendered_clips(
    seeds: Sequence[int], *, split: Split = "train", progress: Callable[[int], None] | None = None
) -> list[Rendered]:
    """Draw one clip a seed: 16 frames of 128 x 128."""
    clips = []
    for i, seed in enumerate(seeds):
        clips.append(render(random_scene(seed, split=split)))
        if progress:
            progress(i + 1)
    return clips


def photographs(rng: Rng, count: int, *, held_out: bool = False, size: int = 128) -> np.ndarray:
    """Random crops of scikit-image's photographs, uint8 (count, size, size, 3); `held_out` takes those kept for
    testing."""
    names = HELD_OUT if held_out else TRAIN_PHOTOS
    crops = [photo_crop(rng, names[i % len(names)], size) for i in range(count)]
    return np.stack(crops).astype(np.uint8)


def random_crops(rng: Rng, pictures: np.ndarray, count: int, side: int) -> np.ndarray:
    """`count` squares of `side` pixels from pictures (N, H, W, 3), mirrored at random."""
    _, height, width, _ = pictures.shape
    crops = []
    for _ in range(count):
        k, y, x = rng.integers(len(pictures)), rng.integers(height - side + 1), rng.integers(width - side + 1)
        crop = pictures[k, y : y + side, x : x + side]
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(crops)


@dataclass(frozen=True)
class Labels:
    """What grounds a clip's words: caption, its objects' names, and their coverage of each latent cell (n, F, h, w), 0
    to 1."""

    caption: str
    names: tuple[str, ...]
    coverage: np.ndarray


def labels(clip: Rendered, names: Sequence[str], cells: int) -> Labels:
    """Coverage of `cells` x `cells` latent cells by every object; where objects overlap, the later one covers the
    earlier."""
    visible = clip.masks.copy()
    for k in range(len(visible) - 1):
        visible[k] &= ~visible[k + 1 :].any(0)
    shape = visible.shape[:2]
    small = [
        cv2.resize(mask.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
        for mask in visible.reshape(-1, *visible.shape[2:])
    ]
    return Labels(clip.caption, tuple(names), np.stack(small).reshape(*shape, cells, cells).astype(np.float16))
