"""One edit from file to file, on a tiny model of random weights: what is written, what is kept, what is left alone."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from tests.footage import PROMPT, RATE, contents, write_footage
from tests.io.clips import sound_of
from vxedit import make, real, results
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D
from vxedit.cli.main import real as command
from vxedit.edit.locate import mask_boxes
from vxedit.edit.recipes.names import NAMES as RECIPES
from vxedit.errors import OutputError, VxeditError
from vxedit.invert.inversion import replay_inversion
from vxedit.invert.store import Store
from vxedit.io.fit import resize_frames
from vxedit.io.probe import probe
from vxedit.io.read import read_video
from vxedit.io.record import plain, read_record
from vxedit.io.write import write_video
from vxedit.job import STAY, EditSettings, Extras, InvertSettings, ObjectJob, RealJob, Selection, WordSettings
from vxedit.job_json import job_from_json
from vxedit.make import Outcome
from vxedit.real import edit_real, plan
from vxedit.results import Result

BOX = (0.15, 0.3, 0.45, 0.7)
NAMES = ("out.mp4", "out.json", "out.png")


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> UNet3D:
    return cast(UNet3D, load(str(checkpoint), device="cpu"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Kept through the file, so that most of its tests need no inversion of their own."""
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The frames that were given to be encoded, by the file's name."""
    frames: dict[str, np.ndarray] = {}

    def note(path: Path, shown: Iterable[np.ndarray], fps: Fraction, **options: Any) -> None:
        frames[path.name] = np.stack(list(shown))
        write_video(path, frames[path.name], fps, **options)

    monkeypatch.setattr(real, "write_video", note)
    return frames


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """What each edit of frames came to."""
    seen: list[Outcome] = []
    edit_frames = real.edit_frames

    def note(*given: Any, **named: Any) -> Outcome:
        seen.append(edit_frames(*given, **named))
        return seen[-1]

    monkeypatch.setattr(real, "edit_frames", note)
    return seen


class Bench:
    """Edits of one clip into one folder."""

    def __init__(self, folder: Path, footage: Path, tiny: UNet3D, store: Store, checkpoint: Path) -> None:
        self.folder, self.tiny, self.store = folder, tiny, store
        self.job = RealJob(
            footage,
            folder / "out.mp4",
            "ball",
            "by:+0.25,0",
            prompt=PROMPT,
            box=BOX,
            model=str(checkpoint),
            invert=InvertSettings("uni", 2, 2.5),
            edit=EditSettings(0.7, 5),
        )

    def __call__(self, *, store: Store | None = None, progress: Any = None, **changed: Any) -> Result:
        return edit_real(replace(self.job, **changed), progress=progress, backbone=self.tiny, store=store or self.store)


@pytest.fixture
def bench(tmp_path: Path, footage: Path, tiny: UNet3D, store: Store, checkpoint: Path) -> Bench:
    folder = tmp_path / "results"
    folder.mkdir()
    return Bench(folder, footage, tiny, store, checkpoint)


