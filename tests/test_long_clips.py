"""A clip longer than the model takes in one piece, from file to file, on a tiny model of random weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from tests.footage import PROMPT, RATE, contents, write_footage
from tests.io.clips import sound_of
from vxedit import make, real
from vxedit.backbones.protocol import Size
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D
from vxedit.edit.path import parse_path
from vxedit.edit.region import touched_cells
from vxedit.invert.store import Store
from vxedit.io.fit import resize_frames
from vxedit.io.probe import probe
from vxedit.io.read import read_video
from vxedit.io.record import read_record
from vxedit.io.write import write_video
from vxedit.job import STAY, EditSettings, Extras, InvertSettings, ObjectJob, RealJob, Selection, WordSettings
from vxedit.make import Brief, Outcome, edit_frames
from vxedit.real import edit_real, plan
from vxedit.results import Result
from vxedit.stand_in import StandIns, stand_ins
from vxedit.windows import windows

FRAMES, LENGTH = 20, 8
WINDOWS = windows(FRAMES, LENGTH)
BOX = (0.15, 0.3, 0.45, 0.7)
AWAY = "0%:0.3,0.5,0.3,0.4 0.3s:0.6,0.5 100%:0.7,0.4"
NAMES = ("out.mp4", "out.json", "out.png")
STRESSED = WordSettings(weights=(("ball", 2.0),))


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> UNet3D:
    return cast(UNet3D, load(str(checkpoint), device="cpu"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of 48x32 with a tone; the model takes them in three windows of 8."""
    return write_footage(tmp_path_factory.mktemp("long") / "long.mp4", frames=FRAMES, width=48, height=32)


class Bench:
    """Edits of the long clip into one folder; what was given to be encoded, and what each window came to."""

    def __init__(self, folder: Path, clip: Path, tiny: UNet3D, store: Store, checkpoint: Path) -> None:
        self.folder, self.tiny, self.store = folder, tiny, store
        self.handed: dict[str, np.ndarray] = {}
        self.outcomes: list[Outcome] = []
        self.briefs: list[Brief] = []
        self.job = RealJob(
            clip,
            folder / "out.mp4",
            "ball",
            "by:+0.25,0",
            prompt=PROMPT,
            box=BOX,
            model=str(checkpoint),
            selection=Selection(window=LENGTH),
            invert=InvertSettings("uni", 2, 2.5),
            edit=EditSettings(0.7, 5),
        )

    def __call__(self, *, store: Store | None = None, progress: Any = None, **changed: Any) -> Result:
        return edit_real(replace(self.job, **changed), progress=progress, backbone=self.tiny, store=store or self.store)

    def encode(self, path: Path, shown: Iterable[np.ndarray], fps: Fraction, **options: Any) -> None:
        self.handed[path.name] = np.stack(list(shown))
        write_video(path, self.handed[path.name], fps, **options)

    def edit(self, brief: Brief, *given: Any, **named: Any) -> Outcome:
        self.briefs.append(brief)
        self.outcomes.append(edit_frames(brief, *given, **named))
        return self.outcomes[-1]


