"""The picture's place in the frame, from file to file: what the model doesn't see stays the source's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from tests.footage import PROMPT, RATE, ball, write_footage
from vxedit import real
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D
from vxedit.errors import UsageError
from vxedit.invert.store import Store
from vxedit.io.read import read_video
from vxedit.io.record import read_record
from vxedit.io.write import write_video
from vxedit.job import EditSettings, Extras, InvertSettings, ObjectJob, RealJob, Selection
from vxedit.make import Outcome, edit_frames
from vxedit.plan import plan
from vxedit.real import edit_real
from vxedit.results import Result

BOX = (0.3, 0.3, 0.5, 0.7)
SQUARE = (64, 64)
BAR = 16


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> UNet3D:
    return cast(UNet3D, load(str(checkpoint), device="cpu"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 frames of 96x48."""
    return write_footage(tmp_path_factory.mktemp("wide") / "wide.mp4", frames=4, width=96, height=48, sound=False)


@pytest.fixture(scope="module")
def barred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 frames of 96x80, of which the upper and lower 16 rows are black."""
    frames = np.pad(ball(frames=4, width=96, height=48), ((0, 0), (BAR, BAR), (0, 0), (0, 0)))
    path = tmp_path_factory.mktemp("barred") / "barred.mp4"
    write_video(path, frames, RATE)
    return path


class Bench:
    """Edits into one folder; what was given to be encoded, and what each edit came to."""

    def __init__(self, folder: Path, tiny: UNet3D, checkpoint: Path) -> None:
        self.folder, self.tiny, self.store = folder, tiny, Store(folder.parent / "store")
        self.handed: dict[str, np.ndarray] = {}
        self.outcomes: list[Outcome] = []
        self.checkpoint = checkpoint

    def job(self, source: Path, chosen: Selection, **changed: Any) -> RealJob:
        made = RealJob(
            source,
            self.folder / "out.mp4",
            "ball",
            "by:+0.1,0",
            prompt=PROMPT,
            box=BOX,
            model=str(self.checkpoint),
            selection=chosen,
            invert=InvertSettings("uni", 2, 2.5),
            edit=EditSettings(0.7, 5),
        )
        return replace(made, **changed)

    def __call__(self, source: Path, chosen: Selection, **changed: Any) -> Result:
        return edit_real(self.job(source, chosen, **changed), backbone=self.tiny, store=self.store)

    def encode(self, path: Path, shown: Iterable[np.ndarray], fps: Fraction, **options: Any) -> None:
        self.handed[path.name] = np.stack(list(shown))
        write_video(path, self.handed[path.name], fps, **options)

    def edit(self, *given: Any, **named: Any) -> Outcome:
        self.outcomes.append(edit_frames(*given, **named))
        return self.outcomes[-1]


@pytest.fixture
def bench(tmp_path: Path, tiny: UNet3D, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    folder = tmp_path / "results"
    folder.mkdir()
    made = Bench(folder, tiny, checkpoint)
    monkeypatch.setattr(real, "write_video", made.encode)
    monkeypatch.setattr(real, "edit_frames", made.edit)
    return made


def check(bench: Bench, result: Result, source: Path, taken: tuple[int, int, int, int], *, moved: float) -> None:
    """Outside the pixels taken the source's bytes, inside some change; boxes in shares of the whole frame."""
    frames, shown = read_video(source).frames, bench.handed["out.mp4"]
    x0, y0, x1, y1 = taken
    inside = np.zeros(frames.shape[:3], bool)
    inside[:, y0:y1, x0:x1] = True
    assert shown.shape == frames.shape and np.array_equal(shown[~inside], frames[~inside])
    assert np.abs(shown[inside].astype(int) - frames[inside]).mean() > 0.5
    boxes = read_record(result.output.with_suffix(".json"))["boxes"]
    found, aimed = np.array(boxes["source"]), np.array(boxes["target"])
    assert found[0] == pytest.approx(BOX, abs=0.04)
    assert (aimed - found)[-1, ::2] == pytest.approx([moved, moved], abs=1e-4)


