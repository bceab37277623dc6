"""The command line of vxedit-batch: rows become jobs by the commands' own options, and all is checked first."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.batch.stub import Stubs, begun, visible
from vxedit.batch import work
from vxedit.batch.row import Row
from vxedit.cli.batch import command
from vxedit.cli.report import exit_code_of
from vxedit.cli.rows import Common, tasks_of
from vxedit.job import EditSettings, Extras, GenerateSettings, GenJob, InvertSettings, ObjectJob, RealJob, Selection


def batch(*argv: object) -> int:
    return exit_code_of(command, [str(one) for one in argv], name="vxedit-batch")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.mp4").write_bytes(name.encode())
        (folder / f"{name}.txt").write_text("a red ball on the grass")
    return folder


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch, notes: Path) -> Path:
    """No clip is edited; the file that notes which were begun."""
    monkeypatch.setattr(work, "Editors", lambda: Stubs(notes))
    return notes


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def one(values: dict[str, Any], base: Path, *, common: Common | None = None, output: str | None = None) -> Any:
    tasks, faults = tasks_of([Row("r:1", values, base, output)], common or Common({}), Path("/out"))
    assert not faults, faults
    return tasks[0]


def fault(values: dict[str, Any], base: Path = Path("/clips")) -> str:
    tasks, faults = tasks_of([Row("r:1", values, base)], Common({}), Path("/out"))
    assert not tasks and len(faults) == 1
    return str(faults[0])


def test_every_flag_of_real_is_a_column(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    row = {
        **{"input": "in/a.mp4", "obj": ("car", "ball"), "path": ("left", "p.json"), "box": ("0,0,0.5,1", "0.5,0,1,1")},
        **{"prompt": "a car and a ball", "model": "zeroscope", "device": "cuda:1", "dtype": "bf16", "start": "1.5"},
        **{"num_frames": "9", "fps": "30000/1001", "size": "320x256", "inversion": "uni", "steps": "7"},
        **{"guidance_scale": "3.5", "strength": "0.25", "seed": "11", "side_by_side": True, "gif": "yes"},
        **{"attention": "no", "output": "sub/x.mp4", "best_of": "3"},
    }
    task = one(row, tmp_path)
    assert (task.id, task.best_of, task.where) == ("sub/x.mp4", 3, "r:1")
    assert task.job == RealJob(
        tmp_path / "in/a.mp4",
        Path("/out/sub/x.mp4"),
        "car",
        "left",
        prompt="a car and a ball",
        box=(0, 0, 0.5, 1),
        model="zeroscope",
        device="cuda:1",
        dtype="bf16",
        selection=Selection(1.5, 9, Fraction(30000, 1001), (320, 256)),
        invert=InvertSettings("uni", 7, 3.5),
        edit=EditSettings(0.25, 11),
        extras=Extras(True, True, False),
        others=(ObjectJob("ball", str(tmp_path / "p.json"), (0.5, 0, 1, 1)),),
    )


def test_a_row_without_input_is_generated(tmp_path: Path) -> None:
    task = one({"prompt": "A dog on a meadow", "obj": "dog", "path": "left", "steps": "9", "seed": "4"}, tmp_path)
    assert task.id == "a-dog-on-a-meadow.mp4"
    assert task.job == GenJob(
        "A dog on a meadow",
        Path("/out/a-dog-on-a-meadow.mp4"),
        (ObjectJob("dog", "left"),),
        generate=GenerateSettings(steps=9),
        edit=EditSettings(seed=4),
    )


def test_the_command_line_holds_where_a_row_says_nothing(tmp_path: Path) -> None:
    common = Common({"obj": ("dog",), "path": ("left",), "steps": "5", "strength": "0.1"}, best_of=2)
    task = one({"input": "a.mp4", "strength": "0.9"}, tmp_path, common=common)
    assert (task.job.obj, task.job.invert.steps, task.job.edit.strength, task.best_of) == ("dog", 5, 0.9, 2)


def test_a_seed_that_is_not_given_is_the_row_s_own_and_stays(tmp_path: Path) -> None:
    row = {"input": "a.mp4", "obj": "dog", "path": "left"}
    seeds = [one({**row, **more}, tmp_path).job.edit.seed for more in ({}, {}, {"input": "b.mp4"}, {"path": "right"})]
    assert seeds[0] == seeds[1] and len(set(seeds)) == 3
    assert one({**row, "seed": "0"}, tmp_path).job.edit.seed == 0


def test_results_mirror_the_inputs(tmp_path: Path) -> None:
    row = {"obj": "dog", "path": "left"}
    assert one({**row, "input": "in/deep/a.mov"}, tmp_path).id == "in/deep/a-edit.mp4"
    assert one({**row, "input": "/elsewhere/a.mov"}, tmp_path).id == "a-edit.mp4"
    assert one({**row, "input": "../a.mov"}, tmp_path).id == "a-edit.mp4"
    assert one({**row, "input": "a.mov", "output": "x"}, tmp_path).id == "x.mp4"


def test_what_a_row_can_t_say() -> None:
    row = {"input": "a.mp4", "obj": "dog", "path": "left"}
    assert "did you mean strength?" in fault({**row, "stength": "1"})
    assert "r:1: " in fault({**row, "strength": "2"}) and "is not in the range" in fault({**row, "strength": "2"})
    for name in ("/etc/passwd", "../x.mp4", "a/../../x.mp4"):
        assert "doesn't lie in the batch's folder" in fault({**row, "output": name})
    assert "has no flag 'overwrite'" in fault({**row, "overwrite": True})
    assert "has no flag 'dry_run'" in fault({**row, "dry_run": "true"})
    assert "give --allow-pickle on the command line" in fault({**row, "allow_pickle": "true"})
    assert "has no flag 'box'" in fault({"prompt": "a dog", "obj": "dog", "path": "left", "box": "0,0,1,1"})
    assert "missing --path" in fault({"input": "a.mp4", "obj": "dog"})
    assert "no input" in fault({"obj": "dog"})
    assert "is a switch" in fault({**row, "gif": "maybe"})
    assert "times" in fault({**row, "seed": ("1", "2")})
    assert "best_of" in fault({**row, "best_of": "0"})


def test_values_are_never_taken_for_flags(tmp_path: Path) -> None:
    row = {"input": "--overwrite", "obj": "--help", "path": "-q", "prompt": "--version"}
    job = one(row, tmp_path).job
    assert (job.input, job.obj, job.path, job.prompt) == (tmp_path / "--overwrite", "--help", "-q", "--version")


def test_a_folder_from_end_to_end(
    clips: Path, tmp_path: Path, stubbed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (clips / "duck.mp4").write_bytes(b"duck")
    (clips / "duck.txt").write_text("a duck on the sea")
    assert batch(clips, "-o", out, "--obj", "ball", "--path", "to:0.7,0.5") == 0
    stdout, stderr = capfd.readouterr()
    assert stdout == f"{out / 'report.html'}\n"
    assert "duck.mp4: passed over" in stderr and "2 done, 0 failed, 0 left, 0 done before" in stderr
    results = {f"{name}-edit.{kind}" for name in "ab" for kind in ("mp4", "json")}
    assert visible(out) == {"batch.jsonl", "report.html", *results}
    assert "duck.mp4" in (out / "report.html").read_text()
    assert batch(clips, "-o", out, "--obj", "ball", "--path", "to:0.7,0.5") == 0 and len(begun(stubbed)) == 2
    assert batch(clips, "-o", out, "--obj", "ball", "--path", "to:0.1,0.5") == 0 and len(begun(stubbed)) == 4
    assert batch(clips, "-o", out, "--obj", "ball", "--path", "to:0.1,0.5", "--no-resume", "--limit", "1") == 0
    assert len(begun(stubbed)) == 5


def test_failures_are_told_and_the_code_is_1(
    clips: Path, tmp_path: Path, stubbed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = clips / "jobs.csv"
    manifest.write_text("input,obj,path,prompt\na.mp4,bad,left,a bad ball\nb.mp4,ball,left,a ball\n")
    assert batch(manifest, "-o", tmp_path / "out") == 1
    stderr = capfd.readouterr().err
    assert f"vxedit: error: a-edit.mp4: {clips / 'a.mp4'} is no video\n" in stderr and "1 done, 1 failed" in stderr
    assert (tmp_path / "out" / "b-edit.mp4").exists()


def test_all_errors_come_with_their_lines_before_anything_begins(
    clips: Path, tmp_path: Path, stubbed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = [
        '{"input": "a.mp4", "obj": "ball", "path": "left"}',
        '{"input": "none.mp4", "obj": "ball", "path": "left"}',
        '{"input": "b.mp4", "obj": "ball", "path": "sideways"}',
        '{"input": "b.mp4", "obj": "cat", "path": "left"}',
        '{"input": "b.mp4", "obj": "ball", "path": "left", "steps": 0}',
        '{"input": "b.mp4"',
        '{"input": "b.mp4", "obj": "ball", "path": "left", "output": "a-edit.mov"}',
        '{"input": "b.mp4", "obj": "ball", "path": "left", "model": "nonsense"}',
        '{"input": "b.mp4", "obj": "ball", "path": "left", "recipe": "nonsense"}',
    ]
    (clips / "jobs.jsonl").write_text("\n".join(lines))
    assert batch(clips / "jobs.jsonl", "-o", tmp_path / "out") == 2
    said = capfd.readouterr().err.splitlines()
    assert {line.split(": ")[2] for line in said[:-1]} == {f"jobs.jsonl:{n}" for n in range(2, 10)}
    assert said[-1] == "vxedit: error: 8 error(s) in what is to be done: nothing was started"
    assert not (tmp_path / "out").exists() and begun(stubbed) == []


def test_dry_run_says_what_would_be_done_and_writes_nothing(
    clips: Path, tmp_path: Path, stubbed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ("-o", tmp_path / "out", "--obj", "ball", "--path", "left")
    assert batch(clips, *flags, "--dry-run") == 0
    stdout, stderr = capfd.readouterr()
    assert stdout == "" and "a.mp4 -> " in stderr and "2 job(s) to do, 0 done already; about 1 min 12 s" in stderr
    assert not (tmp_path / "out").exists()
    batch(clips, *flags, "--limit", "1")
    capfd.readouterr()
    batch(clips, *flags, "--dry-run")
    assert "1 job(s) to do, 1 done already" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["missing", "-o", "out", "--obj", "x"], 1, "doesn't exist"),
        (["clips", "-o", "clips", "--obj", "x"], 2, "is the folder of the clips"),
        (["clips", "-o", "out"], 2, "missing --obj"),
        (["clips", "-o", "out", "--obj", "x", "--path", "left", "--glob", "*.mkv"], 1, "no clip named *.mkv"),
        (["clips", "-o", "out", "--obj", "cat", "--path", "left"], 1, "no clip is left"),
        (["clips/a.mp4", "-o", "out", "--obj", "x"], 2, "is no manifest"),
        (["clips", "-o", "out", "--obj", "ball", "--path", "left", "--shard", "3/2"], 2, "a part such as"),
        (["clips", "-o", "out", "--obj", "ball", "--path", "left", "--address", "auto"], 2, "--executor ray"),
        (["clips", "-o", "clips/a.txt", "--obj", "ball", "--path", "left"], 1, "is a file"),
    ],
)
def test_what_can_t_be_meant(
    argv: Sequence[str],
    code: int,
    words: str,
    clips: Path,
    tmp_path: Path,
    stubbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert batch(*argv) == code
    assert words in capfd.readouterr().err


def test_ctrl_c_ends_after_the_running_job(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def __call__(self, slot: int, of: int) -> Any:
            stub = Stubs(notes)(slot, of)

            def do(job: RealJob) -> Any:
                os.kill(os.getpid(), signal.SIGINT)
                return stub(job)

            return do

    monkeypatch.setattr(work, "Editors", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert batch(clips, "-o", tmp_path / "out", "--obj", "ball", "--path", "left") == 130
    assert "Ctrl-C again drops it" in capfd.readouterr().err
    assert begun(notes) == ["a.mp4"] and (tmp_path / "out" / "a-edit.mp4").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_twice_drops_the_running_job(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: Path
) -> None:
    def make() -> Any:
        def do(job: RealJob) -> Any:
            job.output.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("it went on")

        return lambda slot, of: do

    monkeypatch.setattr(work, "Editors", make)
    assert batch(clips, "-o", tmp_path / "out", "--obj", "ball", "--path", "left") == 130
    assert visible(tmp_path / "out") == {"batch.jsonl", "report.html"}


def test_a_manifest_never_writes_outside(clips: Path, tmp_path: Path, stubbed: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(clips)
    before = visible(clips)
    for output in ("../x.mp4", str(tmp_path / "x.mp4"), "link/x.mp4"):
        (tmp_path / "m.jsonl").write_text(
            f'{{"input": "clips/a.mp4", "obj": "ball", "path": "left", "output": "{output}"}}'
        )
        assert batch(tmp_path / "m.jsonl", "-o", out) in (1, 2)
    assert visible(clips) == before and begun(stubbed) == [] and not (tmp_path / "x.mp4").exists()
