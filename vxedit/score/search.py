"""Where could the object be? Every place, many sizes and three proportions at once, on a coarse grid by FFT.

Three scores, because each fails somewhere. `hue`: masked normalised correlation (Lewis, "Fast normalized
cross-correlation", 1995) over the three channels together, with one mean for all of them, so that a template's colours
count and the clip's brightness does not; but a brown table is like a brown burger everywhere. `pattern`: the same with
a mean a channel, times the hue's; but a plain object has little pattern. Both are shrunk where few cells are compared,
which agree by chance. `gain`: how much better the template (at its best brightness) explains the cells under it than a
fixed tolerance does, summed, so that the whole of a plain object beats a part of it; but so does a plain background.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vxedit.score.template import draw

GRID = 64  # geometric mean of the coarse grid's sides
BRIGHTNESS = (0.65, 1.4)  # of the clip's object over the template's
_STEP = 1.13
_ASPECTS = (0.76, 1.0, 1.32)
_TOLERANCE = 50.0  # grey levels
_ALIKE = 0.75  # difference of two log areas
_FEW = 30.0  # cells
_SEEN = 0.5  # share of a template that must lie in the frame


@dataclass(frozen=True)
class Bank:
    """All templates of one object for one frame size, and what of the correlation does not depend on the frame."""

    sizes: np.ndarray  # (n, 2) width, height in cells, the small ones first
    grid: tuple[int, int]  # rows, columns
    padded: tuple[int, int]
    mask: np.ndarray  # (n, P, Q) conjugate spectra
    colour: np.ndarray  # (n, 3, P, Q)
    count: np.ndarray  # (n, rows, columns) values of the template in the frame
    total: np.ndarray  # (n, 3, rows, columns) sum of its colours there
    energy: np.ndarray  # (n, rows, columns) sum of their squares


def _grid(height: int, width: int) -> tuple[int, int]:
    shrink = GRID / np.sqrt(height * width)
    return max(8, round(height * shrink)), max(8, round(width * shrink))


def _centred(name: str, size: np.ndarray, padded: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Mask (P, Q) and colour times mask (3, P, Q) with the object's centre on cell (0, 0), wrapped round."""
    rows, columns = padded
    pose = np.array([columns // 2 + 0.5, rows // 2 + 0.5, *size, 0.0])
    canvas = np.zeros((rows, columns, 4), np.float32)
    patch, down, across = draw(name, pose, height=rows, width=columns)
    canvas[down, across] = patch
    canvas = np.roll(canvas, (-(rows // 2), -(columns // 2)), (0, 1))
    return canvas[..., 3], canvas[..., :3].transpose(2, 0, 1)


def _map(spectrum: np.ndarray, grid: tuple[int, int], padded: tuple[int, int]) -> np.ndarray:
    """The correlation in every cell of the grid from its spectrum."""
    return np.fft.irfft2(spectrum, s=padded)[..., : grid[0], : grid[1]].astype(np.float32)


@lru_cache(maxsize=4)
def bank(name: str, aspect: float, height: int, width: int, scale_range: tuple[float, float]) -> Bank:
    """The templates of an object whose width over height is `aspect`, for frames of height x width.

    `scale_range`: the geometric means of the template's sides, as shares of the frame's.
    """
    grid = _grid(height, width)
    low, high = scale_range
    scales = low * (high / low) ** np.linspace(0, 1, max(2, round(np.log(high / low) / np.log(_STEP)) + 1))
    cells = scales * np.sqrt(grid[0] * grid[1])
    sizes = np.array([(c * np.sqrt(aspect * a), c / np.sqrt(aspect * a)) for c in cells for a in _ASPECTS])
    reach = int(np.ceil(sizes.max() / 2)) + 1
    padded = (cv2.getOptimalDFTSize(grid[0] + reach), cv2.getOptimalDFTSize(grid[1] + reach))
    drawn = [_centred(name, size, padded) for size in sizes]
    masks, colours = np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn])
    squares = np.divide(colours**2, masks[:, None], out=np.zeros_like(colours), where=masks[:, None] > 1e-3).sum(1)
    inside = np.zeros(padded, np.float32)
    inside[: grid[0], : grid[1]] = 1
    here = np.fft.rfft2(inside)
    spectra = np.conj(np.fft.rfft2(masks))
    count = 3 * _map(spectra * here, grid, padded)
    whole = 3 * masks.sum((1, 2))[:, None, None]
    count = np.where(count >= _SEEN * whole, np.maximum(count, 1e-3), np.inf)
    spectrum = np.conj(np.fft.rfft2(colours))
    total = _map(spectrum * here, grid, padded)
    energy = np.maximum(_map(np.conj(np.fft.rfft2(squares)) * here, grid, padded), 1e-3)
    return Bank(sizes, grid, padded, spectra, spectrum, count, total, energy)


def _normalised(cross: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation from a covariance and two variances, each a sum over the template's values."""
    return cross / np.sqrt(np.maximum(first, 1) * np.maximum(second, 1))


def response(templates: Bank, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three scores of every template with its centre in every cell, each (n, rows, columns).

    frame: (H, W, 3), 0..255. pattern and hue lie in [-1, 1], gain counts explained values. Places with too little of
    the template in the frame get -1, -1 and -inf.
    """
    rows, columns = templates.grid
    small = cv2.resize(frame.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    canvas = np.zeros((3, *templates.padded), np.float32)
    canvas[:, :rows, :columns] = small.transpose(2, 0, 1)
    channels = np.fft.rfft2(canvas)
    where = (templates.grid, templates.padded)
    seen = _map(templates.mask[:, None] * channels, *where)
    power = _map(templates.mask * np.fft.rfft2((canvas**2).sum(0)), *where)
    cross = _map(np.einsum("ncpq,cpq->npq", templates.colour, channels), *where)
    n, total, energy = templates.count, templates.total, templates.energy
    s, t = seen.sum(1), total.sum(1)
    hue = _normalised(cross - t * s / n, energy - t**2 / n, power - s**2 / n)
    cells = n / 3
    own = [np.einsum("ncyx,ncyx->nyx", a, b) / cells for a, b in ((total, seen), (total, total), (seen, seen))]
    pattern = _normalised(cross - own[0], energy - own[1], power - own[2])
    light = np.clip(cross / energy, *BRIGHTNESS)
    left = power - 2 * light * cross + light**2 * energy
    out = np.isinf(n)
    gain = np.where(out, -np.inf, np.where(out, 0, n) - left / _TOLERANCE**2)
    hue /= 1 + _FEW / cells
    return np.where(out, -1, np.maximum(pattern, 0) * np.maximum(hue, 0)), np.where(out, -1, hue), gain


def guesses(templates: Bank, frame: np.ndarray, *, each: int = 3) -> list[np.ndarray]:
    """Poses (5,) in the frame's pixels worth a closer look: the highest peaks of every score, apart in place or size;
    `each` among all templates, and as many among the smaller half. Large ones explain more of any background, and may
    leave a small object out."""
    height, width = frame.shape[:2]
    cell = np.array([width / templates.grid[1], height / templates.grid[0]])
    found: list[np.ndarray] = []
    for score in response(templates, frame):
        for count in (len(score), len(score) // 2):
            for _ in range(each):
                k, row, column = np.unravel_index(int(score[:count].argmax()), score.shape)
                if score[k, row, column] <= 0:
                    break
                size = templates.sizes[k]
                pose = np.array([*((column, row) + np.array(0.5)) * cell, *size * cell, 0.0])
                if not any(np.array_equal(pose, other) for other in found):
                    found.append(pose)
                _clear(score, templates, int(k), int(row), int(column))
    return found


def _clear(score: np.ndarray, templates: Bank, k: int, row: int, column: int) -> None:
    """Take a peak out of the score, with what lies within 0.3 of its size and is nearly as large."""
    areas, reach = templates.sizes.prod(1), np.ceil(0.3 * templates.sizes[k]).astype(int)
    alike = np.abs(np.log(areas / areas[k])) < _ALIKE
    down, across = max(0, row - reach[1]), max(0, column - reach[0])
    score[alike, down : row + reach[1] + 1, across : column + reach[0] + 1] = -np.inf