def test_a_crop_is_round_the_object_and_keeps_its_shape(bench: Bench, wide: Path) -> None:
    result = bench(wide, Selection(size=SQUARE, fit="crop"), extras=Extras(attention=True, side_by_side=True))
    # the middle of the box and its way, (0.3 + 0.6) / 2 of 96 pixels, is 43: 48 pixels from 19 on, made even
    window = [18, 0, 66, 48]
    assert read_record(bench.folder / "out.json")["placement"] == {"picture": [0, 0, 96, 48], "window": window}
    assert bench.outcomes[0].frames.shape == (4, 48, 48, 3)
    check(bench, result, wide, (18, 0, 66, 48), moved=0.1)
    outside = bench.outcomes[0].alpha == 0
    view = bench.handed["out.mp4"][:, :, 18:66]
    assert np.array_equal(view[outside], read_video(wide).frames[:, :, 18:66][outside])
    assert not [said for said in result.warnings if "stretched" in said]
    assert len(read_video(bench.folder / "out-attention.mp4")) == 4


def test_padding_shows_all_of_the_picture(bench: Bench, wide: Path) -> None:
    result = bench(wide, Selection(size=SQUARE, fit="pad"))
    placed = read_record(bench.folder / "out.json")["placement"]
    assert placed == {"picture": [0, 0, 96, 48], "window": [0, -24, 96, 72]}
    assert bench.outcomes[0].frames.shape == (4, 96, 96, 3)
    check(bench, result, wide, (0, 0, 96, 48), moved=0.1)
    source, alpha = read_video(wide).frames, bench.outcomes[0].alpha[:, 24:72]
    assert (alpha == 0).any() and np.array_equal(bench.handed["out.mp4"][alpha == 0], source[alpha == 0])


def test_stretching_is_said_with_the_ways_out(bench: Bench, wide: Path) -> None:
    result = bench(wide, Selection(size=SQUARE))
    (said,) = (line for line in result.warnings if "stretched" in line)
    assert "96x48 as 64x64" in said and "--fit crop and --fit pad" in said and "-50 %" in said
    check(bench, result, wide, (0, 0, 96, 48), moved=0.1)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_black_bars_are_left_alone(bench: Bench, barred: Path, fit: Any) -> None:
    box = (BOX[0], (BAR + BOX[1] * 48) / 80, BOX[2], (BAR + BOX[3] * 48) / 80)
    result = bench(barred, Selection(size=(96, 48), fit=fit), box=box)
    assert read_record(bench.folder / "out.json")["placement"] == {
        "picture": [0, 16, 96, 64],
        "window": [0, 16, 96, 64],
    }
    frames, shown = read_video(barred).frames, bench.handed["out.mp4"]
    for bar in (slice(0, BAR), slice(64, 80)):
        assert np.array_equal(shown[:, bar], frames[:, bar])
    assert np.abs(shown[:, 16:64].astype(int) - frames[:, 16:64]).mean() > 0.5
    found = np.array(result.record["boxes"]["source"])
    assert found[0] == pytest.approx(box, abs=0.04)  # in shares of the frame with its bars
    (said,) = (line for line in result.warnings if "black bars" in line)
    assert "96x48 of 96x80" in said and "--keep-letterbox" in said


def test_black_bars_that_are_kept_are_picture(bench: Bench, barred: Path) -> None:
    planned = plan(bench.job(barred, Selection(keep_letterbox=True)))
    assert planned.placement.window == planned.placement.picture == (0, 0, 96, 80)
    assert not [line for line in planned.warnings if "black bars" in line]
    planned.footage.close()


FAR = ObjectJob("grass", "by:0,-0.1", box=(0.85, 0.6, 0.98, 0.9))


