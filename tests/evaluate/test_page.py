"""The page of results: from kept measurements alone, and honest about where vxedit is not ahead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vxedit.errors import InputError
from vxedit.evaluate.edits import ABLATIONS, OURS, PERFECT, RECIPES
from vxedit.evaluate.page import page, read_kept
from vxedit.io.pictures import write_png

GOOD = {"cd_all": 0.01, "miou": 0.9, "ghost": 0.02, "background_db": 100.0, "ap50": 1.0, "coverage": 1.0}
BAD = {"cd_all": 0.4, "miou": 0.1, "ghost": 0.7, "background_db": 30.0, "ap50": 0.0, "coverage": 0.0}


def keep(
    folder: Path,
    kind: str,
    seed: int,
    way: str,
    figures: dict[str, float],
    *,
    identity: str = "m",
    dtype: str = "float32",
    steps: int = 20,
) -> None:
    file = folder / kind / f"{seed:04d}" / f"{way.replace(' ', '-')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    facts = {"identity": identity, "dtype": dtype, "steps": steps, "kind": kind, "seed": seed, "way": way}
    file.write_text(json.dumps({**facts, "figures": figures}))
    if "miou" in figures:
        write_png(file.with_suffix(".png"), np.full((96, 576, 3), 40 * seed % 256, np.uint8), overwrite=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(4):
        wobble = 0.001 * seed
        keep(tmp_path, "real", seed, "replay", {"replay_vae_db": 40.0 + seed, "replay_honest_db": 39.0 + seed})
        keep(tmp_path, "real", seed, OURS.name, {k: v - wobble for k, v in GOOD.items()})
        keep(tmp_path, "real", seed, PERFECT, {**GOOD, "miou": 0.95})
        for way in RECIPES[:2]:
            keep(tmp_path, "real", seed, way.name, {k: v + wobble for k, v in BAD.items()})
    return tmp_path


def test_the_page_says_where_vxedit_is_ahead_and_where_not(folder: Path, tmp_path: Path) -> None:
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    assert "number of steps, the network in float32" in text and "In 20 steps." in text
    assert text.count("ahead of all, no interval overlaps") == 4 and "not clearly ahead" not in text
    for seed in range(4):
        keep(folder, "real", seed, RECIPES[1].name, {**BAD, "ghost": 0.019 + 0.001 * seed})
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    (line,) = [line for line in text.splitlines() if "not clearly ahead" in line]
    assert line.startswith("- ghost") and RECIPES[1].name in line and RECIPES[0].name not in line


def test_every_figure_is_a_mean_of_what_was_kept_with_its_count(folder: Path, tmp_path: Path) -> None:
    keep(folder, "real", 9, OURS.name, {**GOOD, "miou": 0.1})
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    assert f"{OURS.name} (n = 5)" in text and f"{RECIPES[0].name} (n = 4)" in text
    rows = [line for line in text.splitlines() if line.startswith("| mIoU")]
    assert rows and all(f"| {(0.9 * 4 - 0.006 + 0.1) / 5:.3f} [" in row for row in rows)
    assert "On the 4 clips that all were measured on" in text  # the fifth has no rival


def test_pictures_show_the_best_the_median_and_the_worst(folder: Path, tmp_path: Path) -> None:
    for seed, miou in enumerate((0.2, 0.9, 0.5)):
        keep(folder, "generated", seed, OURS.name, {**GOOD, "miou": miou})
        keep(folder, "generated", seed, "original", {"found": 1.0 - seed, "likeness": 0.5, "unseen": 0.0})
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    assert "](pictures/generated.png)" in text
    import cv2

    picture = cv2.imread(str(tmp_path / "pictures" / "generated.png"))
    assert picture is not None
    levels = [int(v) for v in np.unique(picture[60]) if v in (0, 40, 80)]
    assert levels == [0, 40, 80]
    across = [int(np.argmax(picture[60, :, 0] == level)) for level in (40, 80)]
    assert across[0] < across[1]  # seed 1 is the best, seed 2 the median


def test_several_models_or_none_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 models"):
        read_kept(tmp_path / "empty")
    others: list[dict[str, Any]] = [{"identity": "other"}, {"dtype": "bfloat16"}, {"steps": 40}]
    for other in others:
        keep(folder, "real", 7, OURS.name, GOOD, **other)
        with pytest.raises(InputError, match="2 models or settings"):
            read_kept(folder)


def test_words_have_figures_of_their_own(folder: Path, tmp_path: Path) -> None:
    for seed in range(3):
        figures = {"became": 0.5 + 0.25 * seed, "stayed": 0.0, "new_likeness": 0.6, "old_likeness": 0.2}
        keep(folder, "words", seed, OURS.name, {**figures, "background_db": 90.0, "flicker": 1.0 + seed})
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    part = text[text.index("## A word that becomes another") :]
    assert "(n = 3)" in part and "where the old one was: 0.750 [" in part and "0.000 [0.000, 0.000]" in part
    assert "Background 90.0 [90.0, 90.0] dB" in part


def test_what_was_not_measured_has_no_heading(folder: Path, tmp_path: Path) -> None:
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    assert "### Against the published recipes" in text and "### Each part" not in text
    for file in folder.glob("real/*/*.json"):
        if file.stem in {way.name for way in RECIPES}:
            file.unlink()
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    assert f"### Against {PERFECT}" in text and "published recipes" not in text


def test_generated_clips_may_take_other_steps_than_inverted_ones(folder: Path, tmp_path: Path) -> None:
    keep(folder, "generated", 0, OURS.name, GOOD, steps=40)
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    real, generated = text.split("## Generated clips")
    assert "In 20 steps." in real and "In 40 steps." in generated and "In 20 steps." not in generated


def test_two_objects_count_as_found_where_both_can_be_seen(folder: Path, tmp_path: Path) -> None:
    ours = {"ap50": 0.75, "ap50_second": 1.0, "cd_all": 0.02, "cd_second": 0.01, "miou": 0.8}
    for seed, (shown, both) in enumerate(((0.8, 0.5), (1.0, 0.75))):
        keep(folder, "crossing", seed, OURS.name, {**ours, "found_shown": shown, "found_both": both})
        keep(folder, "crossing", seed, PERFECT, {**ours, "found_shown": 1.0, "found_both": 0.875})
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    part = text[text.index("## Two objects that cross") :]
    assert "(n = 2), of those in which a perfect edit shows at least half of each: 0.900 [" in part
    assert "one hides the other: 0.625 [" in part and "on a perfect edit: 0.875 [" in part


def test_a_part_taken_out_is_compared_on_its_own_clips(folder: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        for way in ABLATIONS[:2]:
            keep(folder, "real", seed, way.name, BAD)
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    part = text[text.index("### Each part") : text.index("### Against")]
    assert "| vxedit (n = 2) | without transport (n = 2) | without guidance (n = 2) |" in part
    assert "| mIoU | 0.899 [" in part and "| vxedit (n = 4) |" in text


def test_clips_whose_object_is_not_found_at_all_are_set_aside_too(folder: Path, tmp_path: Path) -> None:
    for seed in range(2):
        keep(folder, "generated", seed, OURS.name, GOOD)
        keep(folder, "generated", seed, "original", {"found": 1.0, "unseen": 0.0})
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    assert "In the original of every one of them" in text and "### Of these" not in text
    keep(folder, "generated", 1, "original", {"found": 0.25, "unseen": 0.0})
    text = page(read_kept(folder), tmp_path / "pictures", "scripts/results")
    part = text[text.index("### Of these, the clips in whose original the detector finds the object") :]
    assert "vxedit (n = 1)" in part and "In the original of every one" not in text
