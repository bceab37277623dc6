"""Many measurements, each kept in a file of its own, so that a run can stop anywhere and go on, or be shared out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vxedit.backbones.protocol import Backbone
from vxedit.backbones.registry import Outline
from vxedit.evaluate.case import Case, case, crossing
from vxedit.evaluate.edits import ABLATIONS, OURS, PERFECT, RECIPES, Way, edit_figures, measure, perfect, replay_figures
from vxedit.evaluate.generated import drawn, drawn_figures, measure_twin
from vxedit.evaluate.model import forward_flops
from vxedit.evaluate.rows import row_file, write_row
from vxedit.evaluate.words import measure_word
from vxedit.invert.inversion import Inversion, invert
from vxedit.io.fit import resize_frames
from vxedit.io.pictures import draw_boxes, write_png
from vxedit.job import InvertSettings
from vxedit.make import Clock, Outcome

Kind = Literal["real", "generated", "half", "larger", "words", "crossing"]
SCALES = {"half": 0.5, "larger": 1.5}
_SIDE_PX = 96


@dataclass(frozen=True)
class Trial:
    """One clip: its kind and seed, and the ways in which it is edited."""

    kind: Kind
    seed: int
    ways: tuple[Way, ...]


def trials(
    real: int, generated: int, others: int, ablations: int, sizes: int, crossings: int, words: int, first: int
) -> Iterator[Trial]:
    """What is measured: vxedit on `real` inverted and `generated` clips; the published recipes on the first `others` of
    each, and vxedit with each part taken out on the first `ablations` inverted ones; vxedit on `sizes` clips at half
    and at one and a half times the size, on `words` whose object becomes another, and on `crossings` of two objects."""
    for k in range(max(real, generated, sizes, crossings, words)):
        recipes = RECIPES if k < others else ()
        if k < real:
            yield Trial("real", first + k, (OURS, *recipes, *(ABLATIONS if k < ablations else ())))
        if k < sizes:
            yield Trial("half", first + k, (OURS,))
            yield Trial("larger", first + k, (OURS,))
        if k < words:
            yield Trial("words", first + k, (OURS,))
        if k < generated:
            yield Trial("generated", first + k, (OURS, *recipes))
        if k < crossings:
            yield Trial("crossing", first + k, (OURS,))


def shard(todo: Iterable[Trial], part: int, parts: int) -> list[Trial]:
    """The `part`-th, from 1, of `parts` shares of the work: all trials of a seed together, which have one clip."""
    return [trial for trial in todo if trial.seed % parts == part - 1]


def run(
    backbone: Backbone,
    outline: Outline,
    todo: Sequence[Trial],
    how: InvertSettings,
    folder: Path,
    tell: Callable[[str], None],
) -> None:
    """Measure every trial that `folder` does not hold yet, for this model and these settings."""
    inverted = _Inverted(backbone, how)
    for trial in todo:
        missing = [way for way in trial.ways if not _kept(folder, trial, way.name)]
        if not missing and (trial.kind in ("generated", "words") or _kept(folder, trial, PERFECT)):
            continue
        facts = {
            "identity": backbone.identity,
            "dtype": str(backbone.dtype).removeprefix("torch."),
            "steps": backbone.steps if trial.kind == "generated" else how.steps,
            "kind": trial.kind,
            "seed": trial.seed,
        }
        if trial.kind == "generated":
            _generated(backbone, outline, trial, missing, facts, folder)
        else:
            _edited(backbone, outline, trial, missing, inverted, facts, folder)
        tell(f"{trial.kind} {trial.seed}: {', '.join(way.name for way in missing)}")


def forget(todo: Sequence[Trial], folder: Path, measured: Collection[tuple[str, int, str]]) -> None:
    """Drop those of the measurements, each its kind, seed and way, that `todo` is of: `run` then makes them again."""
    for trial in todo:
        for name in (PERFECT, *(way.name for way in trial.ways)):
            if (trial.kind, trial.seed, name) in measured:
                row_file(folder, trial.kind, trial.seed, name).unlink(missing_ok=True)


class _Inverted:
    """Inversions of cases, the last of which is kept: what is asked of a seed's clip differs from trial to trial, and
    the clip doesn't. Crossings are clips of their own."""

    def __init__(self, backbone: Backbone, how: InvertSettings) -> None:
        self._backbone, self._how = backbone, how
        self._last: tuple[tuple[bool, int], Inversion, float] | None = None

    def of(self, trial: Trial, one: Case) -> tuple[Inversion, float]:
        """The trial's inversion, and the seconds that it took."""
        key = (trial.kind == "crossing", trial.seed)
        if self._last is None or self._last[0] != key:
            clock = Clock()
            with clock("invert"):
                found = invert(self._backbone, self._backbone.encode(one.clip.frames), one.clip.caption, self._how)
            self._last = key, found, clock.seconds["invert"]
        return self._last[1:]


