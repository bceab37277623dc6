"""What can be known before a model's weights are loaded: said in one line, with nothing touched and nothing loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.footage import PROMPT, RATE, contents, write_footage
from vxedit.backbones import parts
from vxedit.backbones.registry import load
from vxedit.checks import output_files, read_masks, sampled
from vxedit.cli.main import real
from vxedit.edit.path import SampledPath, parse_path
from vxedit.errors import InputError, ModelError, OutputError, UsageError
from vxedit.io.crop import Placement
from vxedit.io.pictures import draw_boxes
from vxedit.job import EditSettings, Extras, InvertSettings, ObjectJob, RealJob, Selection, WordSettings
from vxedit.plan import Plan, plan, preview
from vxedit.windows import Window, windows

PATH = "0%:0.3,0.5,0.4,0.4 100%:0.6,0.5,0.4,0.4"
ARGUMENTS = {"--obj": "ball", "--path": PATH, "--prompt": PROMPT, "-o": "out.mp4"}


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What was loaded of any model; nothing may be."""
    called: list[object] = []
    for name in ("load_part", "load_clip_text"):
        monkeypatch.setattr(parts, name, lambda *given, **_: called.append(given))
    monkeypatch.setattr("vxedit.model.load", lambda *given, **_: called.append(given))
    yield called
    assert called == []


