"""Paths on a clip's clock: exact values, what each motion adds, and what is said when a box leaves the frame."""

from __future__ import annotations

import numpy as np
import pytest

from vxedit.edit.easing import EASES, Ease, eased
from vxedit.edit.path import Keyframe, Motion, Path, Time, parse_path
from vxedit.errors import UsageError

TIMES = np.arange(9) / 8.0  # 1 s and a frame
FULL = "0%:0.3,0.3,0.2,0.2 50%:0.5,0.2,0.2,0.1 100%:0.7,0.7,0.4,0.3"


def box(x: float, y: float, w: float, h: float) -> list[float]:
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def still(frames: int = 9, at: tuple[float, float, float, float] = (0.5, 0.5, 0.2, 0.1)) -> np.ndarray:
    return np.tile(np.array(box(*at)), (frames, 1))


def drifting() -> np.ndarray:
    """An object that moves and grows by itself: centre x 0.3 to 0.46, width 0.1 to 0.26, height half of it."""
    return np.array([box(0.3 + 0.02 * i, 0.5, 0.1 + 0.02 * i, 0.05 + 0.01 * i) for i in range(9)])


def sample(text: str, times: np.ndarray = TIMES, start: np.ndarray | None = None) -> np.ndarray:
    return parse_path(text).sample(times, start_boxes=start).boxes


def test_keyframes_are_met_exactly_and_between_them_the_way_is_straight() -> None:
    boxes = sample(FULL)
    np.testing.assert_allclose(boxes[0], box(0.3, 0.3, 0.2, 0.2), atol=1e-15)
    np.testing.assert_allclose(boxes[4], box(0.5, 0.2, 0.2, 0.1), atol=1e-15)
    np.testing.assert_allclose(boxes[8], box(0.7, 0.7, 0.4, 0.3), atol=1e-15)
    np.testing.assert_allclose(boxes[6], box(0.6, 0.45, 0.3, 0.2), atol=1e-15)
    assert boxes.dtype == np.float64 and boxes.shape == (9, 4)


def test_frames_per_cent_and_seconds_are_one_clock_that_starts_with_the_selection() -> None:
    late = TIMES + 12.5
    expected = sample("0%:0.2,0.5,0.1,0.1 50%:0.8,0.5,0.1,0.1")
    for text in ("0:0.2,0.5,0.1,0.1 4:0.8,0.5,0.1,0.1", "0s:0.2,0.5,0.1,0.1 0.5s:0.8,0.5,0.1,0.1"):
        np.testing.assert_allclose(sample(text, late), expected, atol=1e-12)


def test_unevenly_timed_frames_are_sampled_by_time_and_not_by_index() -> None:
    times = np.array([0.0, 0.1, 1.0])
    boxes = sample("0%:0.2,0.5,0.1,0.1 100%:0.8,0.5,0.1,0.1", times)
    np.testing.assert_allclose((boxes[:, 0] + boxes[:, 2]) / 2, [0.2, 0.26, 0.8], atol=1e-12)
    at_frame = sample("0:0.2,0.5,0.1,0.1 1:0.8,0.5,0.1,0.1", times)
    np.testing.assert_allclose((at_frame[:, 0] + at_frame[:, 2]) / 2, [0.2, 0.8, 0.8], atol=1e-12)


def test_before_the_first_and_after_the_last_keyframe_the_box_stays() -> None:
    boxes = sample("2:0.2,0.3,0.1,0.1 5:0.8,0.6,0.2,0.2")
    np.testing.assert_allclose(boxes[:3], np.tile(box(0.2, 0.3, 0.1, 0.1), (3, 1)), atol=1e-15)
    np.testing.assert_allclose(boxes[5:], np.tile(box(0.8, 0.6, 0.2, 0.2), (4, 1)), atol=1e-15)


def test_a_size_that_is_not_given_is_the_objects_own_in_each_frame() -> None:
    boxes = sample("0%:0.3,0.3 100%:0.6,0.6", start=drifting())
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], 0.1 + 0.02 * np.arange(9), atol=1e-12)
    np.testing.assert_allclose(boxes[:, 3] - boxes[:, 1], 0.05 + 0.01 * np.arange(9), atol=1e-12)


