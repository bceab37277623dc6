"""docs/RESULTS.md, written from the kept measurements alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vxedit.errors import InputError
from vxedit.evaluate.edits import ABLATIONS, OURS, PERFECT, RECIPES
from vxedit.evaluate.rows import read_rows, row_file
from vxedit.io.fit import resize_frames
from vxedit.io.pictures import sheet_rows, write_png
from vxedit.score.summary import Mean, mean_interval

Found = dict[str, dict[int, dict[str, float]]]
"""By way, by seed, the figures of one kind of trial."""

FIGURES = {
    "cd_all": ("CD", "lower", "distance of the object's centre from the path's, the diagonal = 1; a frame in which the "
               "detector finds no object counts as the farthest corner"),
    "miou": ("mIoU", "higher", "overlap of the found box with the path's, 0 in a frame without a detection"),
    "ap50": ("AP50", "higher", "share of the frames whose overlap is a half or more"),
    "coverage": ("coverage", "higher", "share of the clips with the object found in more than half of the frames"),
    "ghost": ("ghost", "lower", "how much of the object is left where it was"),
    "background_db": ("background dB", "higher", "PSNR against the source away from the object's places; 100 is equal"),
    "flicker": ("flicker", "lower", "warp error between frames against the source's"),
    "identity_db": ("identity dB", "higher", "the moved object's crop against its source's, where it is found"),
    "forwards": ("forwards", "lower", "passes of the network without a gradient"),
    "gradient_passes": ("gradient passes", "lower", "passes with one, which end after the last attention they need"),
    "tflop": ("TFLOP", "lower", "all of them"),
}  # fmt: skip
_STRIP_PX = 64

CLAIMED = ("cd_all", "miou", "ghost", "background_db")
"""What vxedit's own way is to beat every published one in, at once."""


@dataclass(frozen=True)
class Kept:
    """Every measurement in a folder: by kind of trial. `identity`, `dtype`: the one model and its network's precision;
    `steps`: how many a kind's edits took."""

    kinds: dict[str, Found]
    identity: str
    dtype: str
    steps: dict[str, int]
    folder: Path


def read_kept(folder: Path) -> Kept:
    """The measurements that `trials.run` left. Raises InputError where they are of none or several models."""
    kinds: dict[str, Found] = {}
    facts: set[tuple[str, str]] = set()
    steps: dict[str, set[int]] = {}
    for row in read_rows(folder):
        facts.add((row["identity"], row["dtype"]))
        steps.setdefault(row["kind"], set()).add(int(row["steps"]))
        kinds.setdefault(row["kind"], {}).setdefault(row["way"], {})[int(row["seed"])] = row["figures"]
    several = max(len(facts), *(len(counts) for counts in steps.values()), 0)
    if several != 1:
        raise InputError(
            f"{folder} holds measurements of {several} models or settings; one page is of one: take a new folder"
        )
    return Kept(kinds, *facts.pop(), {kind: counts.pop() for kind, counts in steps.items()}, folder)


def page(kept: Kept, pictures: Path, command: str) -> str:
    """The page as markdown; its pictures are written into the folder `pictures`, beside it."""
    parts = [
        "# Results\n",
        f"Written by `{command}` from measurements alone. Means with 95 % bootstrap intervals over clips; every way "
        f"sees the same clips, seeds and number of steps, the network in {kept.dtype}. The clips come from seeds that "
        "training never saw; the detector knows the renderer's templates and no model. A published recipe runs with "
        "its paper's constants on the embedded model, which is not the model it was published on: this compares "
        "mechanisms, not papers.\n",
        _legend(),
    ]
    for kind, title in TITLES.items():
        if kind in kept.kinds:
            parts.append(_section(kept, kind, title, pictures))
    return "\n".join(parts)


TITLES = {
    "real": "Rendered clips edited as real ones: inverted, then moved",
    "generated": "Generated clips and their twins",
    "half": "Size: asked for half",
    "larger": "Size: asked for one and a half",
    "words": "A word that becomes another",
    "crossing": "Two objects that cross",
}


def _legend() -> str:
    return "\n".join(f"- **{label}** ({better} is better): {text}." for label, better, text in FIGURES.values()) + "\n"


