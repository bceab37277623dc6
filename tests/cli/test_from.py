"""--from: a result is made again from its record, flags override it, and the job's JSON is strict."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stand_in import Library
from vxedit.cli.main import real
from vxedit.errors import InputError
from vxedit.io.record import write_record
from vxedit.job import (
    EditSettings,
    Extras,
    GenerateSettings,
    GenJob,
    InvertSettings,
    ObjectJob,
    RealJob,
    Selection,
    WordSettings,
)
from vxedit.job_json import gen_job_from_json, job_from_json, job_to_json

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
FULL = replace(
    JOB,
    edit=EditSettings(0.3, 77, "vxedit", (("centroid", 0.5), ("box", 2.0))),
    others=(
        ObjectJob("blue cup", "by:0,0.1", box=(0.0, 0.25, 0.5, 1.0)),
        ObjectJob("spoon", "left", mask=Path("spoon.png")),
    ),
    words=WordSettings((("burger", "duck"),), "a shiny red duck turns", (("shiny", 2.0),)),
)
FIRST_VERSION: dict[str, Any] = {
    "input": "in/clip.mp4",
    "output": "out/clip.mp4",
    "obj": "burger",
    "path": "left",
    "prompt": None,
    "box": [0.0, 0.25, 0.5, 1.0],
    "mask": None,
    "model": "embedded",
    "allow_pickle": False,
    "device": "auto",
    "dtype": "auto",
    "selection": {"start_s": 0.0, "num_frames": None, "fps": None, "size": None},
    "invert": {"kind": "null-text", "steps": 20, "guidance_scale": 2.5, "per_frame": False},
    "edit": {"strength": 0.7, "seed": 5},
    "extras": {"side_by_side": False, "gif": False, "attention": False},
    "overwrite": False,
}
"""As the first version wrote it, which moved one object and knew no words, recipes or energies, and showed the model
the whole frame of a clip in one piece."""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.json"
    write_record(path, {"seconds": 1.5, "job": job_to_json(JOB)})
    return path


@pytest.mark.parametrize("job", [JOB, BARE, replace(BARE, box=(0.0, 0.25, 0.5, 1.0)), FULL])
def test_a_job_survives_json(job: RealJob) -> None:
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


@pytest.mark.parametrize(
    "job",
    [
        GenJob("a dog", Path("dog.mp4")),
        GenJob(
            "a dog and a cup",
            Path("out.mp4"),
            objects=(ObjectJob("dog", "left"), ObjectJob("cup", "up", box=(0.0, 0.0, 0.5, 0.5))),
            generate=GenerateSettings(9, 3.5, 12, (96, 64), Fraction(12)),
            words=WordSettings((("dog", "cat"),)),
            original=Path("first.json"),
        ),
    ],
)
def test_a_generated_clip_s_job_survives_json(job: GenJob) -> None:
    assert gen_job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


def test_a_record_of_the_first_version_still_makes_its_job() -> None:
    asked = RealJob(
        Path("in/clip.mp4"),
        Path("out/clip.mp4"),
        "burger",
        "left",
        box=(0.0, 0.25, 0.5, 1.0),
        edit=EditSettings(0.7, 5),
    )
    assert job_from_json(FIRST_VERSION) == asked
    assert asked.edit.recipe == "vxedit" and not (asked.edit.energies or asked.others or asked.words)
    today, stages = job_to_json(asked), ("selection", "invert", "edit", "extras")
    assert {key: value for key, value in today.items() if key in FIRST_VERSION and key not in stages} == {
        key: value for key, value in FIRST_VERSION.items() if key not in stages
    }
    for stage in stages:
        assert today[stage].items() >= FIRST_VERSION[stage].items()


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
        (("edit", "recipe"), 3, "job.edit.recipe"),
        (("edit", "energies"), "centroid=0.5", "job.edit.energies"),
        (("edit", "energies"), [["centroid", 0.5], ["box"]], "job.edit.energies[1]"),
        (("edit", "energies"), [["centroid", "half"]], "job.edit.energies[0]"),
        (("others",), {}, "job.others"),
        (("others",), [["dog"]], "job.others[0]"),
        (("words", "weights"), [["dog", None]], "job.words.weights[0]"),
    ],
)
def test_a_damaged_record_names_the_field(place: tuple[str, ...], value: Any, named: str) -> None:
    record = job_to_json(JOB)
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(InputError, match=re.escape(named)) as caught:
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


@pytest.fixture
def several(tmp_path: Path) -> str:
    write_record(tmp_path / "several.json", {"job": job_to_json(FULL)})
    return "several.json"


@pytest.mark.parametrize(
    ("flags", "objects"),
    [
        ([], FULL.objects),
        (
            ["--path", "up", "--path", "down", "--path", "hold"],
            tuple(replace(one, path=path) for one, path in zip(FULL.objects, ("up", "down", "hold"), strict=True)),
        ),
        (
            ["--obj", "pea", "--obj", "cup", "--obj", "spoon"],
            tuple(replace(one, obj=obj) for one, obj in zip(FULL.objects, ("pea", "cup", "spoon"), strict=True)),
        ),
        (["--obj", "pea", "--path", "up"], (ObjectJob("pea", "up"),)),
        (
            [
                "--obj",
                "pea",
                "--path",
                "up",
                "--obj",
                "cup",
                "--path",
                "left",
                "--box",
                "0,0,1,1",
                "--box",
                "0,0,0.5,1",
            ],
            (ObjectJob("pea", "up", (0.0, 0.0, 1.0, 1.0)), ObjectJob("cup", "left", (0.0, 0.0, 0.5, 1.0))),
        ),
    ],
)
def test_a_record_of_several_objects_is_made_again_or_overridden(
    library: Library, several: str, flags: list[str], objects: tuple[ObjectJob, ...]
) -> None:
    assert real(["--from", several, *flags]) == 0
    (job,) = library.jobs
    assert job.objects == objects
    first, *others = objects
    assert job == replace(
        FULL, overwrite=False, obj=first.obj, path=first.path, box=first.box, mask=first.mask, others=tuple(others)
    )


def test_words_and_energies_of_a_record_are_overridden_each_by_itself(library: Library, several: str) -> None:
    assert real(["--from", several, "--reweight", "duck=0.5", "--energy", "size=1"]) == 0
    (job,) = library.jobs
    assert job.words == replace(FULL.words, weights=(("duck", 0.5),))
    assert job.edit == replace(FULL.edit, energies=(("size", 1.0),)) and job.objects == FULL.objects


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--obj", "pea"], "the record moves 3 object(s) and --obj names 1: give the paths too"),
        (["--path", "up"], "3 --obj and 1 --path"),
        (["--obj", "pea", "--obj", "cup", "--path", "up"], "2 --obj and 1 --path"),
    ],
)
def test_flags_that_do_not_fit_a_record_s_objects_are_refused(
    library: Library, several: str, capfd: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert real(["--from", several, *flags]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("vxedit: error: ") and said in line and not library.jobs


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
