from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import write_tiny_checkpoint
from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> UNet3D:
    folder: Path = write_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")
    return load(str(folder), device="cpu")
