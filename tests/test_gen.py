"""A generated clip and its edited twin from file to file, on a tiny model of random weights."""

from __future__ import annotations

import hashlib
import itertools
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

from tests.footage import contents
from tests.tiny import write_tiny_checkpoint
from vxedit import gen, make, results
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D
from vxedit.cli.main import gen as command
from vxedit.edit.generate import generate
from vxedit.edit.recipes.names import NAMES as RECIPES
from vxedit.errors import InputError, ModelError, OutputError, UsageError, VxeditError
from vxedit.gen import edit_generated, from_original, gen_files, plan_gen
from vxedit.io.probe import probe
from vxedit.io.read import read_video
from vxedit.io.record import plain, read_record, write_record
from vxedit.io.write import write_video
from vxedit.job import STAY, EditSettings, Extras, GenerateSettings, GenJob, ObjectJob, WordSettings
from vxedit.job_json import gen_job_from_json
from vxedit.make import Outcome
from vxedit.results import Result

PROMPT = "the burger on the red ball"
PATH = "0%:0.3,0.3,0.4,0.4 100%:0.6,0.6,0.4,0.4"
BALL = ObjectJob("ball", PATH)
TWIN = ("out.mp4", "out-original.mp4", "out-side-by-side.mp4", "out.png", "out.json")
ALONE = ("out.mp4", "out.png", "out.json")


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> UNet3D:
    return cast(UNet3D, load(str(checkpoint), device="cpu"))


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """What each twin came to."""
    seen: list[Outcome] = []
    edit_frames = gen.edit_frames

    def note(*given: Any, **named: Any) -> Outcome:
        seen.append(edit_frames(*given, **named))
        return seen[-1]

    monkeypatch.setattr(gen, "edit_frames", note)
    return seen


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The frames that were given to be encoded, by the file's name."""
    frames: dict[str, np.ndarray] = {}

    def note(path: Path, shown: np.ndarray, fps: Fraction, **options: Any) -> None:
        frames[path.name] = np.array(shown)
        write_video(path, shown, fps, **options)

    monkeypatch.setattr(gen, "write_video", note)
    return frames


class Bench:
    """Clips of one prompt in one folder."""

    def __init__(self, folder: Path, tiny: UNet3D, checkpoint: Path) -> None:
        self.folder, self.tiny = folder, tiny
        self.job = GenJob(
            PROMPT,
            folder / "out.mp4",
            objects=(BALL,),
            model=str(checkpoint),
            generate=GenerateSettings(3, 4.0, 3, (64, 48)),
            edit=EditSettings(0.7, 5),
        )

    def __call__(self, *, progress: Any = None, **changed: Any) -> Result:
        return edit_generated(replace(self.job, **changed), progress=progress, backbone=self.tiny)


@pytest.fixture
def bench(tmp_path: Path, tiny: UNet3D, checkpoint: Path) -> Bench:
    folder = tmp_path / "results"
    folder.mkdir()
    return Bench(folder, tiny, checkpoint)


def test_a_twin_is_written_with_its_original_both_side_by_side_its_record_and_its_picture(
    bench: Bench, handed: dict[str, np.ndarray], outcomes: list[Outcome]
) -> None:
    told: list[tuple[str, int, int]] = []
    result = bench(progress=lambda *step: told.append(step))
    assert set(contents(bench.folder)) == set(TWIN) == {path.name for path in result.files}
    assert result.output == bench.folder / "out.mp4"
    for name in ("out.mp4", "out-original.mp4"):
        info = probe(bench.folder / name)
        assert (info.width, info.height, info.fps, info.has_audio) == (64, 48, 8, False)
        assert len(read_video(bench.folder / name)) == 3
    assert probe(bench.folder / "out-side-by-side.mp4").width >= 3 * 64
    comments = [probe(bench.folder / name).comment or "" for name in ("out.mp4", "out-original.mp4")]
    assert comments[0].startswith("edited with vxedit") and comments[1] == PROMPT
    sheet = cv2.imread(str(bench.folder / "out.png"))
    assert sheet is not None and sheet.shape[0] >= 4 * 48

    (outcome,) = outcomes
    original, twin = handed["out-original.mp4"], handed["out.mp4"]
    assert original.shape == twin.shape == (3, 48, 64, 3)
    assert np.array_equal(twin[outcome.alpha == 0], original[outcome.alpha == 0])
    assert np.abs(twin.astype(int) - original).max() > 8
    assert list(dict.fromkeys(name for name, _, _ in told)) == ["generate", "edit", "decode"]
    assert [step for step in told if step[0] == "generate"] == [("generate", i, 3) for i in (1, 2, 3)]


