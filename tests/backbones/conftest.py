from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import write_tiny_checkpoint
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> UNet3D:
    return load(str(tiny_folder), device="cpu")
