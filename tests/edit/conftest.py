from __future__ import annotations

from pathlib import Path

import pytest

from vxedit.backbones.registry import load
from vxedit.backbones.unet3d import UNet3D


@pytest.fixture(scope="session")
def tiny(checkpoint: Path) -> UNet3D:
    return load(str(checkpoint), device="cpu")
