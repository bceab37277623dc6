"""Moves, resizes and reshapes an object in a video along a path, steered by a model's own cross-attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vxedit.backbones.registry import load as load_backbone
    from vxedit.clip import Clip
    from vxedit.edit.path import Path
    from vxedit.errors import VxeditError
    from vxedit.gen import edit_generated
    from vxedit.io.read import read_video
    from vxedit.io.write import write_video
    from vxedit.job import GenJob, RealJob
    from vxedit.real import edit_real

__version__ = "0.1.0"

__all__ = [
    "Clip",
    "GenJob",
    "Path",
    "RealJob",
    "VxeditError",
    "edit_generated",
    "edit_real",
    "load_backbone",
    "read_video",
    "write_video",
]

# Where each name lives. Nothing is imported until it is asked for, so that `import vxedit` costs nothing (PEP 562).
_HOMES = {
    "Clip": ("vxedit.clip", "Clip"),
    "GenJob": ("vxedit.job", "GenJob"),
    "Path": ("vxedit.edit.path", "Path"),
    "RealJob": ("vxedit.job", "RealJob"),
    "VxeditError": ("vxedit.errors", "VxeditError"),
    "edit_generated": ("vxedit.gen", "edit_generated"),
    "edit_real": ("vxedit.real", "edit_real"),
    "load_backbone": ("vxedit.backbones.registry", "load"),
    "read_video": ("vxedit.io.read", "read_video"),
    "write_video": ("vxedit.io.write", "write_video"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