def mask(path: Path, left: int, right: int) -> Path:
    """A mask of 96x48 of all rows between 10 and 30."""
    picture = np.zeros((48, 96), np.uint8)
    picture[10:30, left:right] = 255
    cv2.imwrite(str(path), picture)
    return path


def test_what_is_outside_the_crop_is_refused_with_the_remedy(bench: Bench, wide: Path, tmp_path: Path) -> None:
    chosen = Selection(size=SQUARE, fit="crop")
    near = mask(tmp_path / "near.png", 2, 20)
    for flag, where in (("--box", {"box": (0.02, 0.3, 0.2, 0.7)}), ("--mask", {"box": None, "mask": near})):
        with pytest.raises(UsageError) as caught:
            plan(bench.job(wide, chosen, others=(FAR,), **where))
        said = str(caught.value)
        assert said.startswith(f"{flag} of 'ball' isn't all in what the model sees of the frame, the box 0.250,0.000,")
        assert said.endswith(": take --fit pad") and "\n" not in said
        whole = plan(bench.job(wide, replace(chosen, fit="pad"), others=(FAR,), **where))
        whole.footage.close()


def test_a_box_on_a_black_bar_is_refused_with_the_remedy(bench: Bench, barred: Path) -> None:
    with pytest.raises(UsageError, match=r"--box of 'ball' isn't all.*0\.000,0\.200,1\.000,0\.800: take --keep-letter"):
        plan(bench.job(barred, Selection(), box=(0.3, 0.0, 0.5, 0.5)))


def test_a_crop_is_round_a_mask_too(bench: Bench, wide: Path, tmp_path: Path) -> None:
    masked = bench.job(wide, Selection(size=SQUARE, fit="crop"), box=None, mask=mask(tmp_path / "mask.png", 70, 90))
    planned = plan(masked)
    assert planned.placement.window == (48, 0, 96, 48) and not planned.warnings
    planned.footage.close()


def test_a_crop_round_nobody_knows_what_is_said(bench: Bench, wide: Path) -> None:
    planned = plan(bench.job(wide, Selection(size=SQUARE, fit="crop"), box=None))
    assert planned.placement.window == (24, 0, 72, 48)
    (said,) = planned.warnings
    assert "'ball'" in said and "--box or --mask" in said and "--fit pad" in said
    (line,) = (line for line in planned.describe() if line.startswith("sees: "))
    assert "48x48 pixels from (24, 0)" in line and "crop" in line
    planned.footage.close()


def test_a_path_that_leaves_the_crop_is_said_and_edited_as_far_as_it_goes(bench: Bench, wide: Path) -> None:
    path = "0%:0.4,0.5,0.2,0.4 100%:0.95,0.5,0.1,0.4"
    result = bench(wide, Selection(size=SQUARE, fit="crop"), path=path, box=BOX)
    (said,) = (line for line in result.warnings if "leaves what the model sees" in line)
    assert "--fit pad" in said and "another path" in said
    x0, _, x1, _ = result.record["placement"]["window"]
    assert x0 <= BOX[0] * 96 and BOX[2] * 96 <= x1  # round the object, which its path would lead out of the crop
    frames, shown = read_video(wide).frames, bench.handed["out.mp4"]
    assert np.array_equal(shown[:, :, :x0], frames[:, :, :x0]) and np.array_equal(shown[:, :, x1:], frames[:, :, x1:])
    assert np.isfinite(np.array(result.record["boxes"]["target"])).all()


def test_a_long_clip_is_cropped_in_every_window(bench: Bench, tmp_path: Path) -> None:
    source = write_footage(tmp_path / "long.mp4", frames=10, width=96, height=48, sound=False)
    result = bench(source, Selection(size=SQUARE, fit="crop", window=6), extras=Extras(attention=True))
    assert len(result.record["windows"]) == 2
    check(bench, result, source, (18, 0, 66, 48), moved=0.1)
    assert np.array(result.record["boxes"]["source"]).shape == (10, 4)
    assert len(read_video(bench.folder / "out-attention.mp4")) == 10
