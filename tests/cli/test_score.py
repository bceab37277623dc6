"""The command line of vxedit-score, on rendered results whose truth is known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.score.rendered import pair, write_result
from vxedit.cli.report import exit_code_of
from vxedit.cli.score import command, job_of
from vxedit.score import files
from vxedit.score.job import ScoreJob
from vxedit.score.published import Peekaboo


def run(*argv: str | Path) -> int:
    return exit_code_of(command, [str(word) for word in argv], name="vxedit-score")


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good edit with its record, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_result(tmp_path / "results")
    return Path("results/out.mp4")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[ScoreJob]:
    """The jobs that would have been scored; each is one clip whose figures are as good as can be."""
    seen: list[ScoreJob] = []

    def score(job: ScoreJob, **options: object) -> files.Scores:
        seen.append(job)
        boxes = pair().after
        one = files.Seen("burger", "template", boxes, boxes[:, 0], boxes)
        best = files.ObjectScore(one, {"cd": 0.0, "miou": 1.0}, Peekaboo(1.0, 1.0, 0.0, 4, True))
        clip = files.ClipScore(Path("out.mp4"), (best,), {"cd": 0.0, "miou": 1.0}, ())
        return files.Scores((clip,), ((Path("x.mp4"), "x.mp4 has no record"),))

    monkeypatch.setattr(files, "score", score)
    return seen


def test_the_table_is_all_that_stands_on_stdout(result: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(result) == 0
    said = capfd.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "Place" and lines[1].split() == ["CD", "mIoU", "AP50", "coverage"]
    name, distance, overlap, ap50, coverage = lines[2].split()
    assert name == "out.mp4" and float(distance) < 0.02 and float(overlap) > 0.8
    assert (ap50, coverage) == ("1.000", "1.000")
    assert "background dB" in said.out and said.err == ""


def test_every_flag_reaches_the_job(jobs: list[ScoreJob]) -> None:
    argv = ["a.mp4", "b", "--boxes", "boxes.json", "--obj", "cat", "--prompt", "a cat", "--source", "sources"]
    argv += ["--detector", "owl", "--owl", "o/w", "--clip", "c/l", "--lpips", "--device", "cpu", "--no-source"]
    assert run(*argv, "--set-order", "xxyy", "--set", "set.json") == 0
    assert jobs == [
        ScoreJob(
            (Path("a.mp4"), Path("b")),
            boxes=Path("boxes.json"),
            obj="cat",
            prompt="a cat",
            prompt_set=Path("set.json"),
            set_order="xxyy",
            source=Path("sources"),
            use_source=False,
            detector="owl",
            owl="o/w",
            clip="c/l",
            lpips=True,
            device="cpu",
        )
    ]


def test_without_flags_the_settings_are_the_library_s_own(jobs: list[ScoreJob]) -> None:
    assert run("a.mp4") == 0
    assert jobs == [ScoreJob((Path("a.mp4"),))]


def test_every_setting_of_a_job_has_a_flag() -> None:
    params = {parameter.name: None for parameter in command.params}
    assert isinstance(job_of(params), ScoreJob)


def test_what_was_skipped_is_said(jobs: list[ScoreJob], capfd: pytest.CaptureFixture[str]) -> None:
    assert run("a") == 0
    assert "vxedit: skipped: x.mp4 has no record\n" in capfd.readouterr().err
    assert run("a", "-q") == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("protocol", "titles"),
    [
        ("ours", ["Place"]),
        ("peekaboo", ["Peekaboo, as its code computes it", "Peekaboo, repaired"]),
        ("trailblazer", ["TrailBlazer"]),
        ("all", ["Place", "Peekaboo, as its code computes it", "Peekaboo, repaired", "TrailBlazer"]),
    ],
)
def test_protocols(jobs: list[ScoreJob], capfd: pytest.CaptureFixture[str], protocol: str, titles: list[str]) -> None:
    assert run("a.mp4", "--protocol", protocol) == 0
    assert [block.splitlines()[0] for block in capfd.readouterr().out.split("\n\n")] == titles


def test_json(jobs: list[ScoreJob], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("a.mp4", "--json", "-") == 0
    assert json.loads(capfd.readouterr().out)["clips"][0]["figures"] == {"cd": 0, "miou": 1}
    file = tmp_path / "scores.json"
    assert run("a.mp4", "--json", file) == 0
    assert json.loads(file.read_text())["skipped"] and capfd.readouterr().out.startswith("Place")
    file.write_text("mine")
    assert run("a.mp4", "--json", file) == 1
    assert "exists" in capfd.readouterr().err and file.read_text() == "mine" and len(jobs) == 2
    assert run("a.mp4", "--json", file, "--overwrite") == 0
    assert file.read_text() != "mine"


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("vxedit: error: ")
    return said.err


def test_errors_are_a_line_each(result: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("nowhere.mp4") == 1
    assert "nowhere.mp4 isn't there" in one_line(capfd)
    assert run(tmp_path / "sources" / "clip.mp4") == 1
    assert "has no record clip.json beside it" in one_line(capfd)
    bare = write_result(tmp_path / "results", "bare", boxes=None, objects=None)
    assert run(bare) == 1
    assert "bare.json has no boxes" in one_line(capfd)
    assert run(result, "--obj", "zebra", "--detector", "template") == 2
    assert "no 'zebra'; it knows" in one_line(capfd)
    assert run(result, "--obj", "zebra", "--owl", "owner/nothing") == 1
    assert "`hf download owner/nothing`" in one_line(capfd)
    assert run(result, "--clip", "owner/nothing") == 1
    assert "`hf download owner/nothing`" in one_line(capfd)
    (tmp_path / "set.json").write_text("[")
    assert run(result, "--set", tmp_path / "set.json") == 1
    assert "set.json isn't JSON" in one_line(capfd)
    (tmp_path / "sources" / "clip.mp4").rename(tmp_path / "sources" / "moved.mp4")
    assert run(result) == 1
    assert "--source" in one_line(capfd)
    assert run(result, "--source", tmp_path / "sources" / "moved.mp4", "-q", "--protocol", "trailblazer") == 0
    assert capfd.readouterr().err == ""


def test_a_target_is_needed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "TARGET" in one_line(capfd)


def test_help_imports_nothing_heavy() -> None:
    code = "from vxedit.cli.score import command; command(['--help'], standalone_mode=False)"
    heavy = ("torch", "numpy", "transformers", "cv2")
    code += f"\nimport sys\nprint([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]" and "--protocol" in done.stdout