def test_the_original_is_the_generated_clip_and_the_record_has_all_that_made_it(
    bench: Bench, handed: dict[str, np.ndarray]
) -> None:
    result = bench()
    chance = torch.Generator().manual_seed(5)
    size = plan_gen(replace(bench.job, output=bench.folder / "new.mp4")).size
    made = generate(bench.tiny, PROMPT, size, steps=3, guidance_scale=4.0, generator=chance)
    assert np.array_equal(handed["out-original.mp4"], bench.tiny.decode(made.clean, 3))

    record = read_record(bench.folder / "out.json")
    assert {key: value for key, value in record.items() if key != "cost"} == {
        key: plain(value) for key, value in result.record.items() if key != "cost"
    }
    settled = replace(bench.job.generate, eta=0.0, steady=())  # the model's own
    assert gen_job_from_json(record["job"]) == replace(bench.job, generate=settled)
    assert record["original_sha256"] == hashlib.sha256(handed["out-original.mp4"].tobytes()).hexdigest()
    assert record["model"]["identity"] == bench.tiny.identity
    assert record["model"]["size"] == {"frames": 3, "height": 48, "width": 64}
    assert record["clip"] == {"frames": 3, "width": 64, "height": 48, "fps": "8/1"}
    assert record["cost"]["generate_forwards"] == 6 and record["cost"]["edit_forwards"] > 0
    np.testing.assert_allclose(record["boxes"]["target"][0], [0.1, 0.1, 0.5, 0.5], atol=1e-5)
    np.testing.assert_allclose(record["boxes"]["target"][-1], [0.4, 0.4, 0.8, 0.8], atol=1e-5)
    assert record["objects"][0]["obj"] == "ball" and record["prompt"] == {"text": PROMPT, "origin": "given"}


def test_the_seed_decides_the_pixels(bench: Bench, handed: dict[str, np.ndarray]) -> None:
    bench()
    bench(output=bench.folder / "same.mp4")
    bench(output=bench.folder / "other.mp4", edit=EditSettings(0.7, 6))
    for kind in ("", "-original"):
        assert np.array_equal(handed[f"out{kind}.mp4"], handed[f"same{kind}.mp4"])
        assert not np.array_equal(handed[f"out{kind}.mp4"], handed[f"other{kind}.mp4"])
    files = contents(bench.folder)
    assert files["out-original.mp4"] == files["same-original.mp4"]


def test_without_an_object_the_clip_alone_is_written(bench: Bench, handed: dict[str, np.ndarray]) -> None:
    every = Extras(side_by_side=True, gif=True, attention=True)  # of which there is nothing to show
    result = bench(objects=(), extras=every)
    assert set(contents(bench.folder)) == set(ALONE) == {path.name for path in result.files}
    record = read_record(bench.folder / "out.json")
    assert "boxes" not in record and record["cost"]["edit_forwards"] == 0
    bench(output=bench.folder / "twin.mp4")
    assert np.array_equal(handed["out.mp4"], handed["twin-original.mp4"])
    assert record["original_sha256"] == read_record(bench.folder / "twin.json")["original_sha256"]


