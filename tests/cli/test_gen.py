"""The command line of vxedit-gen, with the library's work replaced by a stand-in that notes what it was asked for."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.cli.stand_in import Library
from vxedit.cli.gen import OF_THE_CLIP, PLAIN, STAGES, command, named_after
from vxedit.cli.main import gen, main
from vxedit.errors import ModelError, UsageError
from vxedit.io.record import write_record
from vxedit.job import STAY, EditSettings, Extras, GenerateSettings, GenJob, ObjectJob, WordSettings
from vxedit.job_json import job_to_json

PROMPT = "A dog, on the grass!"
ARGV = [PROMPT, "--obj", "dog", "--path", "left"]
EARLIER = GenJob(
    "a dog and a cup",
    Path("there/first.mp4"),
    objects=(ObjectJob("dog", "left"),),
    model="zeroscope",
    device="cpu",
    dtype="fp32",
    generate=GenerateSettings(9, 3.5, 12, (96, 64), Fraction(12)),
    edit=EditSettings(0.3, 77),
    words=WordSettings((("dog", "cat"),)),
    overwrite=True,
)


@pytest.fixture
def earlier(tmp_path: Path) -> str:
    write_record(tmp_path / "first.json", {"job": job_to_json(EARLIER)})
    return "first.json"


def test_every_setting_reaches_the_job(generator: Library) -> None:
    argv = [*ARGV, "--obj", "grass", "--path", "up", "--steps", "7", "--guidance-scale", "3.5", "--num-frames", "9"]
    argv += ["--size", "96x64", "--fps", "30000/1001", "--seed", "11", "--strength", "0.25", "--model", "zeroscope"]
    argv += ["--device", "cuda:1", "--dtype", "bf16", "--allow-pickle", "--gif", "--attention", "--overwrite"]
    argv += ["--replace", "dog=cat", "--refine", "A cat, on wet grass!", "--reweight", "wet=2"]
    argv += ["--energy", "centroid=0.5", "--eta", "0.5", "--steady", "dog", "--steady", "grass", "-o", "there.mp4"]
    assert gen(argv) == 0
    assert generator.jobs == [
        GenJob(
            PROMPT,
            Path("there.mp4"),
            objects=(ObjectJob("dog", "left"), ObjectJob("grass", "up")),
            model="zeroscope",
            allow_pickle=True,
            device="cuda:1",
            dtype="bf16",
            generate=GenerateSettings(7, 3.5, 9, (96, 64), Fraction(30000, 1001), 0.5, ("dog", "grass")),
            edit=EditSettings(0.25, 11, energies=(("centroid", 0.5),)),
            words=WordSettings((("dog", "cat"),), "A cat, on wet grass!", (("wet", 2.0),)),
            extras=Extras(gif=True, attention=True),
            overwrite=True,
        )
    ]
    assert gen([*ARGV, "--recipe", "peekaboo"]) == 0 and generator.jobs[1].edit.recipe == "peekaboo"


def test_every_stage_s_setting_has_a_flag() -> None:
    stages = {"generate": GenerateSettings, "edit": EditSettings, "extras": Extras}
    fields = {(stage, field.name) for stage, kind in stages.items() for field in dataclasses.fields(kind)}
    # --energy and --steady are read apart, and the original and its twin always come side by side
    apart = {("edit", "energies"), ("generate", "steady"), ("extras", "side_by_side")}
    assert fields - set(STAGES.values()) == apart
    flags = {parameter.name for parameter in command.params}
    assert {*STAGES, *PLAIN, *OF_THE_CLIP} <= flags


def test_without_flags_the_settings_are_the_library_s_own_and_the_seed_is_drawn_and_said(
    generator: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    assert gen(ARGV) == 0 and gen(ARGV) == 0
    first, second = generator.jobs
    asked = GenJob(PROMPT, Path("a-dog-on-the-grass.mp4"), objects=(ObjectJob("dog", "left"),))
    assert replace(first, edit=EditSettings()) == asked
    assert first.edit.seed != second.edit.seed
    said = capfd.readouterr()
    assert said.out == 2 * "a-dog-on-the-grass.mp4\n"
    assert said.err.splitlines() == [f"seed {job.edit.seed}" for job in (first, second)]


def test_what_is_kept_on_its_way_is_the_model_s_choice_unless_words_or_none_are_named(
    generator: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    assert gen(ARGV) == gen([*ARGV, "--no-steady"]) == gen([PROMPT, "--steady", "dog"]) == 0
    assert [job.generate.steady for job in generator.jobs] == [None, (), ("dog",)]
    assert gen([*ARGV, "--no-steady", "--steady", "dog"]) == 2
    assert "give one of them" in capfd.readouterr().err


def test_without_an_object_the_clip_alone_is_asked_for(generator: Library) -> None:
    assert gen([PROMPT]) == 0
    assert generator.jobs[0].objects == ()


def test_where_only_words_change_the_object_stays(generator: Library) -> None:
    assert gen([PROMPT, "--replace", "dog=cat"]) == 0
    assert generator.jobs[0].objects == (ObjectJob("dog", STAY),)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [(PROMPT, "a-dog-on-the-grass"), ("un café à Paris", "un-café-à-paris"), ("../../etc", "etc"), ("?!", "clip")],
)
def test_a_clip_is_named_after_its_prompt(prompt: str, name: str) -> None:
    assert named_after(prompt) == name


def test_a_long_prompt_gives_a_short_name_without_a_ragged_end() -> None:
    assert named_after("word " * 50) == "-".join(["word"] * 9) + "-wor"
    assert named_after("a" * 47 + " b") == "a" * 47


@pytest.mark.parametrize(
    ("output", "expected"),
    [("folder", "folder/a-dog-on-the-grass.mp4"), ("new/", "new/a-dog-on-the-grass.mp4"), ("a/b.mp4", "a/b.mp4")],
)
def test_a_folder_gets_a_name_after_the_prompt(generator: Library, tmp_path: Path, output: str, expected: str) -> None:
    (tmp_path / "folder").mkdir()
    assert gen([*ARGV, "-o", output]) == 0
    assert generator.jobs[0].output == Path(expected)


def test_an_original_is_taken_with_all_that_made_it_and_edited_anew(
    generator: Library, earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VXEDIT_STEPS", "3")  # would make another clip
    assert gen(["--original", earlier, "--obj", "cup", "--path", "up", "--strength", "0.9"]) == 0
    assert generator.jobs == [
        replace(
            EARLIER,
            output=Path("first-edit.mp4"),
            objects=(ObjectJob("cup", "up"),),
            words=WordSettings(),
            edit=replace(EARLIER.edit, strength=0.9),
            original=Path("first.json"),
            overwrite=False,
        )
    ]


@pytest.mark.parametrize(
    "flag",
    [
        ["--steps", "9"],
        ["--guidance-scale", "3.5"],
        ["--eta", "0.5"],
        ["--steady", "dog"],
        ["--no-steady"],
        ["--num-frames", "12"],
        ["--size", "96x64"],
        ["--fps", "12"],
        ["--seed", "77"],
        ["another prompt"],
    ],
)
def test_what_the_original_was_made_of_can_t_be_asked_again(
    generator: Library, earlier: str, capfd: pytest.CaptureFixture[str], flag: list[str]
) -> None:
    assert gen(["--original", earlier, "--obj", "cup", "--path", "up", *flag]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    what = flag[0].removeprefix("--").removeprefix("no-").replace("-", " ") if flag[0].startswith("--") else "prompt"
    assert line.startswith(f"vxedit: error: --original fixes the clip's {what}: leave it out") and not generator.jobs


def test_what_is_no_generated_clip_s_record_is_refused(
    generator: Library, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path / "real.json", {"job": {"input": "clip.mp4"}})
    write_record(tmp_path / "none.json", {"seconds": 1})
    for name in ("real.json", "none.json"):
        assert gen(["--original", name]) == 1
        assert f"{name} is not the record of a generated clip" in capfd.readouterr().err
    assert gen(["--original", "absent.json"]) == 1 and "can't be read" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "missing PROMPT"),
        ([PROMPT, "--obj", "dog"], "missing --path PATH, where 'dog' should go"),
        ([PROMPT, "--path", "left"], "0 --obj and 1 --path"),
        ([PROMPT, "--obj", "dog", "--path", "left", "--obj", "cup"], "2 --obj and 1 --path"),
        ([PROMPT, "--refine", "a wet dog"], "name it with --obj"),
        ([*ARGV, "--energy", "box=lots"], 'the weight of box is "lots"'),
        ([*ARGV, "--dry-run", "--json"], "leave one of them out"),
        ([*ARGV, "--guidance-scale", "nan"], "--guidance-scale"),
        ([*ARGV, "--box", "0,0,1,1"], "--box"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_code_2(
    generator: Library, capfd: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    assert gen(argv) == 2
    told = capfd.readouterr()
    assert told.out == "" and told.err.startswith("vxedit: error: ") and told.err.count("\n") == 1
    assert said in told.err and not generator.jobs


def test_json_prints_the_record_alone_and_warnings_are_said_once(
    generator: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    generator.warnings = ("the path leaves the frame",)
    assert gen([*ARGV, "--json"]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == {"job": job_to_json(generator.jobs[0])}
    assert told.err.count("vxedit: warning: the path leaves the frame\n") == 1


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    generator: Library, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    generator.warnings = ("the path leaves the frame",)
    assert gen([*ARGV, "--dry-run"]) == 0
    told = capfd.readouterr()
    assert told.out == "" and "16 frames of 128x128" in told.err and "the path leaves the frame" in told.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("error", "code"), [(UsageError("word"), 2), (ModelError("weights"), 1)])
def test_an_error_is_one_line_and_its_code(
    generator: Library, capfd: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    generator.error = error
    assert gen([*ARGV, "-q"]) == code
    assert capfd.readouterr().err == f"vxedit: error: {error}\n"


def test_both_names_are_one_command(generator: Library) -> None:
    assert main(["gen", *ARGV, "--seed", "1"]) == 0 and gen([*ARGV, "--seed", "1"]) == 0
    assert generator.jobs[0] == generator.jobs[1]


def test_the_environment_sets_options_but_flags_win(generator: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VXEDIT_MODEL", "zeroscope")
    monkeypatch.setenv("VXEDIT_STEPS", "5")
    assert gen([*ARGV, "--steps", "6"]) == 0
    assert (generator.jobs[0].model, generator.jobs[0].generate.steps) == ("zeroscope", 6)
