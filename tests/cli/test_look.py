"""The command line of vxedit-look: what reaches the job, what is said, and once through to the files."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import types
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_speed import HEAVY
from tests.footage import PROMPT, contents
from vxedit.cli.look import command
from vxedit.cli.report import exit_code_of
from vxedit.errors import ModelError, OutputError, UsageError
from vxedit.job import Selection
from vxedit.look import LookJob


def run(*argv: str) -> int:
    return exit_code_of(command, argv, name="vxedit-look")


class Library:
    """Stands for vxedit.look.look: keeps the jobs, fails with `error` if there is one."""

    def __init__(self) -> None:
        self.jobs: list[LookJob] = []
        self.error: BaseException | None = None
        self.warnings: tuple[str, ...] = ()

    def look(self, job: LookJob, *, progress: Any = None) -> Any:
        self.jobs.append(job)
        if self.error is not None:
            raise self.error
        progress("look", 1, 1)
        logging.getLogger("vxedit.look").debug("looked")
        return types.SimpleNamespace(
            output=job.output, words=("ball: sharp",), record={"seed": job.seed}, warnings=self.warnings
        )


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    stand_in = Library()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vxedit.look.look", stand_in.look)
    return stand_in


def test_every_setting_reaches_the_job(library: Library) -> None:
    argv = ["clip.mp4", "--prompt", "a ball", "--word", "ball", "--word", "red ball", "--layers", "mid_block, up*"]
    argv += ["--level", "0.5", "--level", "0.9", "--samples", "3", "--seed", "11", "--model", "zeroscope"]
    argv += ["--start", "1.5", "--num-frames", "9", "--fps", "30000/1001", "--size", "320x256", "--device", "cuda:1"]
    argv += ["--dtype", "bf16", "--allow-pickle", "--video", "--overwrite", "-o", "there.png"]
    assert run(*argv) == 0
    assert library.jobs == [
        LookJob(
            Path("clip.mp4"),
            Path("there.png"),
            prompt="a ball",
            words=("ball", "red ball"),
            layers=("mid_block", "up*"),
            levels=(0.5, 0.9),
            samples=3,
            seed=11,
            model="zeroscope",
            allow_pickle=True,
            device="cuda:1",
            dtype="bf16",
            selection=Selection(1.5, 9, Fraction(30000, 1001), (320, 256)),
            video=True,
            overwrite=True,
        )
    ]


def test_without_flags_the_settings_are_the_library_s_own(library: Library) -> None:
    assert run("some/clip.mp4") == 0
    (job,) = library.jobs
    assert replace(job, seed=0) == LookJob(Path("some/clip.mp4"), Path("clip-look.png"))


@pytest.mark.parametrize(
    ("output", "expected"), [("folder", "folder/clip-look.png"), ("new/", "new/clip-look.png"), ("a.png", "a.png")]
)
def test_a_folder_gets_a_name_after_the_clip(library: Library, tmp_path: Path, output: str, expected: str) -> None:
    (tmp_path / "folder").mkdir()
    assert run("clip.mp4", "-o", output) == 0
    assert library.jobs[0].output == Path(expected)


def test_stdout_carries_the_picture_s_path_alone(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    library.warnings = ("'a' is too diffuse to steer",)
    assert run("clip.mp4", "-o", "look.png") == 0
    said = capfd.readouterr()
    assert said.out == "look.png\n"
    seed = library.jobs[0].seed
    assert said.err == f"seed {seed}\nball: sharp\nvxedit: warning: 'a' is too diffuse to steer\n"


def test_json_prints_the_figures_alone(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("clip.mp4", "--json", "--seed", "5") == 0
    assert json.loads(capfd.readouterr().out) == {"seed": 5}


def test_a_drawn_seed_differs(library: Library) -> None:
    assert run("clip.mp4") == 0 and run("clip.mp4") == 0
    assert library.jobs[0].seed != library.jobs[1].seed


def test_quiet_says_nothing_but_errors(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    library.warnings = ("one",)
    assert run("clip.mp4", "-q") == 0
    assert capfd.readouterr() == ("clip-look.png\n", "")


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("no prompt"), 2), (OutputError("it exists"), 1), (ModelError("none"), 1)]
)
def test_an_error_is_one_line(library: Library, capfd: pytest.CaptureFixture[str], error: Exception, code: int) -> None:
    library.error = error
    assert run("clip.mp4", "-q") == code
    assert capfd.readouterr() == ("", f"vxedit: error: {error}\n")


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ([], "CLIP"),
        (["clip.mp4", "--level", "2"], "--level"),
        (["clip.mp4", "--level", "nan"], "--level"),
        (["clip.mp4", "--samples", "0"], "--samples"),
        (["clip.mp4", "--layers", "mid_block,,up"], "names or patterns of layers"),
    ],
)
def test_what_does_not_parse_is_one_line_and_code_2(
    library: Library, capfd: pytest.CaptureFixture[str], argv: list[str], part: str
) -> None:
    assert run(*argv) == 2
    said = capfd.readouterr()
    assert said.out == "" and part in said.err and said.err.count("\n") == 1 and not library.jobs


def test_help_imports_nothing_heavy_and_names_every_option() -> None:
    code = (
        "import sys\nfrom vxedit.cli.look import command\nfrom vxedit.cli.report import exit_code_of\n"
        "assert exit_code_of(command, ['--help'], name='vxedit-look') == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"
    assert all(f"--{name}" in done.stdout for name in ("word", "layers", "level", "samples", "video", "json"))


def test_through_to_the_files(
    tmp_path: Path, footage: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = [str(footage), "--prompt", PROMPT, "--model", str(checkpoint), "--num-frames", "2", "--level", "0.8"]
    argv += ["--samples", "1", "--video", "--json", "-o", str(tmp_path / "out.png")]
    assert run(*argv) == 0
    said = capfd.readouterr()
    record = json.loads(said.out)
    assert [one["word"] for one in record["words"]] == ["red", "ball", "grass"]
    assert record["words"][0]["overlap"].keys() == {"ball", "grass"} and f"seed {record['seed']}\n" in said.err
    assert said.err.count("vxedit: warning: ") == len(record["warnings"]) >= 3
    assert contents(tmp_path).keys() == {"out.png", "out.mp4"}
    assert run(*argv) == 1
    assert "out.png exists" in capfd.readouterr().err