def test_an_original_is_made_again_bit_for_bit_and_edited(
    bench: Bench, handed: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Whether it was written alone or with a twin, whose path it then leaves."""
    bench(objects=(), output=bench.folder / "alone.mp4")
    bench(output=bench.folder / "before.mp4")
    for name in ("alone", "before"):
        job = replace(from_original(bench.folder / f"{name}.json"), objects=(replace(BALL, path="left:0.1"),))
        result = edit_generated(replace(job, output=bench.folder / f"{name}-edit.mp4"), backbone=bench.tiny)
        assert result.record["original_sha256"] == read_record(bench.folder / f"{name}.json")["original_sha256"]
        assert not [warning for warning in result.warnings if "other pixels" in warning]
        assert gen_job_from_json(plain(result.record["job"])).original == bench.folder / f"{name}.json"
    assert np.array_equal(handed["alone-edit-original.mp4"], handed["alone.mp4"])
    assert np.array_equal(handed["before-edit-original.mp4"], handed["before-original.mp4"])
    assert np.array_equal(handed["before-edit.mp4"], handed["alone-edit.mp4"])
    assert not np.array_equal(handed["before-edit.mp4"], handed["before.mp4"])


def test_an_original_whose_object_was_kept_on_its_way_is_made_again_bit_for_bit(
    bench: Bench, handed: dict[str, np.ndarray]
) -> None:
    """Whatever is edited then, the word that was kept is in the record, as is how much noise was fresh."""
    how = replace(bench.job.generate, eta=1.0, steady=("ball",))
    steady = bench(generate=how, output=bench.folder / "first.mp4")
    plain = bench(output=bench.folder / "plain.mp4")
    spent = [result.record["cost"]["generate_gradient_passes"] for result in (steady, plain)]
    assert spent[0] > 0 and spent[1] == 0
    assert not np.array_equal(handed["first-original.mp4"], handed["plain-original.mp4"])
    job = from_original(bench.folder / "first.json")
    assert job.generate == how
    burger = ObjectJob("burger", "0%:0.8,0.2,0.3,0.3 100%:0.2,0.8,0.3,0.3")
    bench(**{field: getattr(job, field) for field in ("generate", "original")}, objects=(burger,))
    assert np.array_equal(handed["out-original.mp4"], handed["first-original.mp4"])
    said = plan_gen(replace(bench.job, generate=how, overwrite=True)).describe()
    assert any("eta 1, kept on their way: ball" in line for line in said)


def test_a_record_from_before_there_was_fresh_noise_makes_what_it_made_then(
    bench: Bench, handed: dict[str, np.ndarray]
) -> None:
    bench(output=bench.folder / "first.mp4")
    file = bench.folder / "first.json"
    record = read_record(file)
    for later in ("eta", "steady"):
        del record["job"]["generate"][later]
    write_record(file, record, overwrite=True)
    assert from_original(file).generate == replace(bench.job.generate, eta=0.0, steady=())


def test_an_original_that_comes_out_otherwise_is_said(bench: Bench) -> None:
    """As on another processor, which rounds differently."""
    bench(objects=(), output=bench.folder / "first.mp4")
    record = read_record(bench.folder / "first.json")
    write_record(bench.folder / "first.json", {**record, "original_sha256": "0" * 64}, overwrite=True)
    result = bench(original=bench.folder / "first.json")
    assert [warning for warning in result.warnings if "other pixels than its record says" in warning]
    assert read_record(bench.folder / "out.json")["warnings"] == list(result.warnings)


def test_an_original_of_another_model_is_refused(bench: Bench, tmp_path: Path) -> None:
    """One of another name, or one whose weights are no longer those."""
    other = write_tiny_checkpoint(tmp_path / "other")
    bench(objects=(), output=bench.folder / "first.mp4")
    before = contents(bench.folder)
    job = replace(from_original(bench.folder / "first.json"), objects=(BALL,), output=bench.folder / "out.mp4")
    with pytest.raises(ModelError, match=r"was generated by the model .*tiny.* and --model is .*other"):
        edit_generated(replace(job, model=str(other)), backbone=bench.tiny)
    changed = load(str(write_tiny_checkpoint(tmp_path / "changed", seed=1)), device="cpu")
    with pytest.raises(ModelError, match="other weights than"):
        edit_generated(job, backbone=changed)
    assert contents(bench.folder) == before


def test_what_is_no_original_is_refused(bench: Bench) -> None:
    write_record(bench.folder / "real.json", {"job": {"input": "clip.mp4"}})
    with pytest.raises(InputError, match=r"real\.json is not the record of a generated clip; give the \.json"):
        from_original(bench.folder / "real.json")


def test_the_command_makes_a_clip_and_then_its_twin(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    how = ["--model", str(checkpoint), "--steps", "2", "--num-frames", "2", "--size", "64x64", "--seed", "3", "-q"]
    assert command([PROMPT, *how, "-o", "out.mp4"]) == 0
    edit = ["--obj", "ball", "--path", PATH, "-q"]
    assert command(["--original", "out.json", *edit]) == 0
    assert capfd.readouterr().out.splitlines() == ["out.mp4", "out-edit.mp4"]
    twin = {f"out-edit{kind}" for kind in (".mp4", "-original.mp4", "-side-by-side.mp4", ".png", ".json")}
    assert set(contents(tmp_path)) == {*ALONE, *twin}
    assert Path("out.mp4").read_bytes() == Path("out-edit-original.mp4").read_bytes()
    assert command(["--original", "out.json", *edit, "--steps", "2"]) == 2
    assert "--original fixes the clip's steps" in capfd.readouterr().err


def test_two_objects_each_have_their_path_and_the_twin_says_so(bench: Bench, outcomes: list[Outcome]) -> None:
    burger = ObjectJob("burger", "0%:0.8,0.2,0.3,0.3 100%:0.2,0.8,0.3,0.3")
    result = bench(objects=(BALL, burger))
    assert [one["obj"] for one in result.record["objects"]] == ["ball", "burger"]
    assert len(outcomes[0].targets) == 2
    np.testing.assert_allclose(outcomes[0].targets[1][-1], [0.05, 0.65, 0.35, 0.95], atol=1e-6)
    both = plan_gen(replace(bench.job, objects=(BALL, burger), overwrite=True)).describe()
    assert sum(line.startswith("word: ") for line in both) == sum(line.startswith("path: ") for line in both) == 2


def test_words_change_in_the_twin_alone(bench: Bench, handed: dict[str, np.ndarray]) -> None:
    words = WordSettings((("ball", "burger"),))
    result = bench(objects=(ObjectJob("ball", STAY),), words=words)
    bench(objects=(), output=bench.folder / "plain.mp4")
    assert result.record["new_prompt"] == "the burger on the red burger"
    assert np.array_equal(handed["out-original.mp4"], handed["plain.mp4"])
    assert not np.array_equal(handed["out.mp4"], handed["out-original.mp4"])


@pytest.mark.parametrize("recipe", RECIPES[1:])
def test_a_published_recipe_makes_the_twin_from_the_same_noise(
    bench: Bench, outcomes: list[Outcome], recipe: str
) -> None:
    bench(edit=EditSettings(0.7, 5, recipe=recipe))
    edited = outcomes[0].edited
    assert edited is not None and bool(torch.isfinite(edited.latents).all())
    assert outcomes[0].frames.shape == (3, 48, 64, 3)


def test_no_strength_leaves_the_twin_as_the_original(bench: Bench, handed: dict[str, np.ndarray]) -> None:
    bench(edit=EditSettings(0.0, 5))
    assert np.array_equal(handed["out.mp4"], handed["out-original.mp4"])


def test_a_clip_has_the_size_and_rate_asked_for_and_else_the_model_s(bench: Bench) -> None:
    native = plan_gen(replace(bench.job, generate=GenerateSettings()))
    assert native.size == bench.tiny.native == (16, 64, 64) and native.fps == 8
    assert native.job.generate.guidance_scale == bench.tiny.guidance_scale  # the record says which
    assert (native.job.generate.steps, native.job.generate.eta) == (bench.tiny.steps, bench.tiny.eta)
    asked = GenerateSettings(1, 1.0, 2, (32, 80), Fraction(25, 2))
    result = bench(objects=(), generate=asked)
    info = probe(result.output)
    assert (info.width, info.height, info.fps, len(read_video(result.output))) == (32, 80, Fraction(25, 2), 2)
    assert result.record["cost"]["generate_forwards"] == 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "empty prompt": ({"prompt": "  "}, "the prompt is empty"),
    "long prompt": ({"prompt": "x" * 80, "objects": ()}, "the model takes 75"),
    "no such word": ({"objects": (ObjectJob("cup", "left"),)}, "'cup' is not in the prompt"),
    "one word twice": ({"objects": (BALL, replace(BALL, obj="red ball"))}, "the same word of the prompt"),
    "no box": ({"objects": (replace(BALL, box=(0.5, 0.0, 0.1, 1.0)),)}, "is no box"),
    "a mask": ({"objects": (replace(BALL, mask=Path("mask.png"), box=None),)}, "a mask (mask.png)"),
    "words without an object": ({"objects": (), "words": WordSettings((("ball", "cup"),))}, "name it with --obj"),
    "no such word to replace": ({"words": WordSettings((("cup", "ball"),))}, "'cup' is not in the prompt"),
    "unknown recipe": ({"edit": EditSettings(recipe="freetrja")}, "did you mean freetraj"),
    "no energy": ({"edit": EditSettings(energies=(("centre", 1.0),))}, 'no energy "centre"'),
    "strength": ({"edit": EditSettings(strength=1.5)}, "--strength 1.5"),
    "guidance": ({"generate": GenerateSettings(guidance_scale=0.0)}, "--guidance-scale 0"),
    "eta": ({"generate": GenerateSettings(eta=1.5)}, "--eta 1.5 is out of range: give 0"),
    "steady": ({"generate": GenerateSettings(steady=("cup",))}, "'cup' is not in the prompt"),
    "steps": ({"generate": GenerateSettings(steps=5000)}, "between 1 and 1000"),
    "size": ({"generate": GenerateSettings(size=(100, 60))}, "--size 96x64"),
    "frames": ({"generate": GenerateSettings(num_frames=99)}, "99 frames are too many"),
    "path beyond the end": ({"objects": (ObjectJob("ball", "0:0.3,0.5 99:0.6,0.5"),)}, "frame 99 is beyond the end"),
    "suffix": ({"output": Path("out.avi")}, "name it out.mp4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_said_before_any_weights_are_read(
    bench: Bench, hollow: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(bench.folder)
    changed, said = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        plan_gen(replace(bench.job, model=str(hollow), **changed))
    assert said in str(caught.value) and "\n" not in str(caught.value) and not contents(bench.folder)


@pytest.mark.parametrize("there", [*TWIN, "out.gif", "out-attention.mp4"])
def test_whatever_exists_is_kept_unless_it_may_be_replaced(bench: Bench, there: str) -> None:
    extras = Extras(gif=True, attention=True)
    (bench.folder / there).write_bytes(b"precious")
    with pytest.raises(OutputError, match=f"{there} exists.*--overwrite"):
        bench(extras=extras)
    assert contents(bench.folder) == {there: b"precious"}
    assert plan_gen(replace(bench.job, extras=extras, overwrite=True)).files == gen_files(
        replace(bench.job, extras=extras)
    )


def test_the_record_of_the_original_is_not_written_over(bench: Bench) -> None:
    bench(objects=(), output=bench.folder / "first.mp4")
    with pytest.raises(UsageError, match=r"the record would be written over .*first\.json"):
        bench(original=bench.folder / "first.json", output=bench.folder / "first.mp4", overwrite=True)


def test_a_path_that_leaves_the_frame_is_said(bench: Bench) -> None:
    planned = plan_gen(replace(bench.job, objects=(ObjectJob("ball", "0%:0.5,0.5,0.4,0.4 100%:1.2,0.5,0.4,0.4"),)))
    assert [warning for warning in planned.warnings if "leaves the frame" in warning]
    assert not plan_gen(bench.job).warnings
    assert plan_gen(bench.job).edits and not plan_gen(replace(bench.job, objects=())).edits


class FailedError(Exception):
    """Stands for whatever goes wrong."""


def _interrupted(frames: Iterable[np.ndarray], error: BaseException) -> Iterator[np.ndarray]:
    yield from itertools.islice(frames, 2)
    raise error


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize(
    ("module", "place", "error"),
    [
        (gen, "generate", FailedError()),
        (make, "edit", KeyboardInterrupt()),
        (results, "write_record", OutputError("no space")),
        (results, "write_video", FailedError()),
        (gen, "write_video", KeyboardInterrupt()),
    ],
)
def test_a_failure_in_the_middle_leaves_all_as_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, existed: bool, module: ModuleType, place: str, error: BaseException
) -> None:
    for name in TWIN if existed else ():
        (bench.folder / name).write_bytes(b"precious")
    before = contents(bench.folder)

    def fail(*given: Any, **named: Any) -> None:
        if place == "write_video":
            write_video(given[0], _interrupted(given[1], error), given[2], **named)
        raise error

    monkeypatch.setattr(module, place, fail)
    with pytest.raises(type(error)):
        bench(overwrite=existed)
    assert contents(bench.folder) == before


@pytest.mark.parametrize("place", ["write_record", "write_video", "write_png"])
def test_a_failure_while_a_clip_alone_is_written_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(gen, place, lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench(objects=())
    assert contents(bench.folder) == {}


def test_numbers_that_are_not_finite_are_said_with_the_remedy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.tiny, "predict", lambda latents, *_: torch.full_like(latents, float("nan")))
    with pytest.raises(VxeditError, match="--dtype fp32") as caught:
        bench()
    assert "\n" not in str(caught.value) and not contents(bench.folder)