def test_a_given_size_is_reached_from_the_objects_own() -> None:
    boxes = sample("0%:0.5,0.5 100%:0.5,0.5,0.4,0.3", start=still())
    np.testing.assert_allclose(boxes[4], box(0.5, 0.5, 0.3, 0.2), atol=1e-12)


def test_a_width_alone_keeps_the_objects_aspect() -> None:
    boxes = sample("0%:0.5,0.5,0.3", start=still(at=(0.2, 0.2, 0.2, 0.1)))
    np.testing.assert_allclose(boxes, np.tile(box(0.5, 0.5, 0.3, 0.15), (9, 1)), atol=1e-12)
    np.testing.assert_allclose(sample("0%:0.5,0.5,0.3", start=drifting()), boxes, atol=1e-12)


def test_the_easing_shapes_the_way_that_ends_at_its_keyframe() -> None:
    text = "0%:0.2,0.5,0.1,0.1 50%:0.4,0.5,0.1,0.1@ease-in 100%:0.8,0.5,0.1,0.1@hold"
    x = sample(text)[:, [0, 2]].mean(axis=1)
    np.testing.assert_allclose(x, [0.2, 0.2125, 0.25, 0.3125, 0.4, 0.4, 0.4, 0.4, 0.8], atol=1e-12)


@pytest.mark.parametrize("percent", [10, 30, 70, 90])
def test_hold_jumps_in_the_frame_of_its_keyframe_however_the_floats_fall(percent: int) -> None:
    times = np.arange(11) * 0.1001 + 7.3
    x = sample(f"0%:0.2,0.5,0.1,0.1 {percent}%:0.8,0.5,0.1,0.1@hold", times)[:, [0, 2]].mean(axis=1)
    np.testing.assert_allclose(x, np.where(np.arange(11) >= percent // 10, 0.8, 0.2), atol=1e-12)


@pytest.mark.parametrize("ease", EASES)
def test_every_easing_rises_from_0_to_1(ease: Ease) -> None:
    way = eased(np.linspace(0, 1, 101), ease)
    assert way[0] == 0.0 and way[-1] == 1.0 and (np.diff(way) >= 0).all()


def test_the_easings_are_the_curves_that_their_names_say() -> None:
    p = np.linspace(0.05, 0.95, 19)
    assert (eased(p, "ease-in") < p).all() and (eased(p, "ease-out") > p).all()
    np.testing.assert_allclose(eased(p, "ease-out"), 1 - eased(1 - p, "ease-in"), atol=1e-12)
    np.testing.assert_allclose(eased(p, "ease-in-out"), 1 - eased(1 - p, "ease-in-out"), atol=1e-12)
    assert eased(np.array(0.25), "ease-in-out") == pytest.approx(0.15625)
    np.testing.assert_array_equal(eased(p, "linear"), p)
    assert (eased(p, "hold") == 0).all()


def test_by_adds_to_the_objects_own_motion() -> None:
    source = drifting()
    moved = sample("by:+0.2,-0.1", start=source)
    offset = np.outer(np.arange(9) / 8, [0.2, -0.1, 0.2, -0.1])
    np.testing.assert_allclose(moved, source + offset, atol=1e-12)


@pytest.mark.parametrize(
    "word, same", [("left", "by:-0.25,0"), ("right", "by:0.25,0"), ("up:0.1", "by:0,-0.1"), ("down:0.3", "by:0,0.3")]
)
def test_directions_are_by_with_a_direction(word: str, same: str) -> None:
    moved = sample(word, start=still())
    assert not np.allclose(moved[-1], still()[-1])
    np.testing.assert_array_equal(moved, sample(same, start=still()))


def test_to_goes_from_the_first_place_to_the_given_one_whatever_the_object_does() -> None:
    boxes = sample("to:0.7,0.2", start=drifting())
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    np.testing.assert_allclose(centres[[0, 4, 8]], [[0.3, 0.5], [0.5, 0.35], [0.7, 0.2]], atol=1e-12)
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], 0.1 + 0.02 * np.arange(9), atol=1e-12)


