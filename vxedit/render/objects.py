"""The objects, drawn as filled polygons in the unit square (x right, y down).

Every object is a list of shapes painted in order; a shape is its outline (n, 2) and a colour.
The outlines of one object fill the unit square exactly, so an object's nominal box is its drawn box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

INK: Colour = (28, 24, 26)
WHITE: Colour = (244, 243, 238)


@dataclass(frozen=True)
class Shape:
    """A filled outline: points (n, 2) in the unit square, colour as 8-bit RGB."""

    points: np.ndarray
    colour: Colour


@dataclass(frozen=True)
class Drawing:
    """An object: its shapes in painting order and its width over its height."""

    shapes: tuple[Shape, ...]
    aspect: float


def _ellipse(
    x: float, y: float, rx: float, ry: float, colour: Colour, turn: float = 0.0, arc: tuple[float, float] = (0.0, 360.0)
) -> Shape:
    angles = np.radians(np.linspace(*arc, 48, endpoint=arc[1] - arc[0] < 360))
    px, py = rx * np.cos(angles), ry * np.sin(angles)
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return Shape(np.stack([x + c * px - s * py, y + s * px + c * py], 1), colour)


def _polygon(points: list[tuple[float, float]], colour: Colour) -> Shape:
    return Shape(np.array(points, float), colour)


def _rectangle(x0: float, y0: float, x1: float, y1: float, colour: Colour) -> Shape:
    return _polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)


def _burger() -> list[Shape]:
    bun, crust = (222, 152, 66), (196, 118, 44)
    lettuce = [(0.0, 0.52)] + [(i / 10, 0.64 if i % 2 else 0.56) for i in range(11)] + [(1.0, 0.5)]
    seeds = [
        _ellipse(x, y, 0.035, 0.022, (250, 232, 186), 20 * (x - 0.5))
        for x, y in ((0.3, 0.2), (0.5, 0.12), (0.68, 0.21), (0.42, 0.3), (0.6, 0.32), (0.2, 0.33), (0.8, 0.34))
    ]
    return [
        _ellipse(0.5, 0.76, 0.46, 0.24, crust, arc=(0, 180)),
        _rectangle(0.04, 0.68, 0.96, 0.8, crust),
        _rectangle(0.02, 0.58, 0.98, 0.71, (92, 50, 30)),
        _polygon([(0.08, 0.55), (0.92, 0.55), (0.78, 0.68), (0.6, 0.58), (0.3, 0.7)], (248, 196, 52)),
        _polygon(lettuce, (96, 176, 60)),
        _rectangle(0.04, 0.46, 0.96, 0.53, (214, 62, 46)),
        _ellipse(0.5, 0.48, 0.48, 0.48, bun, arc=(180, 360)),
        *seeds,
    ]


def _apple() -> list[Shape]:
    red = (206, 38, 44)
    return [
        _ellipse(0.33, 0.6, 0.33, 0.38, red),
        _ellipse(0.67, 0.6, 0.33, 0.38, red),
        _ellipse(0.5, 0.7, 0.36, 0.3, red),
        _polygon([(0.47, 0.32), (0.44, 0.02), (0.52, 0.0), (0.54, 0.32)], (94, 60, 34)),
        _ellipse(0.7, 0.13, 0.19, 0.09, (84, 162, 58), -25),
        _ellipse(0.24, 0.48, 0.07, 0.13, (238, 138, 130), 20),
    ]


def _ball() -> list[Shape]:
    colours = [(236, 70, 60), WHITE, (52, 110, 214), WHITE, (250, 206, 54), WHITE]
    wedges = []
    for i, colour in enumerate(colours):
        rim = np.radians(np.linspace(60 * i, 60 * i + 60, 12))
        points = np.concatenate([[[0.42, 0.42]], np.stack([0.5 + 0.5 * np.cos(rim), 0.5 + 0.5 * np.sin(rim)], 1)])
        wedges.append(Shape(points, colour))
    return [_ellipse(0.5, 0.5, 0.5, 0.5, WHITE), *wedges, _ellipse(0.42, 0.42, 0.08, 0.08, WHITE)]


def _duck() -> list[Shape]:
    yellow = (250, 212, 48)
    return [
        _polygon([(0.02, 0.5), (0.2, 0.56), (0.2, 0.8)], yellow),
        _ellipse(0.46, 0.72, 0.42, 0.28, yellow),
        _ellipse(0.68, 0.28, 0.23, 0.28, yellow),
        _polygon([(0.86, 0.24), (1.0, 0.32), (0.86, 0.4)], (240, 122, 30)),
        _ellipse(0.4, 0.7, 0.24, 0.14, (226, 178, 30), -12),
        _ellipse(0.75, 0.22, 0.045, 0.055, INK),
    ]


def _car() -> list[Shape]:
    body, glass = (44, 92, 206), (190, 226, 240)
    return [
        _polygon([(0.2, 0.42), (0.32, 0.0), (0.7, 0.0), (0.86, 0.42)], body),
        _polygon([(0.28, 0.4), (0.37, 0.1), (0.5, 0.1), (0.5, 0.4)], glass),
        _polygon([(0.54, 0.4), (0.54, 0.1), (0.67, 0.1), (0.78, 0.4)], glass),
        _polygon([(0.0, 0.46), (0.08, 0.38), (0.92, 0.38), (1.0, 0.5), (1.0, 0.8), (0.0, 0.8)], body),
        _ellipse(0.23, 0.79, 0.13, 0.21, INK),
        _ellipse(0.77, 0.79, 0.13, 0.21, INK),
        _ellipse(0.23, 0.79, 0.06, 0.1, (176, 178, 184)),
        _ellipse(0.77, 0.79, 0.06, 0.1, (176, 178, 184)),
        _ellipse(0.95, 0.55, 0.04, 0.07, (252, 232, 130)),
    ]


def _boat() -> list[Shape]:
    return [
        _rectangle(0.46, 0.0, 0.5, 0.72, (110, 74, 44)),
        _polygon([(0.52, 0.04), (0.96, 0.6), (0.52, 0.62)], WHITE),
        _polygon([(0.44, 0.12), (0.44, 0.62), (0.12, 0.6)], (238, 96, 70)),
        _polygon([(0.0, 0.7), (1.0, 0.7), (0.82, 1.0), (0.18, 1.0)], (126, 72, 40)),
        _polygon([(0.04, 0.77), (0.96, 0.77), (0.92, 0.84), (0.08, 0.84)], (228, 206, 160)),
    ]


def _fish() -> list[Shape]:
    orange = (246, 128, 34)
    return [
        _polygon([(0.26, 0.5), (0.0, 0.12), (0.06, 0.5), (0.0, 0.88)], (224, 96, 24)),
        _polygon([(0.4, 0.2), (0.62, 0.0), (0.72, 0.24)], (224, 96, 24)),
        _ellipse(0.6, 0.52, 0.4, 0.36, orange),
        _polygon([(0.44, 0.2), (0.53, 0.17), (0.53, 0.87), (0.44, 0.84)], WHITE),
        _polygon([(0.68, 0.18), (0.75, 0.2), (0.75, 0.84), (0.68, 0.86)], WHITE),
        _polygon([(0.5, 0.84), (0.6, 1.0), (0.7, 0.84)], (224, 96, 24)),
        _ellipse(0.87, 0.43, 0.04, 0.06, INK),
    ]


def _star() -> list[Shape]:
    radii = (0.5, 0.22)
    points = [
        (0.5 + radii[i % 2] * math.sin(math.pi * i / 5), 0.5 - radii[i % 2] * math.cos(math.pi * i / 5))
        for i in range(10)
    ]
    inner = [(0.5 + 0.55 * (x - 0.5), 0.5 + 0.55 * (y - 0.5)) for x, y in points]
    return [_polygon(points, (250, 190, 20)), _polygon(inner, (255, 228, 96))]


def _balloon() -> list[Shape]:
    return [
        _polygon([(0.47, 0.72), (0.53, 0.72), (0.56, 1.0), (0.5, 1.0)], (120, 60, 110)),
        _polygon([(0.4, 0.76), (0.6, 0.76), (0.5, 0.66)], (190, 40, 140)),
        _ellipse(0.5, 0.36, 0.5, 0.36, (226, 58, 168)),
        _ellipse(0.32, 0.22, 0.1, 0.08, (250, 170, 222), -35),
    ]


def _mushroom() -> list[Shape]:
    spots = [
        _ellipse(x, y, r, 0.75 * r, WHITE)
        for x, y, r in ((0.28, 0.3, 0.1), (0.56, 0.16, 0.09), (0.76, 0.36, 0.1), (0.5, 0.42, 0.07))
    ]
    return [
        _polygon([(0.34, 0.48), (0.66, 0.48), (0.74, 1.0), (0.26, 1.0)], (240, 226, 196)),
        _ellipse(0.5, 0.52, 0.5, 0.52, (198, 30, 34), arc=(180, 360)),
        _ellipse(0.5, 0.52, 0.5, 0.07, (170, 24, 30)),
        *spots,
    ]


def _cup() -> list[Shape]:
    teal = (36, 160, 150)
    return [
        _ellipse(0.78, 0.52, 0.22, 0.28, teal),
        _ellipse(0.78, 0.52, 0.11, 0.16, (18, 92, 88)),
        _polygon([(0.0, 0.1), (0.78, 0.1), (0.7, 1.0), (0.08, 1.0)], teal),
        _rectangle(0.03, 0.45, 0.75, 0.6, WHITE),
        _ellipse(0.39, 0.1, 0.39, 0.1, (70, 40, 26)),
    ]


def _rocket() -> list[Shape]:
    red = (212, 50, 50)
    return [
        _polygon([(0.32, 0.82), (0.68, 0.82), (0.5, 1.0)], (252, 170, 40)),
        _polygon([(0.22, 0.52), (0.0, 0.84), (0.28, 0.8)], red),
        _polygon([(0.78, 0.52), (1.0, 0.84), (0.72, 0.8)], red),
        _polygon([(0.22, 0.3), (0.78, 0.3), (0.72, 0.84), (0.28, 0.84)], (222, 224, 230)),
        _polygon([(0.22, 0.3), (0.5, 0.0), (0.78, 0.3)], red),
        _ellipse(0.5, 0.46, 0.17, 0.1, INK),
        _ellipse(0.5, 0.46, 0.11, 0.065, (110, 196, 240)),
    ]


def _flower() -> list[Shape]:
    petals = [
        _ellipse(0.5 + 0.3 * math.cos(a), 0.32 + 0.2 * math.sin(a), 0.2, 0.12, (176, 96, 220))
        for a in np.arange(6) * math.pi / 3
    ]
    return [
        _rectangle(0.46, 0.4, 0.54, 1.0, (60, 140, 60)),
        _ellipse(0.27, 0.78, 0.22, 0.06, (76, 160, 66), 30),
        _ellipse(0.73, 0.78, 0.22, 0.06, (76, 160, 66), -30),
        *petals,
        _ellipse(0.5, 0.32, 0.16, 0.1, (252, 214, 70)),
    ]


def _ice_cream() -> list[Shape]:
    return [
        _polygon([(0.12, 0.48), (0.88, 0.48), (0.5, 1.0)], (214, 160, 92)),
        _polygon([(0.3, 0.48), (0.36, 0.48), (0.6, 0.86), (0.57, 0.9)], (168, 116, 60)),
        _polygon([(0.7, 0.48), (0.64, 0.48), (0.4, 0.86), (0.43, 0.9)], (168, 116, 60)),
        _ellipse(0.27, 0.38, 0.27, 0.16, (252, 176, 196)),
        _ellipse(0.73, 0.38, 0.27, 0.16, (150, 214, 180)),
        _ellipse(0.5, 0.2, 0.29, 0.2, (250, 240, 214)),
    ]


def _unit(shapes: list[Shape], aspect: float) -> Drawing:
    """Stretch the shapes so that together they fill the unit square."""
    points = np.concatenate([shape.points for shape in shapes])
    low, high = points.min(0), points.max(0)
    return Drawing(tuple(Shape((s.points - low) / (high - low), s.colour) for s in shapes), aspect)


DRAWINGS: dict[str, Drawing] = {
    "burger": _unit(_burger(), 1.15),
    "apple": _unit(_apple(), 0.92),
    "ball": _unit(_ball(), 1.0),
    "duck": _unit(_duck(), 1.1),
    "car": _unit(_car(), 1.8),
    "boat": _unit(_boat(), 1.0),
    "fish": _unit(_fish(), 1.45),
    "star": _unit(_star(), 1.0),
    "balloon": _unit(_balloon(), 0.75),
    "mushroom": _unit(_mushroom(), 1.0),
    "cup": _unit(_cup(), 1.1),
    "rocket": _unit(_rocket(), 0.7),
    "flower": _unit(_flower(), 0.8),
    "ice cream": _unit(_ice_cream(), 0.75),
}
