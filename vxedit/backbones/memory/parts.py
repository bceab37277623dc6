"""The number of a part's weights, read from its file's header."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from vxedit.errors import ModelError

HEADER_MOST = 100 * 2**20
"""The longest header that safetensors allows, in bytes."""


def parameters_in(file: Path) -> int:
    """The number of weights in a safetensors file, whatever their format; only its header is read.

    Raises ModelError where it is none.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > HEADER_MOST:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as err:
        raise ModelError(f"{file} can't be read as safetensors ({err}): get the model's files again") from err