def test_scale_grows_about_the_objects_own_centre() -> None:
    source = drifting()
    boxes = sample("scale:1.5", start=source)
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:], source[:, :2] + source[:, 2:], atol=1e-12)
    factor = 1 + 0.5 * np.arange(9) / 8
    np.testing.assert_allclose(
        boxes[:, 2:] - boxes[:, :2], (source[:, 2:] - source[:, :2]) * factor[:, None], atol=1e-12
    )


def test_hold_keeps_the_first_box() -> None:
    np.testing.assert_allclose(sample("hold", start=drifting()), np.tile(drifting()[0], (9, 1)), atol=1e-12)


def test_motions_run_together_in_any_order() -> None:
    both = sample("by:+0.2,0 scale:2@ease-in", start=still())
    np.testing.assert_array_equal(both, sample("scale:2@ease-in by:+0.2,0", start=still()))
    np.testing.assert_allclose(both[4], box(0.6, 0.5, 0.2 * 1.25, 0.1 * 1.25), atol=1e-12)
    held = sample("hold by:+0.2,0", start=drifting())
    np.testing.assert_allclose(held[8], drifting()[0] + [0.2, 0, 0.2, 0], atol=1e-12)


@pytest.mark.parametrize("text", ["by:0,0", "scale:1", "by:0,0 scale:1@ease-in"])
def test_a_motion_of_nothing_leaves_the_source(text: str) -> None:
    np.testing.assert_allclose(sample(text, start=drifting()), drifting(), atol=1e-15)


def test_a_single_frame_is_where_the_path_starts() -> None:
    one = np.array([3.0])
    np.testing.assert_allclose(sample(FULL, one), [box(0.3, 0.3, 0.2, 0.2)], atol=1e-15)
    np.testing.assert_allclose(sample("left scale:2", one, still(1)), still(1), atol=1e-15)


def test_a_box_that_leaves_the_frame_is_moved_back_and_said() -> None:
    result = Path(motions=(Motion("by", (0.6, 0.0)),)).sample(TIMES, start_boxes=still())
    assert (result.boxes >= 0).all() and (result.boxes <= 1).all()
    np.testing.assert_allclose(result.boxes[8], box(0.9, 0.5, 0.2, 0.1), atol=1e-12)
    (said,) = result.warnings  # 0.5 + 0.075 i + 0.1 > 1 from frame 6 on; 1.1 - 0.9 at the end
    assert "in 3 of 9 frames, first in frame 6" in said and "0.200 of the frame's width, 0.000" in said


def test_a_box_larger_than_the_frame_is_cut_to_it_and_said() -> None:
    result = parse_path("scale:10").sample(TIMES, start_boxes=still())
    np.testing.assert_allclose(result.boxes[8], [0, 0, 1, 1], atol=1e-12)
    (said,) = result.warnings
    assert "larger than the frame" in said and "cut by up to 1.000" in said


@pytest.mark.parametrize("seed", range(50))
def test_boxes_always_lie_in_the_frame_and_have_an_area(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = still(at=(0.5, 0.5, *rng.uniform(0.01, 1.0, 2)))
    motions = (Motion("by", tuple(rng.uniform(-1, 1, 2))), Motion("scale", (rng.uniform(0.05, 20),)))
    keys = [Keyframe(Time(i, "frame"), tuple(rng.uniform(-0.5, 1.5, 2)), (rng.uniform(0.01, 1), None)) for i in (1, 6)]
    for path in (Path(motions=motions), Path(tuple(keys))):
        boxes = path.sample(TIMES, start_boxes=start).boxes
        assert (boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, 2:] > boxes[:, :2]).all()


def test_a_path_inside_the_frame_warns_of_nothing() -> None:
    assert parse_path(FULL).sample(TIMES).warnings == ()
    assert parse_path("hold").sample(TIMES, start_boxes=still(at=(0.1, 0.05, 0.2, 0.1))).warnings == ()