def test_a_result_its_record_and_its_pictures(bench: Bench, footage: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    extras = Extras(side_by_side=True, gif=True, attention=True)
    result = bench(store=Store(tmp_path / "store"), progress=lambda *step: told.append(step), extras=extras)
    more = {"out-side-by-side.mp4", "out.gif", "out-attention.mp4"}
    assert {path.name for path in bench.folder.iterdir()} == {*NAMES, *more} == {path.name for path in result.files}
    assert result.output == bench.folder / "out.mp4"

    info = probe(result.output)
    assert (info.width, info.height, info.fps, info.codec, info.has_audio) == (96, 64, RATE, "h264", True)
    assert len(read_video(result.output)) == 6
    kept, whole = sound_of(result.output), sound_of(footage)
    assert len(kept) == pytest.approx(len(whole), abs=1100) and np.abs(kept).max() > 0.3
    assert info.comment is not None and "ball" in info.comment

    for name in more:
        assert len(read_video(bench.folder / name)) == 6
    assert probe(bench.folder / "out-side-by-side.mp4").width >= 3 * 96
    sheet = cv2.imread(str(bench.folder / "out.png"))
    assert sheet is not None and sheet.shape[0] >= 4 * 64 and sheet.shape[1] >= 6 * 64

    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["invert", "edit", "decode"]
    for stage in stages:
        done = [(now, total) for name, now, total in told if name == stage]
        assert done == sorted(done) and done[-1][0] == done[-1][1]


def test_the_record_has_all_that_made_the_result(bench: Bench, footage: Path) -> None:
    result = bench(edit=EditSettings(0.0, 5))
    record = read_record(bench.folder / "out.json")
    assert job_from_json(record["job"]) == replace(bench.job, edit=EditSettings(0.0, 5))
    assert {key: value for key, value in record.items() if key != "cost"} == {
        key: plain(value) for key, value in result.record.items() if key != "cost"
    }
    assert record["source"]["sha256"] == hashlib.sha256(footage.read_bytes()).hexdigest()
    assert record["source"]["indices"] == list(range(6))
    assert record["model"]["identity"] == bench.tiny.identity
    assert record["versions"]["torch"] and record["clip"] == {
        "frames": 6,
        "width": 96,
        "height": 64,
        "fps": "30000/1001",
    }
    before, after = np.array(record["boxes"]["source"]), np.array(record["boxes"]["target"])
    assert before.shape == after.shape == (6, 4)
    assert before[0] == pytest.approx(BOX, abs=0.03)
    assert after[0] == pytest.approx(before[0], abs=1e-4)
    assert (after - before)[-1] == pytest.approx([0.25, 0, 0.25, 0], abs=1e-4)
    assert any("80x48" in warning for warning in record["warnings"])


@pytest.mark.parametrize(("width", "height"), [(96, 64), (97, 65)])
def test_outside_the_edit_region_the_pixels_are_the_source_s_own(
    bench: Bench,
    tmp_path: Path,
    handed: dict[str, np.ndarray],
    outcomes: list[Outcome],
    caplog: pytest.LogCaptureFixture,
    width: int,
    height: int,
) -> None:
    caplog.set_level(logging.WARNING)
    # H.264 has even sides alone, so an odd clip comes in another codec
    source = bench.job.input if width % 2 == 0 else _odd(tmp_path, width, height)
    bench(input=source)
    shown, frames = handed["out.mp4"], read_video(source).frames
    (outcome,) = outcomes
    outside = outcome.alpha == 0
    assert shown.shape == (6, height, width, 3) and outside.shape == shown.shape[:3]
    assert 0.2 < outside.mean() < 0.95
    assert np.array_equal(shown[outside], frames[outside])
    assert np.abs(shown[outcome.alpha == 1].astype(int) - frames[outcome.alpha == 1]).mean() > 2
    info = probe(bench.folder / "out.mp4")
    assert (info.width, info.height) == (width + width % 2, height + height % 2)
    assert ("padded from 97x65 to 98x66" in caplog.text) == (width == 97)


def _odd(folder: Path, width: int, height: int) -> Path:
    """A clip of odd sides with no loss: PNG pictures in a mkv."""
    from tests.footage import ball
    from tests.io.clips import ffmpeg

    path, frames = folder / "odd.mkv", ball(width=width, height=height)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE), "-i", "-"]
    ffmpeg(*raw, "-c:v", "png", path, stdin=frames.tobytes())
    return path


def test_no_strength_changes_nothing(bench: Bench, handed: dict[str, np.ndarray]) -> None:
    result = bench(edit=EditSettings(strength=0.0))
    assert np.array_equal(handed["out.mp4"], read_video(bench.job.input).frames)
    assert result.record["cost"]["edit_forwards"] == 0


