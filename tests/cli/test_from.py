"""--from: a result is made again from its record, flags override it, and the job's JSON is strict."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stand_in import Library
from vxedit.cli.main import real
from vxedit.errors import InputError
from vxedit.io.record import write_record
from vxedit.job import EditSettings, Extras, InvertSettings, RealJob, Selection
from vxedit.job_json import job_from_json, job_to_json

JOB = RealJob(
    Path("in/clip.mp4"),
    Path("out/clip.mp4"),
    "red burger",
    "by:+0.2,0",
    prompt="a red burger turns",
    mask=Path("masks"),
    model="folder/model",
    device="cpu",
    dtype="fp32",
    selection=Selection(0.5, 12, Fraction(30000, 1001), (256, 192)),
    invert=InvertSettings("ddim", 9, 4.0, per_frame=True),
    edit=EditSettings(0.3, 77),
    extras=Extras(gif=True),
    overwrite=True,
)
BARE = RealJob(Path("a.mp4"), Path("b.mp4"), "dog", "left")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.json"
    write_record(path, {"seconds": 1.5, "job": job_to_json(JOB)})
    return path


@pytest.mark.parametrize("job", [JOB, BARE, replace(BARE, box=(0.0, 0.25, 0.5, 1.0))])
def test_a_job_survives_json(job: RealJob) -> None:
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


def test_json_keeps_fractions_and_files_as_text() -> None:
    record = job_to_json(JOB)
    assert (record["input"], record["selection"]["fps"], record["selection"]["size"]) == (
        str(Path("in/clip.mp4")),
        "30000/1001",
        [256, 192],
    )


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("obj",), None, "job.obj"),
        (("strenght",), 1, "strenght"),
        (("edit", "strength"), "much", "job.edit.strength"),
        (("edit", "strength"), float("nan"), "job.edit.strength"),
        (("edit", "seed"), 1.5, "job.edit.seed"),
        (("edit", "seed"), True, "job.edit.seed"),
        (("invert", "kind"), "magic", "job.invert.kind"),
        (("selection", "fps"), "24/0", "job.selection.fps"),
        (("selection", "size"), [1, 2, 3], "job.selection.size"),
        (("extras",), [], "job.extras"),
        (("overwrite",), "yes", "job.overwrite"),
    ],
)
def test_a_damaged_record_names_the_field(place: tuple[str, ...], value: Any, named: str) -> None:
    record = job_to_json(JOB)
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(InputError, match=named.replace(".", r"\.")) as caught:
        job_from_json(record)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["path", "selection", "prompt"])
def test_a_missing_field_is_named(field: str) -> None:
    record = job_to_json(JOB)
    del record[field]
    with pytest.raises(InputError, match=f"lacks {field}"):
        job_from_json(record)


def test_from_asks_for_the_same_again_but_never_to_overwrite(library: Library, record: Path) -> None:
    assert real(["--from", str(record)]) == 0
    assert library.jobs == [replace(JOB, overwrite=False)]


def test_flags_override_the_record_and_the_environment_does_not(
    library: Library,
    record: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VXEDIT_MODEL", "another")
    flags = ["--steps", "20", "--seed", "5", "--box", "0,0,1,1", "-o", "new/", "--overwrite"]
    assert real(["other.mp4", "--from", str(record), *flags]) == 0
    expected = replace(
        JOB,
        input=Path("other.mp4"),
        output=Path("new/other-edit.mp4"),
        box=(0.0, 0.0, 1.0, 1.0),
        mask=None,
        invert=replace(JOB.invert, steps=20),
        edit=replace(JOB.edit, seed=5),
    )
    assert library.jobs == [expected]


def test_what_is_no_record_is_one_line(
    library: Library,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_record(tmp_path / "other.json", {"seconds": 1.5})
    assert real(["--from", "other.json"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        'vxedit: error: other.json has no "job" to make again; give the .json that lies beside an edited clip'
    ]
