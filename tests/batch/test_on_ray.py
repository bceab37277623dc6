"""Ray on this machine with two workers: jobs are shared, and a killed actor costs one try."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch.stub import Stubs, begun, tasks, visible, whole
from vxedit.batch import on_ray
from vxedit.batch.on_ray import TRIES_AGAIN, OnRay
from vxedit.batch.run import RunSettings, run
from vxedit.errors import UsageError, VxeditError


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    """Ray, once for all tests of this file, and gone after it."""
    ray = pytest.importorskip("ray")
    on_ray._connect(ray, None, 2)
    yield ray
    ray.shutdown()


@pytest.mark.timeout(240)
def test_jobs_are_shared_and_a_killed_actor_costs_one_try(ray: object, out: Path, notes: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path / "clips", out, ["ball", "kills once", "ball", "killer", "bad", "ball"])
    tally = run(given, out, OnRay(out, Stubs(notes, 0.3), 2), RunSettings())
    assert tally.done == 4 and set(tally.failed) == {"a03-edit.mp4", "a04-edit.mp4"}
    assert all(whole(given[n], out) for n in (0, 1, 2, 5))
    names = begun(notes)
    assert (names.count("a01.mp4"), names.count("a03.mp4")) == (2, 1 + TRIES_AGAIN)
    assert all(names.count(f"a0{n}.mp4") == 1 for n in (0, 2, 4, 5)), "what was done was not done again"
    assert not [name for name in visible(out) if name.startswith(".")]


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def init(self, **named: object) -> None:
            assert named["address"] == "10.0.0.1:6379"
            raise ConnectionError("no\nanswer")

    before = os.environ.get("PYTHONPATH")
    with pytest.raises(VxeditError, match=r"10\.0\.0\.1:6379: no answer; check --address"):
        on_ray._connect(Unreachable(), "10.0.0.1:6379", 1)
    assert os.environ.get("PYTHONPATH") == before


def test_without_ray_the_remedy_is_said(out: Path, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"vxedit\[batch\]"):
        OnRay(out, Stubs(notes), 1)