@pytest.fixture
def folder(tmp_path: Path, footage: Path, hollow: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a clip, results that exist, and things of every wrong kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    shutil.copy(footage, "clip.mp4")
    whole = Path("clip.mp4").read_bytes()
    Path("cut.mp4").write_bytes(whole[: len(whole) // 2])
    Path("empty.mp4").write_bytes(b"")
    Path("text.mp4").write_text("no video at all\n" * 50)
    Path("no-model").mkdir()
    for name in ("out.mp4", "out.json", "out.png"):
        Path(name).write_bytes(b"precious")
    mask = np.zeros((64, 96), np.uint8)
    cv2.imwrite("black.png", mask)
    mask[20:40, 30:60] = 255
    cv2.imwrite("mask.png", mask)
    cv2.imwrite("small.png", mask[:32])
    Path("cut.png").write_bytes(Path("mask.png").read_bytes()[:60])
    for name, count in (("two", 2), ("none", 0), ("six", 6)):
        Path(name).mkdir()
        for k in range(count):
            cv2.imwrite(f"{name}/{k:02d}.png", np.roll(mask, 4 * k, 1))
    return tmp_path


def argv(hollow: Path, source: str = "clip.mp4", **changed: str) -> list[str]:
    """A command line that is right but for what is `changed`."""
    named = {("-o" if name == "o" else f"--{name.replace('_', '-')}"): value for name, value in changed.items()}
    flags = {**ARGUMENTS, "--model": str(hollow), **named}
    return [source, *(word for pair in flags.items() for word in pair), "-q"]


def refusal(arguments: list[str], capfd: pytest.CaptureFixture[str], *, code: int, lines: int = 1) -> list[str]:
    """What a command that ends with `code` says: an error's lines and nothing else."""
    assert real(arguments) == code
    said = capfd.readouterr()
    assert said.out == "" and "Traceback" not in said.err and "unexpected" not in said.err
    told = said.err.splitlines()
    assert len(told) == lines and told[0].startswith("vxedit: error: "), said.err
    return told


INPUTS = {
    "missing": ("clip2.mp4", {}, ["clip2.mp4 doesn't exist", "did you mean clip.mp4?"]),
    "empty": ("empty.mp4", {}, ["empty (0 bytes)"]),
    "truncated": ("cut.mp4", {}, ["cut short", "give a whole mp4"]),
    "not a video": ("text.mp4", {}, ["isn't a video"]),
    "a folder": ("two", {}, ["is a folder", "name a video file"]),
    "nothing there": ("clip.mp4", {"start": "9"}, ["nothing at 9 s", "lasts 0.20 s", "--start"]),
}


@pytest.mark.parametrize("case", INPUTS)
def test_a_bad_input_is_one_line(folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    source, changed, expected = INPUTS[case]
    before = contents(folder)
    (line,) = refusal([*argv(hollow, source, **changed), "--overwrite"], capfd, code=1)
    assert all(part in line for part in expected), line
    assert contents(folder) == before


WORDS = {
    "not there": ({"obj": "burger"}, ["'burger' is not in the prompt", "a, red, ball, on, the, grass"]),
    "nearly": ({"obj": "bal"}, ["did you mean 'ball'?"]),
    "empty": ({"obj": " "}, ["word is empty", "a, red, ball, on, the, grass"]),
    "no prompt": ({"prompt": "  "}, ["--prompt is empty"]),
    "long prompt": ({"prompt": "a ball on " + "x" * 80}, ["the model takes 75", "don't fit: xxx", "shorten"]),
}
NUMBERS = {
    "too strong": ({"strength": "1.5"}, ["--strength", "1.5"]),
    "strength NaN": ({"strength": "nan"}, ["--strength", "nan"]),
    "guidance": ({"guidance_scale": "0.5"}, ["--guidance-scale", "0.5"]),
    "guidance NaN": ({"guidance_scale": "nan"}, ["--guidance-scale", "nan"]),
    "no steps": ({"steps": "0"}, ["--steps"]),
    "many steps": ({"steps": "5000"}, ["between 1 and 1000", "5000", "--steps 20"]),
    "size": ({"size": "100x60"}, ["100x60", "multiples of 16", "--size 96x64"]),
    "size too small": ({"size": "4x4"}, ["4x4", "--size 16x16"]),
    "long window": ({"window": "99"}, ["--window 99", "at most 48"]),
    "window of one": ({"window": "1"}, ["--window", "1"]),
    "box and mask": ({"box": "0.1,0.1,0.5,0.5", "mask": "mask.png"}, ["--box and --mask", "give one of them"]),
    "box inside out": ({"box": "0.5,0.1,0.1,0.5"}, ["--box", "x0 < x1"]),
    "frame beyond the end": ({"path": "0:0.3,0.5 99:0.6,0.5"}, ["frame 99 is beyond the end", "0 to 5"]),
    "time beyond the end": ({"path": "0s:0.3,0.5,0.2,0.2 3s:0.6,0.5"}, ["3s is beyond the end", "0.200 s"]),
    "no path file": ({"path": "none.json"}, ["none.json", "can't be read"]),
    "unknown recipe": ({"recipe": "freetrja"}, ["unknown recipe 'freetrja'", "did you mean freetraj", "peekaboo"]),
    "no number": ({"energy": "centroid=half"}, ['the weight of centroid is "half"', "centroid=0.5"]),
    "unknown energy": ({"energy": "centre=1"}, ['no energy "centre"', "the energies are box"]),
    "energy of another": ({"energy": "box=2", "recipe": "peekaboo"}, ["--energy", "peekaboo", "leave one of them"]),
    "replaced word": ({"replace": "burger=cup"}, ["to replace: 'burger' is not in the prompt"]),
    "the same word": ({"replace": "ball=Ball"}, ["'ball' and 'Ball' are the same word"]),
    "weighted word": ({"reweight": "burger=2"}, ["to weight: 'burger' is not in the prompt"]),
    "weight NaN": ({"reweight": "ball=nan"}, ["the weight of 'ball' is nan", "finite"]),
    "nothing new": ({"refine": PROMPT}, ["nothing is asked for"]),
    "words of another": ({"replace": "ball=cup", "recipe": "peekaboo"}, ["words", "not by peekaboo", "leave one of"]),
    "no object left": ({"refine": "a red on the grass"}, ["'a red on the grass' leaves the object out"]),
    "long new prompt": ({"refine": PROMPT + " " + "x" * 80}, ["the model takes 75", "shorten"]),
}


@pytest.mark.parametrize("case", [*WORDS, *NUMBERS])
def test_what_cannot_be_meant_is_one_line_and_code_2(
    folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    changed, expected = (WORDS | NUMBERS)[case]
    before = contents(folder)
    (line,) = refusal([*argv(hollow, **changed), "--overwrite"], capfd, code=2)
    assert all(part in line for part in expected), line
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("path", "place", "expected"),
    [
        ("0%:0.3,x 100%:0.7,0.5", "x", "Y must be a number"),
        ("0%:0.3,0.5 100%:nan,0.5", "nan", "X must be a number from -0.5 to 1.5, got nan"),
        ("0%:0.3,0.5 100%:0.7,inf", "inf", "got inf"),
        ("lefft", "lefft", "did you mean 'left'?"),
        ("100%:0.3,0.5 0%:0.7,0.5", "0%:0.7", "must rise in time"),
        ("0%:0.3,0.5@swift", "swift", "swift"),
    ],
)
def test_a_path_that_does_not_parse_has_a_caret_under_the_place(
    folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str], path: str, place: str, expected: str
) -> None:
    before = contents(folder)
    message, shown, caret = refusal([*argv(hollow, path=path), "--overwrite"], capfd, code=2, lines=3)
    assert expected in message and shown.strip() == path and caret.strip() == "^"
    assert shown[caret.index("^") :].startswith(place)
    assert contents(folder) == before


MASKS = {
    "missing": ("none.png", ["no mask at none.png", "give a PNG"]),
    "empty": ("black.png", ["black.png marks nothing", "white"]),
    "of another size": ("small.png", ["small.png is 96x32", "the clip 96x64"]),
    "cut short": ("cut.png", ["can't be read as a picture"]),
    "a video": ("text.mp4", ["can't be read as a picture"]),
    "too few": ("two", ["two holds 2 PNG masks for 6 frames"]),
    "none": ("none", ["none holds 0 PNG masks for 6 frames"]),
}


@pytest.mark.parametrize("case", MASKS)
def test_a_bad_mask_is_one_line(folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    mask, expected = MASKS[case]
    before = contents(folder)
    (line,) = refusal([*argv(hollow, mask=mask), "--overwrite"], capfd, code=1)
    assert all(part in line for part in expected), line
    assert contents(folder) == before


MODELS = {
    "misspelt": ("zeroscop", ["unknown model 'zeroscop'", "did you mean zeroscope"]),
    "unknown": ("xyzzy", ["unknown model 'xyzzy'", "embedded, modelscope, zeroscope", "a folder"]),
    "an empty folder": ("no-model", ["no-model is not a complete", "unet/config.json", "vae/config.json"]),
    "a file": ("clip.mp4", ["clip.mp4 is a file", "give the folder"]),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_is_none_is_one_line(
    folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    model, expected = MODELS[case]
    before = contents(folder)
    (line,) = refusal([*argv(hollow, model=model), "--overwrite"], capfd, code=1)
    assert all(part in line for part in expected), line
    assert contents(folder) == before


OUTPUTS = {
    "no folder": ("absent/out.mp4", {}, 1, ["absent", "doesn't exist", "make it first"]),
    "a file as folder": ("text.mp4/out.mp4", {}, 1, ["text.mp4", "choose another -o"]),
    "another suffix": ("out.avi", {}, 2, ["out.avi ends in .avi", "name it out.mp4"]),
    "no suffix": ("result", {}, 2, ["result ends in no suffix", "name it result.mp4"]),
    "the input": ("clip.mp4", {}, 2, ["the video would be written over clip.mp4", "name another --output"]),
    "the input, said otherwise": ("two/../clip.mp4", {}, 2, ["written over clip.mp4"]),
    "the mask": ("mask.mp4", {"mask": "mask.png"}, 2, ["the picture would be written over mask.png"]),
    "the path's file": ("motion.mp4", {"path": "motion.json"}, 2, ["the record would be written over motion.json"]),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_a_bad_output_is_one_line_even_with_leave_to_overwrite(
    folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    output, changed, code, expected = OUTPUTS[case]
    (folder / "motion.json").write_text('{"version": 1, "motions": [{"motion": "left"}]}')
    before = contents(folder)
    (line,) = refusal([*argv(hollow, o=output, **changed), "--overwrite"], capfd, code=code)
    assert all(part in line for part in expected), line
    assert contents(folder) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written_to(folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "two").chmod(0o500)
    try:
        (line,) = refusal(argv(hollow, o="two/out.mp4"), capfd, code=1)
    finally:
        (folder / "two").chmod(0o700)
    assert "can't be written to" in line


@pytest.mark.parametrize("there", ["out.mp4", "out.json", "out.png", "out-side-by-side.mp4", "out.gif"])
def test_whatever_exists_is_kept(folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str], there: str) -> None:
    for name in ("out.mp4", "out.json", "out.png"):
        (folder / name).unlink()
    (folder / there).write_bytes(b"precious")
    before = contents(folder)
    (line,) = refusal([*argv(hollow), "--side-by-side", "--gif"], capfd, code=1)
    assert f"{there} exists" in line and "--overwrite" in line
    assert contents(folder) == before


def job(hollow: Path, **changed: Any) -> RealJob:
    made = RealJob(Path("clip.mp4"), Path("new.mp4"), "ball", PATH, prompt=PROMPT, model=str(hollow))
    return replace(made, **changed)


def first_path(planned: Plan) -> SampledPath | None:
    """The first object's boxes, where they are known."""
    return sampled(planned.objects[0], planned.footage)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"edit": EditSettings(strength=float("nan"))}, "--strength nan"),
        ({"edit": EditSettings(strength=-0.1)}, "--strength -0.1"),
        ({"invert": InvertSettings(guidance_scale=float("inf"))}, "--guidance-scale inf"),
        ({"invert": InvertSettings(guidance_scale=0.5)}, "--guidance-scale 0.5"),
        ({"invert": InvertSettings(steps=-1)}, "steps"),
        ({"box": (0.5, 0.1, 0.2, 0.4)}, "--box 0.5,0.1,0.2,0.4"),
        ({"box": (0.1, 0.1, float("nan"), 0.4)}, "is no box"),
        ({"box": (0.1, 0.1, 0.5, 0.5), "mask": Path("mask.png")}, "give one of them"),
        ({"others": (ObjectJob("grass", "up", (0.1, 0.1, 0.5, 0.5), Path("mask.png")),)}, "give one of them"),
        ({"others": (ObjectJob("grass", "up", (0.1, 0.5, 0.5, 0.2)),)}, "--box 0.1,0.5,0.5,0.2 is no box"),
        ({"others": (ObjectJob("red ball", "up"),)}, "the same word of the prompt: 'ball' and 'red ball'"),
        ({"others": (ObjectJob("ball", "up"),)}, "give each its own"),
        ({"others": (ObjectJob("burger", "up"),)}, "'burger' is not in the prompt"),
        ({"others": (ObjectJob("grass", "0:0.3,0.5 99:0.6,0.5"),)}, "frame 99 is beyond the end"),
        ({"edit": EditSettings(recipe="freetrja")}, "did you mean freetraj"),
        ({"edit": EditSettings(energies=(("centroid", float("nan")),))}, "the weight of centroid is nan"),
        ({"edit": EditSettings(energies=(("centre", 1.0),))}, 'no energy "centre"'),
        ({"edit": EditSettings(energies=(("box", 1.0),), recipe="peekaboo")}, "leave one of them out"),
        ({"words": WordSettings((("burger", "cup"),))}, "'burger' is not in the prompt"),
        ({"words": WordSettings(weights=(("ball", float("inf")),))}, "the weight of 'ball' is inf"),
        ({"selection": Selection(num_frames=0)}, "--num-frames is 0"),
        ({"selection": Selection(start_s=-1.0)}, "--start is -1"),
        ({"selection": Selection(fps=Fraction(0))}, "--fps is 0"),
        ({"selection": Selection(size=(96, 70))}, "--size 96x64"),
    ],
)
def test_the_library_refuses_what_the_command_line_would(
    folder: Path, hollow: Path, changed: dict[str, object], expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        plan(job(hollow, **changed))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"input": Path("none.mp4")}, InputError),
        ({"output": Path("a/b.mp4")}, OutputError),
        ({"model": "x"}, ModelError),
    ],
)
def test_each_error_is_of_its_class(
    folder: Path, hollow: Path, changed: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        plan(job(hollow, **changed))


def test_a_path_that_leaves_the_frame_is_brought_inside_and_said(
    folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = "0%:0.3,0.5,0.4,0.4 100%:1.2,0.5,0.4,0.4"
    planned = plan(job(hollow, path=path))
    taken = first_path(planned)
    assert taken is not None and taken.boxes.min() >= 0 and taken.boxes.max() <= 1
    assert taken.boxes[-1] == pytest.approx([0.6, 0.3, 1.0, 0.7])  # its size kept, its side at the frame's
    assert [w for w in planned.warnings if "leaves the frame in 3 of 6 frames" in w and "0.400" in w]
    assert real([*argv(hollow, path=path, o="new.mp4")[:-1], "--dry-run"]) == 0
    assert "vxedit: warning: the path's box leaves the frame" in capfd.readouterr().err
    assert not [w for w in plan(job(hollow)).warnings if "leaves the frame" in w]


def test_a_dry_run_shows_sizes_words_and_path_and_writes_a_picture_alone(
    folder: Path, hollow: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    arguments = argv(hollow, obj="burger", prompt="the burger on the grass", o="new.mp4")[:-1]
    assert real([*arguments, "--dry-run"]) == 0
    said = capfd.readouterr()
    assert said.out == "new-path.png\n"
    assert "6 frames of 96x64" in said.err and "80x48" in said.err
    assert "'burger' is 2 token(s)" in said.err and "0.100, 0.300, 0.500, 0.700" in said.err
    assert set(contents(folder)) - set(before) == {"new-path.png"}
    assert cv2.imread("new-path.png") is not None


def test_the_preview_shows_the_path_where_it_is_known(folder: Path, hollow: Path) -> None:
    known, unknown = plan(job(hollow)), plan(job(hollow, path="left"))
    assert first_path(unknown) is None
    assert preview(known).shape[0] > 1.5 * preview(unknown).shape[0]  # two rows and one
    from_box = first_path(plan(job(hollow, path="left", box=(0.4, 0.3, 0.6, 0.7))))
    assert from_box is not None and from_box.boxes[0] == pytest.approx([0.4, 0.3, 0.6, 0.7])
    assert from_box.boxes[-1][0] < 0.3
    frames = known.footage.read(0, 6).frames
    assert not np.array_equal(draw_boxes(frames, from_box.boxes, trail=True), frames)


def test_a_plan_holds_what_will_be_edited(folder: Path, hollow: Path) -> None:
    planned = plan(job(hollow, selection=Selection(num_frames=4), mask=Path("mask.png")))
    assert planned.footage.read(0, 4).frames.shape == (4, 64, 96, 3) and planned.footage.fps == RATE
    assert len(planned.footage) == 4 and planned.windows == (Window(0, 4),)
    assert planned.placement == Placement((96, 64), (0, 0, 96, 64), (0, 0, 96, 64), (80, 48))
    (one,) = planned.objects
    assert planned.size == (4, 48, 80) and one.motion == parse_path(PATH)
    assert planned.prompt.text[slice(*planned.pieces[one.columns[0] - 1][1:])] == "ball"
    assert one.masks is not None and one.masks.shape == (1, 64, 96) and one.masks.sum() == 20 * 30
    assert [w for w in planned.warnings if "96x64 as 80x48" in w]
    exact = plan(job(hollow, selection=Selection(size=(96, 64))))
    assert exact.size == (6, 64, 96) and exact.warnings == ()


OTHER = ObjectJob("grass", "0%:0.8,0.2,0.2,0.2 100%:1.2,0.8,0.2,0.2", mask=Path("six"))


def test_a_plan_of_several_objects_holds_and_says_each(folder: Path, hollow: Path) -> None:
    planned = plan(job(hollow, others=(OTHER,)))
    ball, grass = planned.objects
    assert (ball.obj, grass.obj) == ("ball", "grass") and ball.motion == parse_path(PATH) != grass.motion
    assert not set(ball.columns) & set(grass.columns)
    assert ball.masks is None and grass.masks is not None and grass.masks.shape == (6, 64, 96)
    said = planned.describe()
    assert [line.split(" is ")[0] for line in said if line.startswith("word: ")] == ["word: 'ball'", "word: 'grass'"]
    assert sum(line.startswith("path: box 0.100, 0.300") for line in said) == 1
    assert sum(line.startswith("path: box 0.700, 0.100") for line in said) == 1
    assert [w for w in planned.warnings if "leaves the frame" in w]  # the second one's path


def test_the_preview_draws_every_path_that_is_known(folder: Path, hollow: Path) -> None:
    one, two = plan(job(hollow)), plan(job(hollow, others=(OTHER,)))
    half = plan(job(hollow, obj="red", path="left", others=(ObjectJob("ball", PATH),)))
    assert preview(one).shape == preview(two).shape == preview(half).shape
    assert not np.array_equal(preview(one), preview(two))
    assert np.array_equal(preview(one), preview(half))  # where the first stands is not known yet


def test_the_mask_of_any_object_is_not_written_over(folder: Path, hollow: Path) -> None:
    masked = ObjectJob("grass", "left", mask=Path("mask.png"))
    with pytest.raises(UsageError, match=r"the picture would be written over mask\.png"):
        plan(job(hollow, others=(masked,), output=Path("mask.mp4"), overwrite=True))
    (folder / "motion.json").write_text('{"version": 1, "motions": [{"motion": "left"}]}')
    with pytest.raises(UsageError, match=r"the record would be written over motion\.json"):
        plan(job(hollow, others=(ObjectJob("grass", "motion.json"),), output=Path("motion.mp4"), overwrite=True))


def test_words_are_planned_from_the_tokenizer_alone_and_said(folder: Path, hollow: Path) -> None:
    plain = plan(job(hollow))
    assert plain.words is None
    assert not [line for line in plain.describe() if "new prompt" in line or "recipe" in line]
    words = WordSettings((("ball", "burger"),), weights=(("red", 2.0),))
    changed = plan(job(hollow, words=words))
    assert changed.words is not None and changed.words.target == "a red burger on the grass"
    assert changed.words.weights == ((2, 2.0),)
    assert "new prompt: 'a red burger on the grass'" in changed.describe()
    published = plan(job(hollow, edit=EditSettings(recipe="peekaboo")))
    assert published.job.edit.recipe == "peekaboo" and "recipe: peekaboo" in published.describe()
    refined = plan(job(hollow, words=WordSettings(refine="a red ball on the wet grass"))).words
    assert refined is not None and len(refined.changed) == 3  # w, e, t


def test_masks_are_read_in_order(folder: Path, hollow: Path) -> None:
    masks = read_masks(folder / "six", plan(job(hollow)).footage)
    assert masks.dtype == bool and masks.shape == (6, 64, 96)
    assert [int(np.flatnonzero(mask.any(0))[0]) for mask in masks] == [30 + 4 * k for k in range(6)]


@pytest.fixture
def long(folder: Path) -> Path:
    """A clip longer than the model takes in one piece."""
    return write_footage(folder / "long.mp4", frames=50, width=32, height=32, sound=False)


def test_a_clip_that_goes_on_beyond_the_model_is_planned_in_windows(long: Path, hollow: Path) -> None:
    planned = plan(job(hollow, input=long))
    assert len(planned.footage) == 50 and planned.windows == windows(50, planned.size.frames)
    assert planned.windows[-1].end == 50 and len(planned.windows) > 1 and planned.warnings == ()
    first = planned.windows[0]
    (said,) = (line for line in planned.describe() if line.startswith("windows: "))
    assert f"{len(planned.windows)} of {len(first)} frames" in said
    whole = plan(job(hollow, input=long, selection=Selection(num_frames=48)))
    assert whole.windows == (Window(0, 48),) and not [line for line in whole.describe() if "windows" in line]
    asked = plan(job(hollow, input=long, selection=Selection(num_frames=20, window=8)))
    assert asked.windows == windows(20, 8) and asked.size.frames == 8


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"selection": Selection(window=49)}, "--window 49 is more than"),
        ({"selection": Selection(window=1)}, "--window 1 is too short"),
        ({"extras": Extras(gif=True)}, "--gif"),
        ({"edit": EditSettings(recipe="peekaboo")}, "the recipe peekaboo knows nothing of windows"),
    ],
)
def test_what_windows_cannot_do_is_said_before_the_model_is_loaded(
    long: Path, hollow: Path, changed: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        plan(job(hollow, input=long, **changed))
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    short = plan(job(hollow, input=long, selection=Selection(num_frames=40), extras=Extras(gif=True)))
    assert len(short.windows) == 1


def test_one_frame_is_said_to_be_too_few(folder: Path, hollow: Path) -> None:
    planned = plan(job(hollow, selection=Selection(num_frames=1)))
    assert [w for w in planned.warnings if "one frame" in w]


def test_the_prompt_s_origin(folder: Path, hollow: Path) -> None:
    made = plan(job(hollow, prompt=None))
    assert made.prompt.text == "a ball" and [w for w in made.warnings if "'a ball'" in w and "--prompt" in w]
    (folder / "clip.txt").write_text("the ball rolls on")
    beside = plan(job(hollow, prompt=None))
    assert (beside.prompt.text, beside.prompt.origin) == ("the ball rolls on", "clip.txt")
    assert not [w for w in beside.warnings if "--prompt" in w]


def test_the_files_of_a_job_keep_all_of_the_output_s_name() -> None:
    every = Extras(side_by_side=True, gif=True, attention=True)
    files = output_files(Path("there/take.v2.mov"), every)
    assert {kind: file.name for kind, file in files.items()} == {
        "video": "take.v2.mov",
        "record": "take.v2.json",
        "picture": "take.v2.png",
        "side_by_side": "take.v2-side-by-side.mp4",
        "gif": "take.v2.gif",
        "attention": "take.v2-attention.mp4",
    }
    assert {file.parent for file in files.values()} == {Path("there")}


def test_the_hollow_model_cannot_be_loaded(hollow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no test above passes because weights were loaded unseen."""
    monkeypatch.undo()
    with pytest.raises(ModelError, match="can't be loaded"):
        load(str(hollow), device="cpu")
