"""The backgrounds: textures larger than the frame, over which the camera pans and zooms.

A texture is float32 (S, S, 3) in [0, 255]. Drawn ones come from noise and gradients; photographs come from
the pictures that scikit-image's wheel carries, so no file is fetched. Those in `HELD_OUT` are for testing alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np

Rng = np.random.Generator
Texture = np.ndarray


def noise(rng: Rng, size: int, cells: int, octaves: int = 4, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise (size, size) in [0, 1]: random grids of rising fineness, each half as strong as the last.

    `cells` is the first grid's count across; `stretch` > 1 lengthens the grain horizontally.
    """
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        rows = max(2, cells * 2**octave)
        grid = rng.random((rows, max(2, round(rows / stretch))), np.float32)
        total += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) / 2**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low + 1e-6)


def _blend(mask: np.ndarray, low: tuple[int, int, int], high: tuple[int, int, int]) -> Texture:
    mask = mask[..., None]
    return (1 - mask) * np.array(low, np.float32) + mask * np.array(high, np.float32)


def _down(size: int) -> np.ndarray:
    return np.broadcast_to(np.linspace(0, 1, size, dtype=np.float32)[:, None], (size, size))


def _sky(rng: Rng, size: int) -> Texture:
    clouds = np.clip(noise(rng, size, 4, 5, 2.0) * 2.2 - 0.9, 0, 1)
    blue = _blend(_down(size), (70, 130, 214), (176, 212, 244))
    return blue + clouds[..., None] * (np.array((248, 248, 250), np.float32) - blue)


def _sea(rng: Rng, size: int) -> Texture:
    waves = 0.5 + 0.5 * np.sin(np.arange(size, dtype=np.float32)[:, None] * 0.25 + 9 * noise(rng, size, 5, 3, 2.0))
    return _blend(0.65 * waves + 0.35 * noise(rng, size, 12, 3, 3.0), (14, 66, 110), (70, 160, 190))


def _sand(rng: Rng, size: int) -> Texture:
    ripples = 0.5 + 0.5 * np.sin(np.arange(size, dtype=np.float32)[None] * 0.2 + 12 * noise(rng, size, 3, 2))
    return _blend(0.5 * ripples + 0.5 * noise(rng, size, 20, 3), (196, 160, 104), (240, 214, 160))


def _night(rng: Rng, size: int) -> Texture:
    sky = _blend(noise(rng, size, 3, 4), (8, 10, 30), (44, 34, 84))
    for x, y, r, glow in rng.random((120, 4)):
        cv2.circle(sky, (int(x * size), int(y * size)), 1 + int(r * 1.6), (150 + 105 * glow,) * 3, -1, cv2.LINE_AA)
    return sky


def _wood(rng: Rng, size: int) -> Texture:
    rings = 0.5 + 0.5 * np.sin(np.arange(size, dtype=np.float32)[:, None] * 0.12 + 14 * noise(rng, size, 3, 3, 6.0))
    board = _blend(0.7 * rings + 0.3 * noise(rng, size, 16, 2, 8.0), (110, 66, 34), (186, 126, 74))
    board[:: size // 5] *= 0.55
    return board


def _checkered(rng: Rng, size: int) -> Texture:
    cell = int(rng.integers(14, 26))
    y, x = np.mgrid[:size, :size] // cell
    tiles = _blend(((x + y) % 2).astype(np.float32), (74, 78, 92), (206, 202, 192))
    return tiles * (0.85 + 0.3 * noise(rng, size, 10, 3)[..., None])


def _meadow(rng: Rng, size: int) -> Texture:
    field = _blend(noise(rng, size, 10, 5), (48, 104, 36), (138, 184, 74))
    for x, y, kind in rng.random((70, 3)):
        colour = (246, 240, 228) if kind < 0.5 else (242, 206, 70)
        cv2.circle(field, (int(x * size), int(y * size)), 2, colour, -1, cv2.LINE_AA)
    return field


def _snow(rng: Rng, size: int) -> Texture:
    return _blend(noise(rng, size, 4, 5, 1.6), (168, 186, 214), (246, 248, 252))


def _city(rng: Rng, size: int) -> Texture:
    picture = _blend(_down(size), (236, 170, 120), (120, 110, 150))
    x = 0
    while x < size:
        width, top = int(rng.integers(24, 52)), int(rng.integers(size // 6, size // 2))
        shade = float(rng.uniform(40, 100))
        cv2.rectangle(picture, (x, top), (x + width - 3, size), (shade, shade * 1.02, shade * 1.15), -1)
        for wy in range(top + 6, size - 8, 13):
            for wx in range(x + 5, x + width - 10, 11):
                lit = (250, 222, 140) if rng.random() < 0.45 else (shade * 0.6,) * 3
                cv2.rectangle(picture, (wx, wy), (wx + 5, wy + 6), lit, -1)
        x += width
    return picture


def _curtain(rng: Rng, size: int) -> Texture:
    folds = 0.5 + 0.5 * np.sin(np.arange(size, dtype=np.float32)[None] * 0.22 + 3 * noise(rng, size, 3, 2))
    return _blend(folds * (0.9 + 0.1 * noise(rng, size, 30, 2)), (84, 26, 56), (190, 84, 116))


@cache
def photograph(name: str) -> np.ndarray:
    """One of scikit-image's own pictures as RGB uint8 (H, W, 3); grey ones have three equal channels."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / name
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(
            f"scikit-image's picture {name} is missing from {path.parent}; reinstall scikit-image 0.26"
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def photo_crop(rng: Rng, name: str, size: int, tint: tuple[float, float, float] = (1, 1, 1)) -> Texture:
    """A random square of a photograph, between all of it and a third, resized to (size, size, 3), mirrored at
    random."""
    picture = photograph(name)
    side = int(min(picture.shape[:2]) * rng.uniform(0.34, 1.0))
    y, x = (int(rng.integers(0, n - side + 1)) for n in picture.shape[:2])
    crop = picture[y : y + side, x : x + side]
    crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.clip(crop.astype(np.float32) * np.array(tint, np.float32), 0, 255)


def _photo(*names: str, tint: tuple[float, float, float] = (1, 1, 1)) -> Callable[[Rng, int], Texture]:
    return lambda rng, size: photo_crop(rng, names[int(rng.integers(len(names)))], size, tint)


TRAIN_PHOTOS = (
    "astronaut.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
    "camera.png",
    "coins.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
    "grass.png",
    "gravel.png",
    "brick.png",
    "page.png",
    "moon.png",
)
HELD_OUT = ("coffee.png", "chelsea.png")

# caption's words -> texture; the photographs of grass, gravel and brick are grey, so they get a tint
BACKGROUNDS: dict[str, Callable[[Rng, int], Texture]] = {
    "the sky": _sky,
    "the sea": _sea,
    "sand": _sand,
    "the night sky": _night,
    "a wooden table": _wood,
    "a checkered floor": _checkered,
    "a meadow": _meadow,
    "snow": _snow,
    "a city": _city,
    "a curtain": _curtain,
    "grass": _photo("grass.png", tint=(0.8, 1.12, 0.55)),
    "gravel": _photo("gravel.png", tint=(1.05, 1.0, 0.92)),
    "a brick wall": _photo("brick.png", tint=(1.15, 0.72, 0.6)),
    "a photo": _photo("astronaut.png", "motorcycle_left.png", "rocket.jpg", "camera.png", "coins.png", "retina.jpg"),
}

# never seen in training; the caption calls them what it calls the photographs that were
TEST_BACKGROUNDS: dict[str, Callable[[Rng, int], Texture]] = {"a photo": _photo(*HELD_OUT)}