@pytest.fixture
def bench(
    tmp_path: Path, clip: Path, tiny: UNet3D, store: Store, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    folder = tmp_path / "results"
    folder.mkdir()
    made = Bench(folder, clip, tiny, store, checkpoint)
    monkeypatch.setattr(real, "write_video", made.encode)
    monkeypatch.setattr(real, "edit_frames", made.edit)
    return made


def test_all_frames_the_sound_and_a_record_of_the_whole(bench: Bench, clip: Path) -> None:
    result = bench(path=AWAY, extras=Extras(side_by_side=True, attention=True))
    info = probe(result.output)
    assert (info.width, info.height, info.fps, info.has_audio) == (48, 32, RATE, True)
    kept, whole = sound_of(result.output), sound_of(clip)
    assert len(kept) == pytest.approx(len(whole), abs=1100) and np.abs(kept).max() > 0.3
    for name in ("out.mp4", "out-side-by-side.mp4", "out-attention.mp4"):
        assert len(read_video(bench.folder / name)) == FRAMES
    assert cv2.imread(str(bench.folder / "out.png")) is not None

    record = read_record(bench.folder / "out.json")
    assert record["clip"]["frames"] == FRAMES and record["source"]["indices"] == list(range(FRAMES))
    assert record["windows"] == [vars(window) for window in WINDOWS] and len(WINDOWS) == 3
    assert record["placement"] == {"picture": [0, 0, 48, 32], "window": [0, 0, 48, 32]}
    assert record["model"]["size"]["frames"] == LENGTH
    found, aimed = np.array(record["boxes"]["source"]), np.array(record["boxes"]["target"])
    assert found.shape == aimed.shape == (FRAMES, 4)
    times_s = np.arange(FRAMES) / float(RATE)  # seconds count from the clip's first frame, not a window's
    sampled = parse_path(AWAY).sample(times_s, start_boxes=np.tile([0.15, 0.3, 0.45, 0.7], (FRAMES, 1))).boxes
    centres = (sampled[:, :2] + sampled[:, 2:]) / 2
    assert (aimed[:, :2] + aimed[:, 2:]) / 2 == pytest.approx(centres, abs=1e-4)
    for window, outcome in zip(WINDOWS, bench.outcomes, strict=True):
        new = slice(window.begin + window.shared, window.end)
        assert found[new] == pytest.approx(outcome.found[0].boxes[window.shared :], abs=1e-5)


def test_outside_the_edit_region_the_pixels_are_the_source_s_own(bench: Bench, clip: Path) -> None:
    bench()
    shown, source = bench.handed["out.mp4"], read_video(clip).frames
    touched = np.zeros(shown.shape[:3], bool)
    for window, outcome in zip(WINDOWS, bench.outcomes, strict=True):
        touched[window.begin : window.end] |= outcome.alpha > 0
    assert 0.1 < (~touched).mean() < 0.95
    assert np.array_equal(shown[~touched], source[~touched])
    assert np.abs(shown[touched].astype(int) - source[touched]).mean() > 2


def test_windows_are_faded_into_each_other(bench: Bench) -> None:
    """Where nothing is shared a window's frames are its own; where two share frames, between both."""
    bench()
    shown = bench.handed["out.mp4"].astype(int)
    for k, (window, outcome) in enumerate(zip(WINDOWS, bench.outcomes, strict=True)):
        end = len(window) - (WINDOWS[k + 1].shared if k + 1 < len(WINDOWS) else 0)
        own = slice(window.begin + window.shared, window.begin + end)
        assert np.array_equal(shown[own], outcome.frames[window.shared : end])
        if k:
            before = bench.outcomes[k - 1].frames[-window.shared :].astype(int)
            after = outcome.frames[: window.shared].astype(int)
            for i in range(window.shared):
                share = (i + 1) / (window.shared + 1)
                faded = shown[window.begin + i] - (before[i] + share * (after[i] - before[i]))
                assert np.abs(faded).max() <= 0.5 + 1e-5


def test_an_object_whose_words_change_it_goes_on_from_what_the_window_before_made(bench: Bench) -> None:
    bench(path=STAY, words=STRESSED)
    assert bench.briefs[0].settled is None and len(bench.handed["out.mp4"]) == FRAMES
    for window, brief, before in zip(WINDOWS[1:], bench.briefs[1:], bench.outcomes, strict=False):
        assert brief.settled is not None and np.array_equal(brief.settled, before.frames[-window.shared :])
        assert len(brief.clip) == LENGTH


def test_what_an_object_becomes_is_drawn_once_for_all_windows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[Size] = []

    def noted(*given: Any, **named: Any) -> StandIns:
        sizes.append(given[3])
        return stand_ins(*given, **named)

    monkeypatch.setattr(make, "stand_ins", noted)
    result = bench(path=STAY, words=WordSettings((("ball", "burger"),)))
    assert [size._asdict() for size in sizes] == [result.record["model"]["size"]] and sizes[0].frames == LENGTH
    cutouts = [cast(StandIns, brief.stand_ins).cutouts[0] for brief in bench.briefs]
    for one, other, window in zip(cutouts, cutouts[1:], WINDOWS[1:], strict=False):
        assert one is not None and other is not None
        assert np.array_equal(one.colours[-window.shared :], other.colours[: window.shared])
    passes = sum(outcome.edited.forwards for outcome in bench.outcomes if outcome.edited)
    assert result.record["cost"]["edit_forwards"] == passes > 2 * bench.tiny.steps
    bench(path=STAY, words=WordSettings((("ball", "burger"),)), edit=EditSettings(0.0, 5), overwrite=True)
    assert len(sizes) == 1  # where nothing is to change, nothing is drawn


@pytest.mark.parametrize("words", [WordSettings(), WordSettings((("ball", "burger"),))])
def test_an_object_that_is_laid_anew_is_rendered_freely_in_every_window(bench: Bench, words: WordSettings) -> None:
    bench(words=words)
    assert [brief.settled for brief in bench.briefs] == [None, None, None]


@pytest.mark.parametrize("words", [WordSettings(), STRESSED])
def test_frames_that_are_made_already_stay_what_they_are(bench: Bench, words: WordSettings) -> None:
    """In the latents, where the object is or goes: from there the rest goes on. Elsewhere they are the source's."""
    bench(words=words, path=STAY if words else AWAY)
    brief = bench.briefs[1]
    planned = plan(replace(bench.job, words=words, overwrite=True))
    settled = np.array(brief.clip.frames[:3])
    settled[:, 8:24, 8:30] = (40, 90, 200)
    inverted, seen = real._Run(planned, bench.tiny, bench.store, real.Clock(), None)._inverted(WINDOWS[1], brief.clip)
    made, free = (
        edit_frames(replace(brief, settled=frames), bench.tiny, inverted, seen, real.Clock())
        for frames in (settled, None)
    )
    assert made.edited is not None and free.edited is not None
    region = made.edited.region
    height, width = made.edited.latents.shape[-2:]
    inside = (touched_cells(np.maximum(region.source, region.target), height, width)[:3] > 0).expand(4, -1, -1, -1)
    wanted = bench.tiny.encode(resize_frames(settled, *seen.shape[1:3]))[0][inside]
    assert 10 < inside[0].sum() < inside[0].numel()
    torch.testing.assert_close(made.edited.latents[0, :, :3][inside], wanted, rtol=0, atol=1e-4)
    assert (free.edited.latents[0, :, :3][inside] - wanted).abs().mean() > 0.01
    outside = made.alpha == 0
    assert np.array_equal(made.frames[outside], brief.clip.frames[outside])
    planned.footage.close()


def test_no_strength_changes_nothing(bench: Bench, clip: Path) -> None:
    result = bench(edit=EditSettings(0.0, 5))
    assert np.array_equal(bench.handed["out.mp4"], read_video(clip).frames)
    assert result.record["cost"]["edit_forwards"] == 0


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """Notes every call of a function of vxedit.real."""
    calls: list[Any] = []
    function = getattr(real, name)

    def note(*given: Any, **named: Any) -> Any:
        calls.append(given)
        return function(*given, **named)

    monkeypatch.setattr(real, name, note)
    return calls


@pytest.mark.parametrize(
    ("path", "passes"), [(AWAY, 2), ("by:+0.25,0", 2), ("0%:0.3,0.5,0.2,0.2 100%:0.7,0.5,0.2,0.2", 1)]
)
def test_a_path_from_where_the_object_is_takes_two_passes_and_one_inversion_a_window(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, passes: int
) -> None:
    made, looked = counted(monkeypatch, "invert"), counted(monkeypatch, "locate_objects")
    first = bench(store=Store(tmp_path / "store"), path=path)
    assert len(made) == len(WINDOWS) and len(looked) == (passes - 1) * len(WINDOWS)
    cost = first.record["cost"]
    assert cost["inversion_from_store"] is False and cost["inversion_forwards"] == 3 * (cost["inversion_forwards"] // 3)
    again = bench(store=Store(tmp_path / "store"), path=path, output=bench.folder / "again.mp4")
    assert len(made) == len(WINDOWS) and again.record["cost"]["inversion_from_store"] is True
    assert np.array_equal(bench.handed["out.mp4"], bench.handed["again.mp4"])


def test_a_motion_runs_over_the_whole_clip(bench: Bench) -> None:
    boxes = bench(path="by:+0.25,-0.1").record["boxes"]
    moved = np.array(boxes["target"]) - np.array(boxes["source"])
    way = np.linspace(0, 1, FRAMES)[:, None]
    assert moved == pytest.approx(way * [0.25, -0.1, 0.25, -0.1], abs=2e-5)


def test_several_objects_with_masks(bench: Bench, tmp_path: Path) -> None:
    """One mask in the first frame, and one a frame."""
    (tmp_path / "masks").mkdir()
    for k in range(FRAMES):
        mask = np.zeros((32, 48), np.uint8)
        mask[20:30, 10 + k : 20 + k] = 255
        cv2.imwrite(str(tmp_path / "masks" / f"{k:02d}.png"), mask)
    first = np.zeros((32, 48), np.uint8)
    first[8:20, 6:20] = 255
    cv2.imwrite(str(tmp_path / "first.png"), first)
    other = ObjectJob("grass", "by:0,-0.2", mask=tmp_path / "masks")
    result = bench(box=None, mask=tmp_path / "first.png", others=(other,))
    ball, grass = (np.array(one["source"]) for one in result.record["objects"])
    assert ball[0] == pytest.approx([6 / 48, 8 / 32, 20 / 48, 20 / 32], abs=0.04)
    columns = 10 + np.arange(FRAMES)
    known = np.stack([columns / 48, np.full(FRAMES, 20 / 32), (columns + 10) / 48, np.full(FRAMES, 30 / 32)], 1)
    assert np.abs(grass - known).max() < 0.04  # every window is given its own frames' masks
    assert not result.warnings or not any("diffuse" in said for said in result.warnings)


def test_progress_is_the_whole_clip_s(bench: Bench, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    bench(store=Store(tmp_path / "store"), path="by:+0.2,0", progress=lambda *step: told.append(step))
    for stage in ("invert", "edit", "decode"):
        done = [(now, total) for name, now, total in told if name == stage]
        assert done == sorted(done) and done[-1][0] == done[-1][1] and len({total for _, total in done}) == 1


def test_what_is_said_is_said_once(bench: Bench) -> None:
    said = bench(box=None, path="by:+0.9,0", edit=EditSettings(0.0)).warnings
    (leaves,) = (line for line in said if "leaves the frame" in line)
    assert f"of {FRAMES} frames" in leaves
    (diffuse,) = (line for line in said if "diffuse" in line)  # random weights look nowhere in particular
    assert "in 3 of 3 windows, first in frames 0 to 7" in diffuse and "--box or --mask" in diffuse


class FailedError(Exception):
    """Stands for whatever goes wrong."""


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), FailedError()])
def test_a_failure_in_the_third_window_leaves_all_as_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, existed: bool, error: BaseException
) -> None:
    for name in NAMES if existed else ():
        (bench.folder / name).write_bytes(b"precious")
    before = contents(bench.folder)

    def fail(*given: Any, **named: Any) -> Outcome:
        if len(bench.outcomes) == 2:
            raise error
        return bench.edit(*given, **named)

    monkeypatch.setattr(real, "edit_frames", fail)
    monkeypatch.setattr(real, "write_video", write_video)  # which takes the frames as they are made
    with pytest.raises(type(error)):
        bench(overwrite=existed)
    assert len(bench.outcomes) == 2 and contents(bench.folder) == before


def test_no_more_than_a_window_is_read_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from vxedit.io.frames import OpenClip

    spans: list[int] = []
    read = OpenClip.read

    def note(self: OpenClip, begin: int, end: int) -> Any:
        spans.append(end - begin)
        return read(self, begin, end)

    monkeypatch.setattr(OpenClip, "read", note)
    bench()
    assert spans and max(spans) <= LENGTH


def test_an_odd_clip_is_shown_at_its_own_size(bench: Bench, tmp_path: Path) -> None:
    """H.264 pads it, and what is shown of the result is read from there."""
    from tests.test_views import lossless

    source = read_video(bench.job.input).frames[:12, :31, :47]
    chosen = replace(bench.job.selection, fit="pad")
    result = bench(input=lossless(tmp_path / "odd.mkv", source), selection=chosen, extras=Extras(attention=True))
    assert len(read_video(result.output)) == 12 and len(read_video(bench.folder / "out-attention.mp4")) == 12
    assert bench.handed["out.mp4"].shape == source.shape