def test_a_second_path_on_the_same_clip_needs_no_inversion(
    bench: Bench, tmp_path: Path, handed: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Store(tmp_path / "store")
    first = bench(store=fresh)
    assert first.record["cost"]["inversion_from_store"] is False and first.record["cost"]["inversion_forwards"] > 0

    class AskedError(Exception):
        pass

    def ask(*_: Any, **__: Any) -> None:
        raise AskedError

    monkeypatch.setattr(real, "invert", ask)
    second = bench(store=fresh, path="by:-0.1,0.1", output=bench.folder / "second.mp4")
    assert second.record["cost"]["inversion_from_store"] is True
    assert not np.array_equal(handed["out.mp4"], handed["second.mp4"])
    again = bench(store=fresh, output=bench.folder / "again.mp4")
    assert np.array_equal(handed["out.mp4"], handed["again.mp4"]) and again.output.exists()

    for changed in (
        {"prompt": "a ball on the grass"},
        {"invert": InvertSettings("uni", 3, 2.5)},
        {"invert": InvertSettings("ddim", 2, 2.5)},
        {"invert": InvertSettings("uni", 2, 3.0)},
        {"selection": Selection(num_frames=4)},
        {"selection": Selection(size=(96, 64))},
    ):
        with pytest.raises(AskedError):
            bench(store=fresh, output=bench.folder / "third.mp4", **changed)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _rob(path: Path) -> None:
    """Sound, but not what was put there: as another version might have written it."""
    Store(path.parent).put(path.stem, {"other": torch.zeros(2)}, {"prompt": PROMPT})


@pytest.mark.parametrize("damage", [_flip, _cut, _rob])
def test_a_damaged_inversion_is_noticed_and_made_again(
    bench: Bench, tmp_path: Path, handed: dict[str, np.ndarray], caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    fresh = Store(tmp_path / "store")
    whole, seen = _inverted(bench, fresh)
    (entry,) = fresh.root.iterdir()
    damage(entry)
    made, from_store = _inverted(bench, fresh)
    assert not seen and not from_store and torch.equal(made.pivots, whole.pivots)
    assert "made again" in caplog.text or "making it again" in caplog.text
    assert _inverted(bench, fresh)[1]


def _inverted(bench: Bench, store: Store) -> tuple[Any, bool]:
    planned = plan(bench.job)
    with planned.footage as footage:
        seen = resize_frames(footage.read(0, len(footage)).frames, planned.size.height, planned.size.width)
    return real.inverted(planned, bench.tiny, bench.tiny.encode(seen), seen, store, None)


def test_pinned_replay_is_the_autoencoder_s_reconstruction(bench: Bench) -> None:
    inversion, _ = _inverted(bench, bench.store)
    pinned = replay_inversion(bench.tiny, inversion, pinned=True)
    torch.testing.assert_close(pinned, inversion.clean, rtol=0, atol=1e-6)
    shown, wanted = (bench.tiny.decode(latents, 6).astype(int) for latents in (pinned, inversion.clean))
    assert np.abs(shown - wanted).max() <= 1 and (shown != wanted).mean() < 1e-3  # a value that lay on a half
    honest = replay_inversion(bench.tiny, inversion, pinned=False)
    assert (honest - inversion.clean).abs().max() > 1e-4


def test_from_makes_the_same_again_with_the_seed_that_was_drawn(
    footage: Path,
    checkpoint: Path,
    tmp_path: Path,
    handed: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    what = [str(footage), "--obj", "ball", "--path", "by:+0.25,0", "--prompt", PROMPT, "--box", "0.15,0.3,0.45,0.7"]
    how = ["--model", str(checkpoint), "--steps", "2", "--inversion", "uni", "--num-frames", "5", "-q"]
    assert command([*what, *how, "-o", "one.mp4"]) == 0
    assert command(["--from", "one.json", "-o", "two.mp4", "-q"]) == 0
    assert capfd.readouterr().out.splitlines() == ["one.mp4", "two.mp4"]
    assert np.array_equal(handed["one.mp4"], handed["two.mp4"]) and len(handed["two.mp4"]) == 5
    assert np.array_equal(read_video(Path("one.mp4")).frames, read_video(Path("two.mp4")).frames)
    jobs = [job_from_json(read_record(Path(name))["job"]) for name in ("one.json", "two.json")]
    assert replace(jobs[1], output=Path("one.mp4")) == jobs[0]


def test_what_exists_is_replaced_when_asked(bench: Bench) -> None:
    for name in NAMES:
        (bench.folder / name).write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite"):
        bench(edit=EditSettings(0.0))
    assert contents(bench.folder) == dict.fromkeys(NAMES, b"precious")
    bench(edit=EditSettings(0.0), overwrite=True)
    assert len(read_video(bench.folder / "out.mp4")) == 6 and read_record(bench.folder / "out.json")
    assert cv2.imread(str(bench.folder / "out.png")) is not None and len(contents(bench.folder)) == 3


def _masks() -> np.ndarray:
    """A block that moves by two pixels a frame, bool (6, 64, 96)."""
    masks = np.zeros((6, 64, 96), bool)
    for k in range(6):
        masks[k, 20:44, 12 + 2 * k : 44 + 2 * k] = True
    return masks


@pytest.mark.parametrize("every", [False, True])
def test_masks_say_where_the_object_is(bench: Bench, tmp_path: Path, outcomes: list[Outcome], every: bool) -> None:
    masks = _masks()
    (tmp_path / "masks").mkdir()
    for k, mask in enumerate(masks if every else masks[:1]):
        cv2.imwrite(str(tmp_path / "masks" / f"{k:02d}.png"), mask.astype(np.uint8) * 255)
    given = tmp_path / "masks" if every else tmp_path / "masks" / "00.png"
    result = bench(box=None, mask=given)
    (found,), boxes = outcomes[0].found, mask_boxes(masks)
    known = slice(None) if every else slice(1)
    assert found.masks.shape == (6, 48, 80)  # as the model sees the clip
    assert found.masks[known].mean((1, 2)) == pytest.approx(masks[known].mean((1, 2)), abs=0.02)
    assert np.abs(found.boxes[known] - boxes[known]).max() < 0.03
    assert not any("diffuse" in warning for warning in result.warnings)


def test_an_unclear_attention_is_said_with_the_remedy(bench: Bench) -> None:
    """Random weights look nowhere in particular."""
    nothing = EditSettings(0.0)
    unclear = bench(box=None, edit=nothing)
    clear = bench(output=bench.folder / "clear.mp4", edit=nothing)
    assert [w for w in unclear.warnings if "diffuse" in w and "--box or --mask" in w]
    assert not [w for w in clear.warnings if "diffuse" in w]
    assert [w for w in read_record(bench.folder / "out.json")["warnings"] if "diffuse" in w]


def test_a_single_frame_is_edited_with_a_warning(bench: Bench, outcomes: list[Outcome]) -> None:
    result = bench(selection=Selection(num_frames=1), path="to:0.7,0.5")
    assert len(read_video(result.output)) == 1 and outcomes[0].frames.shape == (1, 64, 96, 3)
    assert [warning for warning in result.warnings if "one frame" in warning]


def test_a_later_part_of_the_clip_at_another_rate(bench: Bench) -> None:
    chosen = Selection(start_s=0.07, num_frames=2, fps=Fraction(15))
    result = bench(selection=chosen, edit=EditSettings(0.0))
    assert result.record["source"]["indices"] == (2, 4) and probe(result.output).fps == 15
    assert len(sound_of(result.output)) / 16000 == pytest.approx(2 / 15, abs=0.08)


class FailedError(Exception):
    """Stands for whatever goes wrong."""


def _interrupted(frames: Iterable[np.ndarray], error: BaseException) -> Iterator[np.ndarray]:
    yield from itertools.islice(frames, 2)
    raise error


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize(
    ("module", "place", "error"),
    [
        (real, "invert", FailedError()),
        (make, "edit", KeyboardInterrupt()),
        (make, "finish", FailedError()),
        (results, "write_record", OutputError("no space")),
        (real, "write_video", KeyboardInterrupt()),
        (real, "write_video", FailedError()),
    ],
)
def test_a_failure_in_the_middle_leaves_all_as_it_was(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    existed: bool,
    module: ModuleType,
    place: str,
    error: BaseException,
) -> None:
    for name in NAMES if existed else ():
        (bench.folder / name).write_bytes(b"precious")
    before = contents(bench.folder)

    def fail(*given: Any, **named: Any) -> None:
        if place == "write_video":
            write_video(given[0], _interrupted(given[1], error), given[2], **named)
        raise error

    monkeypatch.setattr(module, place, fail)
    store = Store(tmp_path / "empty") if place == "invert" else bench.store
    strength = 0.7 if place in ("edit", "finish") else 0.0
    with pytest.raises(type(error)):
        bench(store=store, edit=EditSettings(strength, 5), overwrite=existed)
    assert contents(bench.folder) == before


def test_numbers_that_are_not_finite_are_said_with_the_remedy(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.tiny, "predict", lambda latents, *_: torch.full_like(latents, float("nan")))
    with pytest.raises(VxeditError, match="--dtype fp32") as caught:
        bench(store=Store(tmp_path / "store"))
    assert "\n" not in str(caught.value) and not list(bench.folder.iterdir())
    assert not (tmp_path / "store").exists()


def test_the_source_and_the_model_are_as_before(bench: Bench, footage: Path) -> None:
    data, weights = footage.read_bytes(), [p.clone() for p in bench.tiny._modules.unet.parameters()]
    bench()
    assert footage.read_bytes() == data
    after = list(bench.tiny._modules.unet.parameters())
    assert all(torch.equal(a, b) for a, b in zip(weights, after, strict=True))


def test_a_short_clip_at_another_size(bench: Bench, tmp_path: Path, outcomes: list[Outcome]) -> None:
    square = write_footage(tmp_path / "square.mp4", frames=2, width=64, height=64, sound=False)
    result = bench(input=square)
    assert result.record["model"]["size"] == {"frames": 2, "height": 64, "width": 64}
    assert outcomes[0].frames.shape == (2, 64, 64, 3) and not probe(result.output).has_audio


GRASS = ObjectJob("grass", "by:0,-0.3", box=(0.6, 0.6, 0.8, 0.9))


def test_two_objects_are_moved_at_once(
    bench: Bench, handed: dict[str, np.ndarray], outcomes: list[Outcome], tmp_path: Path
) -> None:
    extras = Extras(attention=True)
    result = bench(others=(GRASS,), extras=extras)
    (outcome,) = outcomes
    source = read_video(bench.job.input).frames
    assert len(outcome.found) == len(outcome.targets) == len(outcome.attention_before) == 2
    assert len(outcome.attention_after) == 2
    moved = [targets - found.boxes for found, targets in zip(outcome.found, outcome.targets, strict=True)]
    assert moved[0][-1] == pytest.approx([0.25, 0, 0.25, 0], abs=1e-6)
    assert moved[1][-1] == pytest.approx([0, -0.3, 0, -0.3], abs=1e-6)
    for targets in outcome.targets:  # both are reached by the edit, and its rest is the source's
        x, y = (int(side) for side in (targets[-1, :2] + targets[-1, 2:]) / 2 * (96, 64))
        assert outcome.alpha[-1, y, x] == 1
    shown = handed["out.mp4"]
    assert np.array_equal(shown[outcome.alpha == 0], source[outcome.alpha == 0]) and (outcome.alpha == 0).mean() > 0.1

    record = read_record(result.output.with_suffix(".json"))
    first, second = record["objects"]
    assert (first["obj"], second["obj"]) == ("ball", "grass")
    assert record["boxes"] == {"source": first["source"], "target": first["target"]} and record["path"] == first["path"]
    assert second["target"] == plain(outcome.targets[1].round(5)) and second["path"] != first["path"]
    assert job_from_json(record["job"]) == replace(bench.job, others=(GRASS,), extras=extras)
    info = probe(result.output)
    assert info.comment is not None and "ball along by:+0.25,0 and grass along by:0,-0.3" in info.comment

    bench(output=bench.folder / "one.mp4", extras=extras)
    two, one = (cv2.imread(str(bench.folder / name)) for name in ("out.png", "one.png"))
    assert two is not None and one is not None and two.shape[0] > one.shape[0] + 40  # a row of attention more
    wide, narrow = (probe(bench.folder / f"{name}-attention.mp4").width for name in ("out", "one"))
    assert wide > 1.9 * narrow


def test_the_later_object_is_in_front(bench: Bench, outcomes: list[Outcome]) -> None:
    """Both are to stand in the same place."""
    ball, grass = (ObjectJob(obj, "0%:0.5,0.5 100%:0.5,0.5", box) for obj, box in (("ball", BOX), ("grass", GRASS.box)))
    covers = []
    for k, (back, front) in enumerate(((ball, grass), (grass, ball))):
        bench(obj=back.obj, path=back.path, box=back.box, others=(front,), output=bench.folder / f"{k}.mp4")
        edited = outcomes[-1].edited
        assert edited is not None and edited.scene is not None
        covers.append(edited.scene.covers[:, :, 24, 40])  # the middle of 48 x 80
    for cover in covers:
        assert cover[1].min() > 0.99 and cover[0].max() < 0.01


def test_only_the_objects_whose_attention_was_needed_are_said_to_be_diffuse(bench: Bench) -> None:
    result = bench(others=(replace(GRASS, box=None),), edit=EditSettings(0.0))
    diffuse = [warning for warning in result.warnings if "diffuse" in warning]
    assert len(diffuse) == 1 and "'grass'" in diffuse[0]


def test_a_word_becomes_another_while_the_object_stays(bench: Bench, outcomes: list[Outcome]) -> None:
    words = WordSettings(replace=(("ball", "burger"),))
    result = bench(path=STAY, words=words)
    assert result.record["new_prompt"] == "a red burger on the grass"
    assert result.record["prompt"]["text"] == PROMPT
    was, new = (np.array(result.record["boxes"][name]) for name in ("source", "target"))
    (wide, tall), (new_wide, new_tall) = ((box[:, 2:] - box[:, :2]).T for box in (was, new))
    np.testing.assert_allclose(new[:, :2] + new[:, 2:], was[:, :2] + was[:, 2:], atol=1e-4)
    np.testing.assert_allclose(new_wide * new_tall, wide * tall, atol=1e-4)
    assert np.abs(new_wide / new_tall - wide / tall).min() > 0.05  # the burger's shape is the burger's own
    bench(path=STAY, output=bench.folder / "plain.mp4")
    changed, plain_one = outcomes
    assert changed.edited is not None and plain_one.edited is not None
    assert changed.edited.forwards > plain_one.edited.forwards
    assert np.abs(changed.frames.astype(int) - plain_one.frames).max() > 8
    source = read_video(bench.job.input).frames
    assert np.array_equal(changed.frames[changed.alpha == 0], source[changed.alpha == 0])
    (after,) = changed.attention_after  # of the columns that the burger has now
    assert np.isfinite(after).all() and not np.allclose(after, plain_one.attention_after[0], rtol=1e-3)
    assert plain_one.attention_after[0].shape == after.shape
    assert results_of(bench)["new_prompt"] == "a red burger on the grass"


def results_of(bench: Bench) -> dict[str, Any]:
    return read_record(bench.folder / "out.json")


def test_the_command_needs_no_object_where_only_words_change(
    footage: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    argv = [str(footage), "--replace", "ball=burger", "--prompt", PROMPT, "--box", "0.15,0.3,0.45,0.7", "-o", "one.mp4"]
    how = ["--model", str(checkpoint), "--steps", "2", "--inversion", "uni", "--num-frames", "2", "-q"]
    assert command([*argv, *how]) == 0
    record = read_record(Path("one.json"))
    assert record["new_prompt"] == "a red burger on the grass" and record["objects"][0]["obj"] == "ball"
    assert record["job"]["path"] == STAY


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_makes_a_clip_and_is_in_its_record(bench: Bench, outcomes: list[Outcome], recipe: str) -> None:
    settings = EditSettings(0.7, 5, recipe=recipe)
    result = bench(edit=settings, selection=Selection(num_frames=3), others=(GRASS,))
    edited = outcomes[0].edited
    assert edited is not None and bool(torch.isfinite(edited.latents).all()) and edited.forwards > 0
    assert outcomes[0].frames.shape == (3, 64, 96, 3) and len(read_video(result.output)) == 3
    assert np.abs(outcomes[0].frames.astype(int) - read_video(bench.job.input).frames[:3]).mean() > 0.1
    assert (edited.scene is None) == (recipe != "vxedit")
    assert (outcomes[0].alpha == 1).all() == (recipe != "vxedit")  # the published ones make all of the frame anew
    assert job_from_json(results_of(bench)["job"]).edit == settings


def test_the_energies_asked_for_are_what_is_lowered(bench: Bench, outcomes: list[Outcome]) -> None:
    chosen = (("box", 0.0), ("centroid", 1.0))
    for name, energies in (("one", ()), ("two", chosen)):
        bench(edit=EditSettings(0.7, 5, energies=energies), output=bench.folder / f"{name}.mp4")
    before = [outcome.edited.energy_before for outcome in outcomes if outcome.edited is not None]
    assert len(before) == 2 and before[0] is not None and before[1] is not None
    assert not torch.allclose(before[0], before[1], rtol=0.01)
    assert read_record(bench.folder / "two.json")["job"]["edit"]["energies"] == [["box", 0.0], ["centroid", 1.0]]