def _edited(
    backbone: Backbone,
    outline: Outline,
    trial: Trial,
    ways: Sequence[Way],
    inverted: _Inverted,
    facts: dict[str, Any],
    folder: Path,
) -> None:
    one = _case(trial)
    inversion, seconds = inverted.of(trial, one)
    flops = forward_flops(backbone, inversion.clean)
    if trial.kind == "words":
        outcome, figures = measure_word(backbone, outline, one, inversion, flops=flops)
        _keep(folder, trial, OURS.name, facts, figures, _strip(one.clip.frames, outcome))
        return
    if trial.kind == "real" and not _kept(folder, trial, "replay"):
        cost = {"inversion_forwards": inversion.forwards, "inversion_backwards": inversion.backwards}
        found = replay_figures(backbone, one, inversion) | cost | {"invert": seconds}
        _keep(folder, trial, "replay", facts, found, None)
    if not _kept(folder, trial, PERFECT):
        best = perfect(one)
        _keep(folder, trial, PERFECT, facts, edit_figures(backbone, one, best, Clock()), _strip(one.clip.frames, best))
    for way in ways:
        outcome, figures = measure(backbone, outline, one, inversion, way, flops=flops)
        _keep(folder, trial, way.name, facts, figures, _strip(one.clip.frames, outcome))


def _case(trial: Trial) -> Case:
    if trial.kind == "crossing":
        return crossing(trial.seed)
    return case(trial.seed, scale=SCALES.get(trial.kind, 1.0))


def _generated(
    backbone: Backbone, outline: Outline, trial: Trial, ways: Sequence[Way], facts: dict[str, Any], folder: Path
) -> None:
    one = drawn(backbone, trial.seed)
    _keep(folder, trial, "original", facts, drawn_figures(one), None)
    flops = forward_flops(backbone, one.made.clean)
    for way in ways:
        outcome, figures = measure_twin(backbone, outline, one, way, flops=flops)
        _keep(folder, trial, way.name, facts, figures, _strip(one.frames, outcome))


def _kept(folder: Path, trial: Trial, name: str) -> bool:
    return row_file(folder, trial.kind, trial.seed, name).exists()


def _keep(
    folder: Path,
    trial: Trial,
    name: str,
    facts: dict[str, Any],
    figures: dict[str, float],
    strip: np.ndarray | None,
) -> None:
    if strip is not None:
        file = row_file(folder, trial.kind, trial.seed, name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_png(file, strip, overwrite=True)
    write_row(folder, {**facts, "way": name, "figures": figures})


def _strip(before: np.ndarray, outcome: Outcome) -> np.ndarray:
    """One row of small pictures: the first, middle and last frame before, with the paths, and after."""
    asked = before
    for boxes in outcome.targets:
        asked = draw_boxes(asked, boxes, trail=True)
    shown = [0, len(before) // 2, len(before) - 1]
    frames = np.concatenate([asked[shown], outcome.frames[shown]])
    return np.concatenate(list(resize_frames(frames, _SIDE_PX, _SIDE_PX)), 1)
