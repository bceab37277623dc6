"""Many clips' figures as one: means with confidence intervals, in a table for reading and for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mean:
    """A mean and the ends of its confidence interval, over `count` values. NaN throughout when there are none."""

    mean: float
    low: float
    high: float
    count: int


def mean_interval(values: Sequence[float], *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> Mean:
    """The mean with its percentile bootstrap interval (Efron, 1979): `draws` resamples of the values, from `seed`.

    values: one a clip, since frames of one clip are not independent. Those that are NaN, measures that a clip has no
    answer for, are left out and not counted. One value alone gives an interval of no width.
    """
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, got {level}; 0.95 is usual")
    known = np.asarray([v for v in values if not math.isnan(v)], float)
    if not len(known):
        return Mean(math.nan, math.nan, math.nan, 0)
    picks = np.random.default_rng(seed).integers(0, len(known), (draws, len(known)))
    low, high = np.quantile(known[picks].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return Mean(float(known.mean()), float(low), float(high), len(known))


Figure = Mean | float | None


@dataclass(frozen=True)
class Row:
    """One line of a table: its label and its figures by column; a column without a figure stays empty."""

    label: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Table:
    """Rows under named columns. digits: how many after the point, by column; 3 where not given."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    digits: Mapping[str, int] | None = None

    def to_text(self) -> str:
        """Fixed-width lines: labels to the left, figures to the right, a mean as `mean [low, high]`."""
        cells = [["", *self.columns], *[[r.label, *[self._cell(r, c) for c in self.columns]] for r in self.rows]]
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        lines = [
            "  ".join([line[0].ljust(widths[0]), *[v.rjust(w) for v, w in zip(line[1:], widths[1:], strict=True)]])
            for line in cells
        ]
        return "\n".join(line.rstrip() for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """For json.dumps: {"columns": [...], "rows": [{"label": ..., "figures": {column: figure}}]}; what is not a
        finite number becomes null, because JSON has none."""
        rows = [{"label": r.label, "figures": {c: _plain(r.figures.get(c)) for c in self.columns}} for r in self.rows]
        return {"columns": list(self.columns), "rows": rows}

    def _cell(self, row: Row, column: str) -> str:
        figure, places = row.figures.get(column), (self.digits or {}).get(column, 3)
        if figure is None:
            return "-"
        if not isinstance(figure, Mean):
            return _number(figure, places)
        if not figure.count:
            return "-"
        ends = f"[{_number(figure.low, places)}, {_number(figure.high, places)}]"
        return f"{_number(figure.mean, places)} {ends}"


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}" if math.isfinite(value) else ("inf" if value > 0 else "-")


def _plain(figure: Figure) -> dict[str, float | int | None] | float | None:
    if isinstance(figure, Mean):
        return {k: v if math.isfinite(v) else None for k, v in asdict(figure).items()}
    return float(figure) if figure is not None and math.isfinite(figure) else None
