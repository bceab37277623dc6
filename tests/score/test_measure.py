"""A clip's figures from boxes made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.score.rendered import pair
from vxedit.score.measure import Seen, edit_outside, mean_figures, object_figures, place_figures, rest_figures

RIGHT = np.array([0.0, 0.0, 0.5, 0.5])
ASIDE = np.array([0.25, 0.0, 0.75, 0.5])  # IoU 1/3, a quarter of the width aside
NOTHING = np.full(4, np.nan)
FRAME = (300, 400)  # diagonal 500


def test_every_protocol_s_figures() -> None:
    target = np.tile(RIGHT, (4, 1))
    figures, theirs = place_figures(np.stack([RIGHT, RIGHT, ASIDE, NOTHING]), target, frame=FRAME)
    assert figures["cd"] == pytest.approx(100 / 500 / 3)
    assert figures["miou"] == pytest.approx((1 + 1 + 1 / 3) / 4)
    assert figures["ap50"] == figures["peekaboo_ap50"] == pytest.approx(2 / 4)
    assert figures["coverage"] == figures["peekaboo_coverage"] == 1
    assert figures["detected"] == pytest.approx(3 / 4)
    # the corner farthest from the target's centre, a quarter in, is 300 and 225 away
    assert figures["cd_penalised"] == figures["peekaboo_cd"] == pytest.approx((100 + 375) / 500 / 4)
    assert figures["peekaboo_miou"] == figures["miou"]
    assert figures["peekaboo_code_miou"] == theirs.volume_iou == pytest.approx(2.5 / 4.5)
    assert figures["peekaboo_code_ap50"] == pytest.approx(2 / 3)
    assert figures["trailblazer_code_miou"] == figures["trailblazer_miou"] == pytest.approx((1 + 1 + 1 / 3) / 3)


def test_an_uncovered_clip_has_no_mean_iou_in_peekaboo_s_paper() -> None:
    figures, _ = place_figures(np.stack([RIGHT, NOTHING]), np.tile(RIGHT, (2, 1)), frame=FRAME)
    assert figures["coverage"] == 0 and math.isnan(figures["peekaboo_miou"])
    assert figures["miou"] == 0.5 and figures["peekaboo_code_coverage"] == 1


def test_frames_that_nothing_was_asked_of_do_not_count() -> None:
    target = np.stack([RIGHT, NOTHING, NOTHING])
    figures, theirs = place_figures(np.stack([RIGHT, ASIDE, NOTHING]), target, frame=FRAME)
    assert (figures["miou"], figures["detected"], theirs.detections) == (1, 1, 1)
    with pytest.raises(ValueError, match="F >= 1"):
        place_figures(np.stack([RIGHT]), np.stack([NOTHING]), frame=FRAME)


def seen(found: np.ndarray, source: np.ndarray | None) -> Seen:
    return Seen("burger", "template", found, np.ones(len(found)), pair().after, source)


def test_the_object_s_figures() -> None:
    shown = pair()
    done = object_figures(shown.edit.frames, shown.source.frames, seen(shown.after, shown.before), [])
    undone = object_figures(shown.source.frames, shown.source.frames, seen(shown.before, shown.before), [])
    assert done["residue"] < 0.1 and undone["residue"] == 1
    assert undone["identity_db"] == 100 > done["identity_db"] > 15
    unknown = object_figures(shown.edit.frames, shown.source.frames, seen(shown.after, None), [])
    assert all(math.isnan(value) for value in unknown.values()) and unknown.keys() == done.keys()


def test_where_another_object_is_or_was_is_no_residue() -> None:
    shown = pair()
    other = Seen("duck", "template", shown.before, np.ones(4), shown.before, shown.after)
    figures = object_figures(shown.source.frames, shown.source.frames, seen(shown.before, shown.before), [other])
    assert math.isnan(figures["residue"])


def test_an_altered_background_scores_lower() -> None:
    shown = pair()
    one = seen(shown.after, shown.before)
    mask = edit_outside([one], 128, 128, margin=0.1)
    good = rest_figures(shown.edit.frames, shown.source.frames, mask)
    altered = shown.edit.frames.copy()
    altered[::2, :20] = altered[::2, :20] // 2
    bad = rest_figures(altered, shown.source.frames, mask)
    assert bad["background_db"] < good["background_db"] and bad["background_ssim"] < good["background_ssim"]
    assert bad["flicker"] > good["flicker"]
    assert good["background_share"] == bad["background_share"] == mask.mean()


def test_frames_too_small_for_flow_have_no_flicker() -> None:
    small = np.zeros((2, 16, 16, 3), np.uint8)
    assert math.isnan(rest_figures(small, small, np.ones((2, 16, 16), bool))["flicker"])


def test_objects_are_averaged_over_those_that_have_the_figure() -> None:
    got = mean_figures(
        [{"cd": 0.1, "residue": math.nan}, {"cd": 0.3, "residue": 0.5}, {"cd": 0.2, "residue": math.nan}]
    )
    assert got == {"cd": pytest.approx(0.2), "residue": 0.5}
    assert math.isnan(mean_figures([{"cd": math.nan}])["cd"])
