"""What the tests of the whole pipeline share: a tiny model, the same without its weights, and a short clip with
sound."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.footage import write_footage
from tests.tiny import write_tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights; its clips are 64x64."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def hollow(checkpoint: Path) -> Path:
    """The same with every file of weights cut off after its table of contents: what only looks at configurations,
    shapes and tokenizer doesn't notice."""
    folder = shutil.copytree(checkpoint, checkpoint.parent / "hollow")
    for file in folder.rglob("*.safetensors"):
        data = file.read_bytes()
        file.write_bytes(data[: 8 + int.from_bytes(data[:8], "little")])
    return folder


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 frames of 96x64 at 30000/1001 a second, with a tone: a ball on grass."""
    return write_footage(tmp_path_factory.mktemp("footage") / "clip.mp4")
