"""How well an object's template explains a frame at one pose, and the pose near a first guess that explains it best.

The template is relit first (a plane of brightness and a tint a channel, both bounded), because a renderer's or a
camera's light is no part of what the object is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from vxedit.render.objects import DRAWINGS
from vxedit.score.search import BRIGHTNESS
from vxedit.score.template import draw, template

_TINT = 0.12  # a channel's gain may differ by this share from the common one
_SLOPE = 0.45  # brightness may change by this share from edge to edge of the object
_COLOUR = 32.0  # rms grey levels at which the colour agreement of a pixel has fallen to exp(-1/2)
_EXPLAINED = 40.0  # rms grey levels at which a pixel speaks neither for nor against the template
_AGAINST = 2.0  # the most that one pixel can speak against it, in units of the most that one can speak for it
_CORE = 0.9  # coverage from which a pixel shows the object alone and counts for the likeness
_RIDGE = 1e-3 * np.eye(3, dtype=np.float32)
_FEWEST = 12  # such pixels, fewer say nothing
_TURN = 10.0  # degrees either way
_STRETCH = 1.7  # width over height, against the drawing's
_SEEN = 0.6  # share of the object that must lie in the frame
# what one step changes: centre x, y, width, height as shares of the object's sides; degrees
_MOVES = np.array(
    [
        (1, 0, 0, 0, 0),
        (0, 1, 0, 0, 0),
        (0, 0, 1, 1, 0),
        (0.5, 0, 1, 0, 0),  # one edge at a time: the other three may already lie right
        (-0.5, 0, 1, 0, 0),
        (0, 0.5, 0, 1, 0),
        (0, -0.5, 0, 1, 0),
        (0, 0, 0, 0, 40.0),
    ]
)


@dataclass(frozen=True)
class Fit:
    """One pose judged. `likeness` in [0, 1]; `gain`: pixels explained minus pixels contradicted."""

    pose: np.ndarray
    likeness: float
    gain: float

    @property
    def merit(self) -> float:
        """What two guesses are compared by: likeness first, then what is explained, so that the whole beats a part. Its
        root, or a large template on a plain background would beat a small object."""
        return self.likeness**4 * max(self.gain, 1.0) ** 0.5


NOTHING = Fit(np.full(5, np.nan), 0.0, -np.inf)


def _relit(colour: np.ndarray, seen: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The template's colours (3, n) in the light that fits the frame's (3, n) best; x, y (n,) in [-1/2, 1/2]."""
    power, cross = np.einsum("cn,cn->n", colour, colour), np.einsum("cn,cn->n", colour, seen)
    basis = np.stack([np.ones_like(x), x, y])
    light = np.linalg.solve((basis * power) @ basis.T + _RIDGE, basis @ cross)
    light[0] = min(max(light[0], BRIGHTNESS[0]), BRIGHTNESS[1])
    light[1:] = np.clip(light[1:], -_SLOPE, _SLOPE)
    lit = colour * (light @ basis)
    tint = np.einsum("cn,cn->c", lit, seen) / np.maximum(np.einsum("cn,cn->c", lit, lit), 1e-3)
    return np.minimum(lit * np.clip(tint, 1 - _TINT, 1 + _TINT)[:, None], 255)


def _correlation(lit: np.ndarray, seen: np.ndarray) -> float:
    """Correlation of the patterns (3, n), each channel about its own mean."""
    a, b = lit - lit.mean(1, keepdims=True), seen - seen.mean(1, keepdims=True)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-6))


@cache
def _cover(name: str) -> float:
    """Share of its box that the object fills."""
    return float(template(name)[..., 3].mean())


def judge(frame: np.ndarray, name: str, pose: np.ndarray, *, full: bool = True) -> Fit:
    """Judge a pose (see `template`) in a frame float32 (H, W, 3), 0..255.

    likeness = (mean colour agreement of the object's pixels) x (correlation of its pattern), 0 where negative. Both
    are 1 for the object itself in any light; the first falls when the colours are others, both when a part is missing.
    With full=False only the gain is worked out, for searching.
    """
    patch, rows, columns = draw(name, pose, height=frame.shape[0], width=frame.shape[1])
    alpha = patch[..., 3]
    inside = np.flatnonzero(alpha > 0.05)
    weight = alpha.ravel()[inside]
    if weight.sum() < max(6.0, _SEEN * pose[2] * pose[3] * _cover(name)):
        return Fit(pose, 0.0, -np.inf)
    down, across = np.divmod(inside.astype(np.float32), alpha.shape[1])
    colour = patch.reshape(-1, 4)[inside, :3].T / weight
    seen = frame[rows, columns].reshape(-1, 3)[inside].T
    x = (across + np.float32(columns.start + 0.5 - pose[0])) / np.float32(pose[2])
    y = (down + np.float32(rows.start + 0.5 - pose[1])) / np.float32(pose[3])
    lit = _relit(colour, seen, x, y)
    off = lit - seen
    error = np.einsum("cn,cn->n", off, off) / 3
    gain = float(weight @ np.maximum(1 - error / _EXPLAINED**2, -_AGAINST))
    if not full:
        return Fit(pose, 0.0, gain)
    core = weight > _CORE
    if core.sum() < _FEWEST:
        return Fit(pose, 0.0, gain)
    agreement = float(np.exp(-0.5 * error[core] / _COLOUR**2).mean())
    return Fit(pose, agreement * max(0.0, _correlation(lit[:, core], seen[:, core])), gain)


def _allowed(name: str, pose: np.ndarray, least: float, most: float) -> bool:
    stretch = pose[2] / pose[3] / DRAWINGS[name].aspect
    return abs(pose[4]) <= _TURN and 1 / _STRETCH <= stretch <= _STRETCH and least <= np.sqrt(pose[2] * pose[3]) <= most


def improve(
    frame: np.ndarray,
    name: str,
    pose: np.ndarray,
    *,
    steps: tuple[float, ...],
    bounds: tuple[float, float],
    sweeps: int = 4,
) -> Fit:
    """Coordinate search for the pose of the most gain: centre, size, each edge and the angle in turn, forwards and
    back, by a share of the object's size that shrinks through `steps` when no move helps any more.

    bounds: least and most geometric mean of the object's sides in pixels. sweeps: the most rounds at each step.
    """
    best = judge(frame, name, pose, full=False)
    for step in steps:
        for _ in range(sweeps):
            start = best
            for move in _MOVES:
                best = _slide(frame, name, best, move * step, bounds)
            if best is start:
                break
    return judge(frame, name, best.pose)


def _slide(frame: np.ndarray, name: str, best: Fit, move: np.ndarray, bounds: tuple[float, float]) -> Fit:
    """One step along a move, or back along it, whichever helps; the same fit when neither does."""
    size = np.array([best.pose[2], best.pose[3], best.pose[2], best.pose[3], 1.0])
    for sign in (1, -1):
        pose = best.pose + sign * move * size
        if _allowed(name, pose, *bounds):
            fit = judge(frame, name, pose, full=False)
            if fit.gain > best.gain:
                return fit
    return best