def _section(kept: Kept, kind: str, title: str, pictures: Path) -> str:
    found = kept.kinds[kind]
    parts = [f"## {title}\n", f"In {kept.steps[kind]} steps.\n"]
    if kind == "real":
        parts += [_replay(found), _compare(found, RECIPES)]
        taken = [way.name for way in ABLATIONS if way.name in found]
        if taken:
            parts += ["### Each part taken out, and one put in\n"]
            parts += [_table(_shared(found, [OURS.name, *taken]), [OURS.name, *taken])]
        rivals = [way.name for way in RECIPES if way.name in found]
        parts += [f"### Against {'the published recipes' if rivals else PERFECT}\n"]
        parts += [_table(found, [OURS.name, *rivals, PERFECT])]
    elif kind == "generated":
        ways = [OURS.name, *(way.name for way in RECIPES)]
        parts += [_originals(found), _compare(found, RECIPES), _table(found, ways)]
        seen = _seen(found)
        if seen.get(OURS.name) != found.get(OURS.name):
            parts += ["### Of these, the clips in whose original the detector finds the object\n"]
            parts += [_table(seen, ways)]
        else:
            parts += ["In the original of every one of them the detector finds the object in most frames.\n"]
    elif kind == "crossing":
        parts += [_pairs(found)]
    elif kind == "words":
        parts += [_words(found)]
    else:
        parts += [_sizes(found)]
    return "\n".join([*parts, _pictures(kept, kind, pictures)])


def _replay(found: Found) -> str:
    rows = found.get("replay", {}).values()
    told = {name: mean_interval([row[name] for row in rows]) for name in ("replay_vae_db", "replay_honest_db")}
    return (
        f"Replay against the clip: the autoencoder alone {_cell(told['replay_vae_db'], 2)} dB, honest replay "
        f"{_cell(told['replay_honest_db'], 2)} dB (n = {len(rows)}).\n"
    )


def _originals(found: Found) -> str:
    rows = list(found.get("original", {}).values())
    said = []
    for unseen, name in ((0.0, "trained pairs"), (1.0, "never-trained pairs")):
        share = mean_interval([row["found"] for row in rows if row["unseen"] == unseen])
        said.append(f"{_cell(share, 2)} for {name} (n = {share.count})")
    return (
        f"Before any edit, the right object is found in this share of a generated clip's frames: {', '.join(said)}. An "
        "object that the detector doesn't find in the original, it can't find in the twin.\n"
    )


def _seen(found: Found) -> Found:
    """What was measured on clips in most of whose frames the object is found before any edit."""
    return _on(found, {seed for seed, row in found.get("original", {}).items() if row["found"] > 0.5})


def _shared(found: Found, ways: Sequence[str]) -> Found:
    """What was measured on those clips that all of these ways were measured on."""
    return _on(found, set.intersection(*(set(found.get(way, {})) for way in ways)))


def _on(found: Found, seeds: Collection[int]) -> Found:
    return {way: {seed: row for seed, row in rows.items() if seed in seeds} for way, rows in found.items()}


def _values(found: Found, way: str, figure: str) -> list[float]:
    return [row[figure] for row in found.get(way, {}).values() if figure in row]


def _compare(found: Found, others: Sequence[Any]) -> str:
    """Where vxedit's own way is ahead of every other by intervals that don't touch, and where not."""
    there = [way.name for way in others if found.get(way.name)]
    if not there or not found.get(OURS.name):
        return ""
    shared = _shared(found, [OURS.name, *there])
    lines = [
        f"On the {len(shared[OURS.name])} clips that all were measured on, vxedit against each published recipe:\n"
    ]
    for figure in CLAIMED:
        label, better, _ = FIGURES[figure]
        ours = mean_interval(_values(shared, OURS.name, figure))
        behind = []
        for name in there:
            theirs = mean_interval(_values(shared, name, figure))
            ahead = ours.low > theirs.high if better == "higher" else ours.high < theirs.low
            if not ahead:
                behind.append(f"{name} ({_cell(theirs, 3)})")
        verdict = "ahead of all, no interval overlaps" if not behind else f"not clearly ahead of {', '.join(behind)}"
        lines.append(f"- {label}: {_cell(ours, 3)}; {verdict}")
    return "\n".join(lines) + "\n"


