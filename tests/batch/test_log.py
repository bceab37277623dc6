"""The log: whole lines, whoever writes and whenever it is killed; what is not a line says nothing."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vxedit.batch import log as module
from vxedit.batch.content import Content
from vxedit.batch.log import Entry, Log, parse
from vxedit.errors import OutputError

DONE = Entry(
    "a.mp4",
    "done",
    worker="host:1",
    attempt=2,
    seconds=1.5,
    key="k",
    settings="s",
    inputs={"input": Content(5, 7, "ab")},
    files={"a.mp4": 9},
    figures={"miou": 0.5},
    warnings=("odd",),
)


def test_what_is_appended_is_read(out: Path) -> None:
    Log(out).append(Entry("ä\n\ud800.mp4", "started"))
    Log(out).append(DONE)
    log = Log(out)
    log.refresh()
    kept = log.last["a.mp4"]
    assert (kept.state, kept.inputs, kept.files, kept.figures) == ("done", DONE.inputs, DONE.files, DONE.figures)
    assert (kept.seconds, kept.attempt, kept.warnings) == (1.5, 2, ("odd",)) and kept.time.endswith("Z")
    assert log.last["ä\n\ud800.mp4"].state == "started" and kept.at > 0
    assert len(log.path.read_bytes().splitlines()) == 2


def test_a_refresh_takes_in_what_is_new(out: Path) -> None:
    log = Log(out)
    log.refresh()
    for state in ("started", "failed", "done"):
        Log(out).append(Entry("a", state))
        log.refresh()
        assert log.last["a"].state == state


def test_a_torn_line_is_passed_over_and_the_next_is_whole(out: Path) -> None:
    log = Log(out)
    log.append(Entry("a", "done"))
    whole = log.path.read_bytes()
    for cut in range(1, len(whole)):
        log.path.write_bytes(whole + whole[:cut])
        reader = Log(out)
        reader.refresh()
        assert reader.last["a"].state == "done" and reader.end == len(whole)
        reader.append(Entry("b", "failed", error="x"))
        reader.refresh()
        assert reader.last["b"].error == "x"


def test_a_full_disk_leaves_the_log_as_it_was(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(out)
    log.append(Entry("a", "started"))
    before, write = log.path.read_bytes(), module.os.write
    monkeypatch.setattr(module.os, "write", lambda handle, data: write(handle, data[:5]))
    with pytest.raises(OutputError, match="free some space"):
        log.append(Entry("b", "started"))
    assert log.path.read_bytes() == before


def test_a_log_that_is_a_link_is_refused(out: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"")
    (out / "batch.jsonl").symlink_to(precious)
    with pytest.raises(OutputError):
        Log(out).append(DONE)
    assert precious.read_bytes() == b""


def write_many(out: Path, name: str) -> None:
    for number in range(50):
        Log(out).append(Entry(f"{name}{number}", "started", error="x" * 5000))


def test_two_writers_never_mix_their_lines(out: Path) -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_many, args=(out, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    names = [json.loads(line)["job"] for line in Log(out).path.read_bytes().splitlines()]
    assert sorted(names) == sorted(f"{name}{number}" for name in "ab" for number in range(50))


@settings(max_examples=200, deadline=None)
@given(
    st.binary()
    | st.fixed_dictionaries(
        {"job": st.text(), "state": st.just("done")},
        optional={
            name: st.none()
            | st.integers()
            | st.text()
            | st.lists(st.integers())
            | st.dictionaries(st.text(), st.none())
            for name in ("time", "seconds", "inputs", "files", "figures", "warnings", "attempt")
        },
    ).map(lambda one: json.dumps(one).encode())
)
def test_any_bytes_are_an_entry_or_none(line: bytes) -> None:
    entry = parse(line)
    assert entry is None or isinstance(entry.job, str)
