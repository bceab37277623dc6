"""The store gives back what was put, bit for bit, or nothing."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from vxedit.invert.store import Store, default_root

KEY = Store.key({"clip": "a"})
META = {"prompt": "a burger", "steps": 20, "losses": [0.5, 0.25], "name": "é"}


def tensors() -> dict[str, torch.Tensor]:
    noise = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    return {
        "pivots": noise,
        "view": noise[:, 1:].transpose(1, 2),  # neither contiguous nor its own memory
        "same": noise,
        "half": noise.to(torch.bfloat16),
        "abar": torch.tensor([0.1, 0.9], dtype=torch.float64),
        "one": torch.tensor(3),
        "none": torch.zeros(0, 4),
        "flags": torch.tensor([True, False]),
    }


def same(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return got.keys() == wanted.keys() and all(
        got[name].dtype == wanted[name].dtype and torch.equal(got[name], wanted[name]) for name in wanted
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache" / "inversions")


@pytest.fixture
def entry(store: Store) -> Path:
    assert store.put(KEY, tensors(), META)
    return store.path(KEY)


def test_what_was_put_comes_back(store: Store, entry: Path) -> None:
    got = store.get(KEY)
    assert got is not None and same(got[0], tensors()) and got[1] == META
    assert [path.name for path in store.root.iterdir()] == [f"{KEY}.safetensors"]


def test_nothing_is_made_before_the_first_put(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert store.get(KEY) is None and not store.root.exists()
    assert not caplog.records  # a miss is no news


def test_the_latest_put_stands(store: Store, entry: Path) -> None:
    assert store.put(KEY, {"x": torch.ones(2)}, {"second": True})
    got = store.get(KEY)
    assert got is not None and list(got[0]) == ["x"] and got[1] == {"second": True}


def noticed(store: Store, entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    assert store.get(KEY) is None
    assert not entry.exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] and str(entry) in caplog.text


def test_a_cut_entry_is_noticed_wherever_it_is_cut(store: Store, entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = entry.read_bytes()
    for length in sorted({*range(12), *range(0, len(whole), 17), len(whole) - 1}):
        entry.write_bytes(whole[:length])
        noticed(store, entry, caplog)
    entry.write_bytes(whole)
    assert store.get(KEY) is not None


def test_a_changed_byte_never_gives_anything_but_what_was_put(store: Store, entry: Path) -> None:
    whole = entry.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    missed = 0
    for place in range(len(whole)):
        for flip in (0x01, 0x80):
            entry.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            got = store.get(KEY)
            assert got is None or (place < header and same(got[0], tensors()) and got[1] == META), place
            missed += got is not None
    assert missed < 8  # none but white space in the header


def test_every_flipped_bit_of_the_tensors_is_noticed(
    store: Store, entry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = entry.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in np.random.default_rng(0).integers(header, len(whole), 40):
        entry.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        noticed(store, entry, caplog)


@pytest.mark.parametrize(
    "content", [b"", b"not an entry\n" * 50, b"\0" * 100, b"\xff" * 100, b"PK\x03\x04" + b"\0" * 60]
)
def test_any_other_file_is_noticed(content: bytes, store: Store, entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    entry.write_bytes(content)
    noticed(store, entry, caplog)


def test_a_pickle_is_never_run(store: Store, entry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "run"),)

    torch.save({"x": Bomb()}, entry)
    noticed(store, entry, caplog)
    assert not (tmp_path / "run").exists()


def test_safetensors_that_are_no_entry_are_noticed(store: Store, entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    safetensors.torch.save_file({"x": torch.ones(2)}, entry)
    noticed(store, entry, caplog)
    safetensors.torch.save_file({"x": torch.ones(2)}, entry, {"format": "1", "key": KEY, "meta": "{}", "sha256": "0"})
    noticed(store, entry, caplog)


def test_an_entry_under_another_key_is_noticed(store: Store, entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = Store.key({"clip": "b"})
    entry.rename(store.path(other))
    assert store.get(other) is None and not store.path(other).exists()
    assert "another key" in caplog.text


def test_another_format_is_noticed(
    store: Store, entry: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vxedit.invert.store.FORMAT", 2)
    assert store.put(KEY, tensors(), META)
    monkeypatch.undo()
    noticed(store, entry, caplog)
    assert "format 2" in caplog.text


def test_an_entry_that_cannot_be_read_is_left_out(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.path(KEY).mkdir(parents=True)
    assert store.get(KEY) is None
    assert "can't be read" in caplog.text
    assert not store.put(KEY, tensors(), META)
    assert not list(store.root.glob("*.part"))


def test_a_root_that_cannot_be_made_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "inversions")
    assert store.put(KEY, tensors(), META) is False
    assert "going on without" in caplog.text
    assert store.get(KEY) is None


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_done_without(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.root.mkdir(parents=True)
    store.root.chmod(0o500)
    try:
        assert store.put(KEY, tensors(), META) is False
    finally:
        store.root.chmod(0o700)
    assert "going on without" in caplog.text


def test_a_full_disk_leaves_what_was_there(
    store: Store, entry: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vxedit.invert.store.os.fsync", full)
    assert store.put(KEY, {"x": torch.ones(2)}, {}) is False
    got = store.get(KEY)
    assert got is not None and got[1] == META
    assert os.listdir(store.root) == [entry.name] and "No space left" in caplog.text


def test_what_killed_writers_left_is_swept_when_it_is_old(store: Store, entry: Path) -> None:
    old, young = store.root / "a.part", store.root / "b.part"
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    assert store.put(KEY, tensors(), META)
    assert not old.exists() and young.exists() and entry.exists()


WRITER = """
import sys, torch
from pathlib import Path
from vxedit.invert.store import Store
store, number = Store(Path(sys.argv[1])), int(sys.argv[3])
assert Store.key({"clip": "a"}) == sys.argv[2]
for _ in range(30):
    assert store.put(sys.argv[2], {"x": torch.full((20_000,), float(number))}, {"number": number})
    tensors, meta = store.get(sys.argv[2])
    assert bool((tensors["x"] == meta["number"]).all())