@pytest.mark.parametrize(
    "text, needs", [(FULL, False), ("0%:0.3,0.3", True), ("0%:0.3,0.3,0.2", True), ("hold", True), ("to:0.7,0.7", True)]
)
def test_needs_start_says_whether_the_object_has_to_be_found(text: str, needs: bool) -> None:
    path = parse_path(text)
    assert path.needs_start is needs
    if needs:
        with pytest.raises(UsageError, match="--box or --mask"):
            path.sample(TIMES)
    else:
        np.testing.assert_array_equal(path.sample(TIMES).boxes, path.sample(TIMES, start_boxes=still()).boxes)


@pytest.mark.parametrize("text", ["0:0.5,0.5,0.1,0.1 9:0.5,0.5,0.1,0.1", "1.2s:0.5,0.5,0.1,0.1"])
def test_a_time_beyond_the_end_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="beyond the end"):
        sample(text)


def test_the_last_frame_is_shown_for_a_frame_so_its_end_is_not_beyond() -> None:
    np.testing.assert_allclose(sample("0s:0.5,0.5,0.1,0.1 1s:0.7,0.5,0.1,0.1", TIMES[:8])[7], box(0.675, 0.5, 0.1, 0.1))


@pytest.mark.parametrize("text", ["50%:0.5,0.5,0.1,0.1 2:0.5,0.5,0.1,0.1", "50%:0.5,0.5,0.1,0.1 4:0.5,0.5,0.1,0.1"])
def test_times_out_of_order_across_units_are_refused_on_the_clip(text: str) -> None:
    with pytest.raises(UsageError, match="must rise in time"):
        sample(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Time(float("nan"), "percent"),
        lambda: Time(-1, "frame"),
        lambda: Time(1.5, "frame"),
        lambda: Time(101, "percent"),
        lambda: Time(1, "hours"),
        lambda: Keyframe(Time(0, "frame"), (float("inf"), 0.5)),
        lambda: Keyframe(Time(0, "frame"), (0.5, 1.51)),
        lambda: Keyframe(Time(0, "frame"), (0.5, 0.5), (0.0, 0.1)),
        lambda: Keyframe(Time(0, "frame"), (0.5, 0.5), (0.1, 1.01)),
        lambda: Keyframe(Time(0, "frame"), (0.5, 0.5), ease="bounce"),
        lambda: Motion("jump"),
        lambda: Motion("by", (0.1,)),
        lambda: Motion("scale", (0.0,)),
        lambda: Motion("hold", ease="ease-in"),
        lambda: Path(),
        lambda: Path((Keyframe(Time(0, "frame"), (0.5, 0.5)),), (Motion("hold"),)),
        lambda: Path(motions=(Motion("left"), Motion("left"))),
        lambda: Path(motions=(Motion("to", (0.5, 0.5)), Motion("by", (0.1, 0.1)))),
        lambda: Path((Keyframe(Time(0, "frame"), (0.5, 0.5), ease="ease-in"),)),
        lambda: Path((Keyframe(Time(2, "frame"), (0.5, 0.5)), Keyframe(Time(2, "frame"), (0.6, 0.5)))),
        lambda: Path((Keyframe(Time(50, "percent"), (0.5, 0.5)), Keyframe(Time(40, "percent"), (0.6, 0.5)))),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_made(make) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", [still(8), np.full((9, 4), np.nan), still()[:, ::-1]])
def test_start_boxes_that_are_none_are_a_programming_error(start: np.ndarray) -> None:
    with pytest.raises(ValueError, match="start_boxes"):
        sample("hold", start=start)


@pytest.mark.parametrize("times", [np.zeros(0), np.zeros(9), TIMES[::-1], np.zeros((2, 2))])
def test_times_that_do_not_rise_are_a_programming_error(times: np.ndarray) -> None:
    with pytest.raises(ValueError, match="times_s"):
        sample(FULL, times)
