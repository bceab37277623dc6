"""The command line of vxedit-real, with the library's work replaced by stand-ins that note what they were asked for."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stand_in import Library
from vxedit.cli.main import main, real
from vxedit.cli.real import STAGES, command
from vxedit.errors import ModelError, OutputError, UsageError
from vxedit.job import EditSettings, Extras, InvertSettings, RealJob, Selection
from vxedit.job_json import job_to_json

ARGV = ["clip.mp4", "--obj", "burger", "--path", "0%:0.3,0.5 100%:0.7,0.5"]


def test_every_setting_reaches_the_job(library: Library) -> None:
    argv = [*ARGV, "--prompt", "a burger", "--model", "zeroscope", "--steps", "7", "--strength", "0.25"]
    argv += ["--guidance-scale", "3.5", "--seed", "11", "--inversion", "uni", "--box", "0.1,0.2,0.3,0.4"]
    argv += ["--start", "1.5", "--num-frames", "9", "--fps", "30000/1001", "--size", "320x256", "--device", "cuda:1"]
    argv += ["--dtype", "bf16", "--side-by-side", "--gif", "--attention", "--overwrite", "-o", "there.mp4"]
    assert real(argv) == 0
    assert library.jobs == [
        RealJob(
            Path("clip.mp4"),
            Path("there.mp4"),
            "burger",
            "0%:0.3,0.5 100%:0.7,0.5",
            prompt="a burger",
            box=(0.1, 0.2, 0.3, 0.4),
            model="zeroscope",
            device="cuda:1",
            dtype="bf16",
            selection=Selection(1.5, 9, Fraction(30000, 1001), (320, 256)),
            invert=InvertSettings("uni", 7, 3.5),
            edit=EditSettings(0.25, 11),
            extras=Extras(True, True, True),
            overwrite=True,
        )
    ]


def test_without_flags_the_settings_are_the_library_s_own(library: Library) -> None:
    assert real(ARGV) == 0
    (job,) = library.jobs
    assert replace(job, edit=EditSettings()) == RealJob(Path("clip.mp4"), Path("clip-edit.mp4"), "burger", ARGV[-1])


def test_every_stage_s_setting_has_a_flag() -> None:
    asked = {(stage, name) for stage, name in STAGES.values()}
    stages = {"selection": Selection, "invert": InvertSettings, "edit": EditSettings, "extras": Extras}
    fields = {(stage, field.name) for stage, kind in stages.items() for field in dataclasses.fields(kind)}
    assert fields - asked == {("invert", "per_frame"), ("edit", "energies")}  # --energy is read apart
    assert set(STAGES) <= {parameter.name for parameter in command.params}


def test_stdout_carries_the_output_s_path_alone(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    library.warnings = ("the path leaves the frame",)
    assert real([*ARGV, "-o", "out.mp4", "-v"]) == 0
    said = capfd.readouterr()
    assert said.out == "out.mp4\n"
    assert "vxedit: warning: the path leaves the frame\n" in said.err


def test_json_prints_the_record_alone(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    assert real([*ARGV, "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"job": job_to_json(library.jobs[0])}


def test_a_drawn_seed_is_said_and_differs(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    assert real(ARGV) == 0 and real(ARGV) == 0
    seeds = [job.edit.seed for job in library.jobs]
    assert seeds[0] != seeds[1]
    assert [f"seed {seed}" in capfd_line for seed, capfd_line in zip(seeds, _seed_lines(capfd), strict=True)] == [
        True
    ] * 2


def _seed_lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("seed ")]


def test_a_warning_that_was_logged_is_not_said_again(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    library.warnings = library.logs = ("sizes were rounded",)
    assert real(ARGV) == 0
    assert capfd.readouterr().err.count("sizes were rounded") == 1


def test_quiet_says_nothing_but_errors(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    library.warnings, library.logs = ("one",), ("two",)
    assert real([*ARGV, "-q"]) == 0
    assert capfd.readouterr().err == ""
    library.error = ModelError("no such model")
    assert real([*ARGV, "-q"]) == 1
    assert capfd.readouterr().err == "vxedit: error: no such model\n"


def test_dry_run_checks_and_draws_but_does_not_edit(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    library.warnings = ("the path leaves the frame",)
    assert real([*ARGV, "-o", "some/out.mp4", "--dry-run"]) == 0
    said = capfd.readouterr()
    assert said.out.splitlines() == [str(Path("some/out-path.png"))]
    assert "16 frames of 128x128" in said.err and "the path leaves the frame" in said.err
    assert library.pictures == [(Path("some/out-path.png"), False)]


def test_dry_run_and_json_exclude_each_other(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    assert real([*ARGV, "--dry-run", "--json"]) == 2
    assert capfd.readouterr().err.startswith("vxedit: error: --json") and not library.jobs


@pytest.mark.parametrize(
    ("output", "expected"),
    [("folder", "folder/clip-edit.mp4"), ("new/", "new/clip-edit.mp4"), ("new", "new"), ("a/b.mp4", "a/b.mp4")],
)
def test_a_folder_gets_a_name_after_the_input(library: Library, tmp_path: Path, output: str, expected: str) -> None:
    (tmp_path / "folder").mkdir()
    assert real([*ARGV, "-o", output]) == 0
    assert library.jobs[0].output == Path(expected)


@pytest.mark.parametrize("missing", ["clip.mp4", "--obj", "--path"])
def test_what_is_missing_is_named(library: Library, capfd: pytest.CaptureFixture[str], missing: str) -> None:
    start = ARGV.index(missing)
    argv = ARGV[:start] + ARGV[start + (2 if missing.startswith("--") else 1) :]
    assert real(argv) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.startswith("vxedit: error: missing ") and said.err.count("\n") == 1
    assert (missing if missing.startswith("--") else "INPUT") in said.err and not library.jobs


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("word"), 2), (OutputError("disk"), 1), (ModelError("weights"), 1)]
)
def test_an_error_is_one_line_and_its_code(
    library: Library, capfd: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    library.error = error
    assert real(ARGV) == code
    said = capfd.readouterr()
    assert said.out == "" and said.err.splitlines()[1:] == [f"vxedit: error: {error}"]


def test_the_traceback_comes_with_vv_alone(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    library.error = RuntimeError("tensors\ndisagree")
    assert real([*ARGV, "-v"]) == 1
    plain = capfd.readouterr().err
    assert real([*ARGV, "-vv"]) == 1
    long = capfd.readouterr().err
    assert "Traceback" not in plain
    assert plain.endswith("unexpected RuntimeError: tensors disagree; rerun with -vv for the traceback\n")
    assert "Traceback" in long and long.endswith("vxedit: error: unexpected RuntimeError: tensors disagree\n")


def test_an_interrupt_ends_with_130_and_one_line(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    library.error = KeyboardInterrupt()
    assert real([*ARGV]) == 130
    assert capfd.readouterr().err.splitlines()[1:] == ["vxedit: interrupted"]


def test_logging_is_left_as_it_was(library: Library) -> None:
    logger = logging.getLogger("vxedit")
    before = list(logger.handlers), logger.level, logger.propagate
    library.error = RuntimeError("any")
    assert real([*ARGV, "-vv"]) == 1
    assert (list(logger.handlers), logger.level, logger.propagate) == before


@pytest.mark.parametrize(
    "wrong",
    [["--strength", "1.5"], ["--strength", "nan"], ["--steps", "0"], ["--inversion", "magic"], ["--no-such-flag"]]
    + [
        ["--size", "12"],
        ["--box", "0,0,1"],
        ["--fps", "30/0"],
        ["--device", "gpu"],
        ["--seed", "-1"],
        ["--start", "-1"],
    ],
)
def test_a_wrong_flag_is_one_line_and_code_2(
    library: Library, capfd: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    assert real([*ARGV, *wrong]) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("vxedit: error: ")
    assert wrong[0] in said.err and "vxedit-real --help" in said.err and not library.jobs


def test_both_names_are_one_command(library: Library) -> None:
    assert main(["real", *ARGV, "--seed", "1"]) == 0 and real([*ARGV, "--seed", "1"]) == 0
    assert library.jobs[0] == library.jobs[1]


@pytest.mark.parametrize("entry", [real, lambda argv: main(["real", *argv])])
def test_the_environment_sets_options_but_flags_win(
    library: Library, monkeypatch: pytest.MonkeyPatch, entry: Any
) -> None:
    monkeypatch.setenv("VXEDIT_MODEL", "zeroscope")
    monkeypatch.setenv("VXEDIT_STEPS", "5")
    assert entry([*ARGV, "--steps", "6"]) == 0
    assert (library.jobs[0].model, library.jobs[0].invert.steps) == ("zeroscope", 6)


def test_version_and_help_end_with_0(capfd: pytest.CaptureFixture[str]) -> None:
    from vxedit import __version__

    assert main(["--version"]) == 0 and real(["--version"]) == 0 and main(["-h"]) == 0
    shown = capfd.readouterr().out
    assert shown.count(__version__) == 2
    assert all(f"\n  {name} " in shown for name in ("real", "gen", "look", "score"))
    assert main([]) == 2