"""


def test_two_processes_make_one_key_and_may_put_it_at_once(store: Store) -> None:
    repository = Path(__file__).resolve().parents[2]
    env = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.root), KEY, str(n)], env=env, stderr=subprocess.PIPE, text=True
        )
        for n in range(2)
    ]
    for writer in writers:
        assert not writer.communicate(timeout=200)[1] and writer.returncode == 0
    got = store.get(KEY)
    assert got is not None and bool((got[0]["x"] == got[1]["number"]).all())
    assert os.listdir(store.root) == [f"{KEY}.safetensors"]


def test_a_key_does_not_depend_on_order() -> None:
    parts = {"clip": "abc", "model": {"id": "m", "steps": 20}, "size": (8, 64, 64), "w": 2.5}
    turned = {"w": 2.5, "size": [8, 64, 64], "model": {"steps": 20, "id": "m"}, "clip": "abc"}
    assert Store.key(parts) == Store.key(turned)


def test_every_part_changes_the_key() -> None:
    parts = {"clip": "abc", "prompt": "a burger", "steps": 20, "w": 2.5, "frames": [0, 1, 2], "per_frame": False}
    variants = [parts | change for change in (
        {"clip": "abd"}, {"prompt": "a burger "}, {"steps": 21}, {"w": 2.5000001}, {"frames": [0, 2, 1]},
        {"frames": [0, 1]}, {"per_frame": True}, {"per_frame": 0}, {"steps": "20"}, {"extra": None},
    )]  # fmt: skip
    keys = {Store.key(variant) for variant in (parts, *variants)}
    assert len(keys) == 1 + len(variants)


def test_a_key_depends_on_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxedit.invert.store.FORMAT", 2)
    assert Store.key({"clip": "a"}) != KEY


@pytest.mark.parametrize("parts", [{"a": object()}, {"a": {1: 2}}, {"a": [{2: 3}]}, {1: 2}, {"a": {"b"}}])
def test_parts_without_one_json_form_are_refused(parts: dict) -> None:
    with pytest.raises(TypeError):
        Store.key(parts)
    with pytest.raises(ValueError):
        Store.key({"a": float("nan")})


@pytest.mark.parametrize("key", ["", "../" + KEY, KEY.upper(), KEY[:-1], KEY + "\n"])
def test_only_keys_name_entries(key: str, store: Store) -> None:
    for call in (lambda: store.get(key), lambda: store.put(key, {}, {})):
        with pytest.raises(ValueError, match="64 hex digits"):
            call()


def test_meta_that_is_not_json_is_refused(store: Store) -> None:
    with pytest.raises(TypeError):
        store.put(KEY, tensors(), {"x": object()})


def test_the_metadata_can_be_read_by_others(store: Store, entry: Path) -> None:
    with safetensors.safe_open(entry, framework="pt") as file:
        assert json.loads(file.metadata()["meta"]) == META


def test_the_default_root_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "vxedit" / "inversions" == Store().root
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert default_root() == tmp_path / "home" / ".cache" / "vxedit" / "inversions"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert default_root().is_absolute() and default_root().parts[-2:] == ("vxedit", "inversions")
    assert not (tmp_path / "vxedit").exists() and not (tmp_path / "home").exists()
