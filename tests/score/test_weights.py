"""Judges' weights are looked for in folders and in the hub's cache, and never fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vxedit.errors import ModelError
from vxedit.score.weights import at_hand, find_weights, model_type

FILES = ("config.json", "model.safetensors", "tokenizer.json")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def snapshot(cache: Path, files: tuple[str, ...]) -> Path:
    """owner/judge in the cache, with these files."""
    model = cache / "models--owner--judge"
    folder = model / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    for file in files:
        (folder / file).write_text("{}")
    return folder


def test_a_folder_wins(tmp_path: Path) -> None:
    for file in FILES:
        (tmp_path / file).write_text("{}")
    assert find_weights(str(tmp_path), option="--owl") == tmp_path
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"lacks tokenizer\.json or vocab\.json.*--owl"):
        find_weights(str(tmp_path), option="--owl")


def test_the_cache_is_looked_through(cache: Path) -> None:
    folder = snapshot(cache, FILES)
    assert find_weights("owner/judge", option="--owl") == folder
    assert at_hand("owner/judge") and not at_hand("owner/other")


def test_pickled_weights_are_refused_with_the_remedy_and_taken_when_allowed(cache: Path) -> None:
    folder = snapshot(cache, ("config.json", "pytorch_model.bin", "tokenizer.json"))
    assert not at_hand("owner/judge")
    with pytest.raises(ModelError, match=r"\.bin only.*--allow-pickle.*save_pretrained"):
        find_weights("owner/judge", option="--owl")
    assert find_weights("owner/judge", option="--owl", allow_pickle=True) == folder
    assert at_hand("owner/judge", allow_pickle=True)


@pytest.mark.parametrize("there", [(), ("config.json", "tokenizer.json")])
def test_what_is_not_there_whole_is_to_be_fetched(cache: Path, there: tuple[str, ...]) -> None:
    snapshot(cache, there)
    assert not at_hand("owner/judge")
    with pytest.raises(ModelError, match=r"`hf download owner/judge`.*--clip"):
        find_weights("owner/judge", option="--clip")


def test_what_can_be_no_name_is_not_to_be_fetched() -> None:
    with pytest.raises(ModelError) as raised:
        find_weights("./nowhere/at/all", option="--owl")
    assert "hf download" not in str(raised.value) and "--owl" in str(raised.value)


def test_the_kind_of_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "owlv2"}))
    assert model_type(tmp_path) == "owlv2"
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="names no model type"):
        model_type(tmp_path)
