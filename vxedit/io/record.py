"""The record beside a result: a JSON file with everything needed to make it again."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Mapping
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.errors import InputError
from vxedit.io.atomic import write_bytes

VERSION = 1
"""Raised when a record written by this version could be misread by the one before."""

_MARK = "vxedit_record"
_PACKAGES = ("torch", "diffusers", "transformers", "decord", "numpy", "opencv-python", "imageio-ffmpeg")


def write_record(path: Path, record: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write `record` as JSON, keys in the order given, whole or not at all.

    Fractions become "num/den", paths text, arrays and tuples lists, dataclasses objects, and numbers that JSON lacks
    (NaN, infinity) null. Raises OutputError if it can't be written, TypeError for a value that has no such form.
    """
    marked = {_MARK: VERSION, **{str(key): plain(value) for key, value in record.items()}}
    text = json.dumps(marked, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode(), overwrite=overwrite)


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` was given, as plain JSON values. Raises InputError if `path` can't be read, isn't a record
    of vxedit's, or was written by a newer version."""
    try:
        record = json.loads(path.read_bytes())
    except OSError as err:
        raise InputError(f"{path} can't be read: {err.strerror}; give the .json that lies beside a result") from err
    except ValueError as err:
        raise InputError(f"{path} isn't JSON; give the .json that lies beside a result") from err
    version = record.pop(_MARK, None) if isinstance(record, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise InputError(f"{path} isn't a record of vxedit's; give the .json that lies beside a result")
    if version > VERSION:
        raise InputError(f"{path} is a record of version {version}, this vxedit reads up to {VERSION}; update vxedit")
    return record


def plain(value: Any) -> Any:
    """`value` as JSON's own types; see `write_record` for what becomes of the others. Raises TypeError."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return _plain_whole(value)


def _plain_whole(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, (np.ndarray, np.bool_)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    raise TypeError(f"a record can't hold a {type(value).__name__}: {value!r}")


def environment() -> dict[str, str | None]:
    """Versions of vxedit, Python, the platform and the packages that make the result; None for one that isn't
    installed.

    Read from the packages' metadata, so that nothing heavy is imported.
    """
    return {
        "vxedit": _version("vxedit") or "unknown",
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
