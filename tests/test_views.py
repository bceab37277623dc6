"""What is shown of an edit is the same whether its clips lie in memory or in files, and in windows as in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.footage import ball
from tests.io.clips import ffmpeg
from vxedit.io.crop import Placement
from vxedit.io.frames import open_video
from vxedit.io.pictures import draw_boxes, heat, sheet, side_by_side
from vxedit.reel import Filed, Held
from vxedit.story import Story, joined
from vxedit.views import PIECE, Views

FRAMES = 2 * PIECE + 5
RNG = np.random.default_rng(3)


def lossless(path: Path, frames: np.ndarray) -> Path:
    """Frames uint8 (F, H, W, 3) as a file with no loss: PNG pictures in a mkv."""
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", "25", "-i", "-"]
    ffmpeg(*raw, "-c:v", "png", path, stdin=frames.tobytes())
    return path


def a_story(frames: int = FRAMES, objects: int = 1, *, seed: int = 0) -> Story:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0.1, 0.4, (objects, frames, 2))
    boxes = tuple(np.concatenate([corner, corner + 0.3], -1))
    maps = tuple(rng.random((objects, frames, 4, 6), np.float32))
    return Story(
        boxes, boxes, maps, maps[::-1], 0.5, 0.25, 30.0 + seed, 4.0 + seed, 10 + seed, 3 + seed, (f"say {seed}",)
    )


@pytest.fixture(scope="module")
def clips() -> tuple[np.ndarray, np.ndarray]:
    before = ball(frames=FRAMES, width=48, height=32)
    return before, before[:, :, ::-1].copy()


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory, clips: tuple[np.ndarray, np.ndarray]) -> Iterator[list[Filed]]:
    folder = tmp_path_factory.mktemp("reels")
    reels = [Filed(open_video(lossless(folder / f"{k}.mkv", frames))) for k, frames in enumerate(clips)]
    yield reels
    for reel in reels:
        reel.close()


def test_a_reel_in_a_file_is_that_in_memory(clips: tuple[np.ndarray, np.ndarray], filed: list[Filed]) -> None:
    for frames, reel in zip(clips, filed, strict=True):
        held = Held(frames)
        assert len(reel) == len(held) == FRAMES
        for length in (1, PIECE, FRAMES + 1):
            pairs = list(zip(reel.pieces(length), held.pieces(length), strict=True))
            assert all(np.array_equal(a, b) and len(a) <= length for a, b in pairs)
            assert np.array_equal(np.concatenate([a for a, _ in pairs]), frames)
        for count in (1, 6, FRAMES + 1):
            assert np.array_equal(reel.sample(count), held.sample(count)) and len(held.sample(count)) <= count


def test_what_was_padded_for_the_codec_is_cut_off(clips: tuple[np.ndarray, np.ndarray], filed: list[Filed]) -> None:
    reel = Filed(filed[0].clip, (47, 31))
    assert np.array_equal(reel.sample(6), Held(clips[0]).sample(6)[:, :31, :47])
    assert np.array_equal(np.concatenate(list(reel.pieces(7))), clips[0][:, :31, :47])


@pytest.mark.parametrize("objects", [1, 2])
def test_what_is_shown_of_files_is_what_is_shown_of_memory(
    clips: tuple[np.ndarray, np.ndarray], filed: list[Filed], objects: int
) -> None:
    before, after = clips
    story, names = a_story(objects=objects), ["ball", "grass"][:objects]
    view = Placement((48, 32), (0, 0, 48, 32), (8, 0, 40, 32), (16, 16))
    for seen in (None, view):
        here, there = Views(Held(before), Held(after), story, seen), Views(filed[0], filed[1], story, seen)
        assert np.array_equal(here.picture(names), there.picture(names))
        for one, other in ((here.abreast(), there.abreast()), (here.attention(), there.attention())):
            pairs = list(zip(one, other, strict=True))
            assert len(pairs) == FRAMES and all(np.array_equal(a, b) for a, b in pairs)


def test_frames_in_pieces_are_shown_as_the_whole_clip_is(clips: tuple[np.ndarray, np.ndarray]) -> None:
    """The trail is the whole path's, and a map's colours are those of the clip's own range, in every piece."""
    before, after = clips
    story = a_story()
    views = Views(Held(before), Held(after), story)
    (boxes,), (then,), (now,) = story.targets, story.attention_before, story.attention_after
    drawn = draw_boxes(before, boxes, trail=True)
    assert np.array_equal(np.stack(list(views.abreast())), side_by_side([before, drawn, after]))
    assert np.array_equal(np.stack(list(views.attention())), side_by_side([heat(before, then), heat(after, now)]))
    rows = [("before", before), ("path", drawn), ("after", after), ("attention", heat(after, now))]
    assert np.array_equal(views.picture(["ball"]), sheet(rows))


def test_what_is_shown_lets_go_of_its_files(tmp_path: Path, clips: tuple[np.ndarray, np.ndarray]) -> None:
    path = lossless(tmp_path / "clip.mkv", clips[0])
    clip = open_video(path)
    views = Views(Filed(clip), Held(clips[1]), a_story())
    views.picture(["ball"])
    views.close()
    path.unlink()
    with pytest.raises(Exception, match="clip"):
        views.before.sample(3)


def test_a_clip_s_story_is_that_of_what_is_new_in_its_windows() -> None:
    first, second, third = (a_story(8, 2, seed=seed) for seed in range(3))
    whole = joined([first, replace(second, energy_before=None), third], [0, 3, 2])
    for name in ("found", "targets", "attention_before", "attention_after"):
        for k in range(2):
            parts = [getattr(story, name)[k][skip:] for story, skip in ((first, 0), (second, 3), (third, 2))]
            assert np.array_equal(getattr(whole, name)[k], np.concatenate(parts))
        assert len(getattr(whole, name)) == 2 and len(getattr(whole, name)[0]) == 8 + 5 + 6
    assert (whole.forwards, whole.gradient_passes) == (10 + 11 + 12, 3 + 4 + 5)
    assert (whole.vae_psnr_db, whole.concentration) == (31.0, 5.0)
    assert whole.energy_before == 0.5 and whole.energy_after == 0.25  # of the windows that have one
    assert joined([replace(one, energy_after=None) for one in (first, second)], [0, 0]).energy_after is None
    assert whole.warnings == ("say 0", "say 1", "say 2")
    assert joined([first, replace(second, warnings=first.warnings)], [0, 1]).warnings == ("say 0",)


def test_the_story_of_one_window_is_its_own() -> None:
    one = a_story()
    assert joined([one], [0]) is one


def test_frames_at_another_rate_are_found_in_the_file(tmp_path: Path, clips: tuple[np.ndarray, np.ndarray]) -> None:
    path = lossless(tmp_path / "clip.mkv", clips[0])
    with open_video(path, start_s=0.2, fps=Fraction(5)) as clip:
        assert np.array_equal(np.concatenate(list(Filed(clip).pieces(3))), clips[0][5::5])