def _table(found: Found, ways: Sequence[str]) -> str:
    there = [way for way in ways if found.get(way)]
    head = "| | " + " | ".join(f"{way} (n = {len(found[way])})" for way in there) + " |"
    lines = [head, "|---" * (len(there) + 1) + "|"]
    for figure, (label, _, _) in FIGURES.items():
        digits = 1 if figure in ("background_db", "identity_db", "forwards", "gradient_passes") else 3
        cells = [_cell(mean_interval(_values(found, way, figure)), digits) for way in there]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _sizes(found: Found) -> str:
    off = mean_interval(_values(found, OURS.name, "side"))
    best = mean_interval(_values(found, PERFECT, "side"))
    return (
        f"The found box's side is off by {_cell(off, 3)} of the side asked for (n = {off.count}; the detector on a "
        f"perfect edit: {_cell(best, 3)}).\n\n" + _table(found, [OURS.name, PERFECT])
    )


def _pairs(found: Found) -> str:
    def told(way: str, figure: str) -> str:
        return _cell(mean_interval(_values(found, way, figure)), 3)

    ours, best, count = OURS.name, PERFECT, len(found.get(OURS.name, {}))
    return (
        f"Share of the frames in which both objects overlap their own boxes by a half or more (n = {count}), of "
        f"those in which a perfect edit shows at least half of each: {told(ours, 'found_shown')}; the detector on a "
        f"perfect edit: {told(best, 'found_shown')}. Of all frames, those among them in which one hides the other: "
        f"{told(ours, 'found_both')}; on a perfect edit: {told(best, 'found_both')}. The one behind alone "
        f"{told(ours, 'ap50')}, the one in front {told(ours, 'ap50_second')}. CD {told(ours, 'cd_all')} and "
        f"{told(ours, 'cd_second')}.\n"
    )


def _words(found: Found) -> str:
    told = {
        name: mean_interval(_values(found, OURS.name, name))
        for name in ("became", "stayed", "new_likeness", "old_likeness", "background_db", "flicker")
    }
    cells = {name: _cell(value, 3) for name, value in told.items()}
    return (
        f"The object's word is replaced by another object's, and its path is to stay where it is (n = "
        f"{told['became'].count}). Share of the frames in which the new object is found where the old one was: "
        f"{cells['became']}; the old one is still found there in {cells['stayed']}. Likeness to the new template "
        f"{cells['new_likeness']}, to the old one {cells['old_likeness']} (found: 0.58 or more). Background "
        f"{_cell(told['background_db'], 1)} dB, flicker {cells['flicker']}.\n"
    )


def _cell(value: Mean, digits: int) -> str:
    if not value.count:
        return "-"
    if value.count == 1:
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _pictures(kept: Kept, kind: str, folder: Path) -> str:
    """One picture a kind: each way's best, median and worst clip by mIoU, three frames before with the path and three
    after."""
    rows = []
    for way in kept.kinds[kind]:
        strips = [_strip_file(kept, kind, seed, way) for seed in _pictured(kept, kind, way)]
        if strips and all(strip.exists() for strip in strips):
            rows.append((way, [_read(strip) for strip in strips]))
    if not rows:
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / f"{kind}.png", sheet_rows(rows, ("best", "median", "worst")), overwrite=True)
    by = "likeness" if kind == "words" else "mIoU"
    return (
        f"\n![Each way's best, median and worst clip by {by}: three frames before, with the path, and after]"
        f"({folder.name}/{kind}.png)\n"
    )


def _pictured(kept: Kept, kind: str, way: str) -> list[int]:
    """The seeds of a way's best, median and worst clip; none of what is no edit."""
    rank, clips = "new_likeness" if kind == "words" else "miou", kept.kinds[kind][way]
    ranked = [seed for _, seed in sorted((figures[rank], seed) for seed, figures in clips.items() if rank in figures)]
    return [ranked[-1], ranked[len(ranked) // 2], ranked[0]] if ranked else []


def unpictured(kept: Kept) -> set[tuple[str, int, str]]:
    """Kind, seed and way of the measurements that the page would show pictures of and has none: they came from a table.
    Measured again, they come out the same, with a picture."""
    return {
        (kind, seed, way)
        for kind, ways in kept.kinds.items()
        for way in ways
        for seed in _pictured(kept, kind, way)
        if not _strip_file(kept, kind, seed, way).exists()
    }


def _strip_file(kept: Kept, kind: str, seed: int, way: str) -> Path:
    return row_file(kept.folder, kind, seed, way).with_suffix(".png")


def _read(file: Path) -> np.ndarray:
    picture = cv2.imread(str(file))
    if picture is None:
        raise InputError(f"{file} can't be read as a picture; remove it and its .json, and measure again")
    width = round(picture.shape[1] * _STRIP_PX / picture.shape[0])
    return resize_frames(picture[None, ..., ::-1], _STRIP_PX, width)[0]
