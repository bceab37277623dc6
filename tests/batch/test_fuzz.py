"""Whatever stands in a path, a sidecar or a store: an answer, or one of vxedit's own errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vxedit.batch.folder import holds_path
from vxedit.cli.real import recorded
from vxedit.edit.path import parse_path
from vxedit.errors import VxeditError
from vxedit.invert.store import Store
from vxedit.io.record import write_record
from vxedit.job import RealJob
from vxedit.job_json import job_from_json, job_to_json

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
JOB = job_to_json(RealJob(Path("a.mp4"), Path("b.mp4"), "ball", "left"))
QUICK = settings(max_examples=150, deadline=None)


def allowed(what: Any, *arguments: Any) -> None:
    try:
        what(*arguments)
    except VxeditError as err:
        assert str(err)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "fuzz.json"


PARTS = [*"0123456789.,:%s@+-", "left", "to:", "scale:", "hold", "ease-in", " ", "1e999", "nan"]


@QUICK
@given(st.text(max_size=60) | st.lists(st.sampled_from(PARTS)).map("".join))
def test_inline_paths(text: str) -> None:
    if not text.endswith(".json"):
        allowed(parse_path, text)


KEYFRAME = st.dictionaries(st.sampled_from(["time", "frame", "x", "y", "w", "h", "box", "ease"]), JSON, max_size=8)


@QUICK
@given(
    st.binary(max_size=200)
    | JSON.map(json.dumps).map(str.encode)
    | st.fixed_dictionaries({"version": st.just(1), "keyframes": st.lists(KEYFRAME, max_size=3)})
    .map(json.dumps)
    .map(str.encode)
)
def test_path_files(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    allowed(parse_path, str(file))
    assert holds_path(file) in (True, False)


@QUICK
@given(st.binary(max_size=200) | JSON.map(json.dumps).map(str.encode))
def test_sidecars_of_any_bytes(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    allowed(recorded, file)


@QUICK
@given(st.sampled_from(sorted(JOB)), JSON, st.booleans())
def test_sidecars_with_one_field_spoilt(name: str, value: Any, inner: bool) -> None:
    job = json.loads(json.dumps(JOB))
    if inner and isinstance(job[name], dict):
        job[name] = {**job[name], next(iter(job[name])): value}
    else:
        job[name] = value
    allowed(job_from_json, job)


def test_the_jobs_of_sidecars_that_are_not_spoilt_come_back(file: Path) -> None:
    job = RealJob(Path("a.mp4"), Path("b.mp4"), "ball", "left", overwrite=True)
    file.unlink(missing_ok=True)
    write_record(file, {"job": job_to_json(job)})
    assert recorded(file) == replace(job, overwrite=False)


@QUICK
@given(data=st.binary(max_size=200), at=st.integers(0, 500), flip=st.integers(1, 255))
def test_stores(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, flip: int) -> None:
    import torch

    store = Store(tmp_path_factory.getbasetemp() / "store")
    key = store.key({"a": 1})
    store.put(key, {"x": torch.arange(4.0)}, {"meta": [1]})
    whole = bytearray(store.path(key).read_bytes())
    whole[at % len(whole)] ^= flip
    for spoilt in (data, bytes(whole), bytes(whole[: at % len(whole)])):
        store.path(key).write_bytes(spoilt)
        found = store.get(key)
        assert found is None or found[1] == {"meta": [1]}
