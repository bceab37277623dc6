"""The unedited clip that a result is compared with: found again, and read as it was when it was edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.clip import Clip
from vxedit.errors import InputError
from vxedit.io.fit import resize_frames
from vxedit.io.read import read_video


@dataclass(frozen=True)
class SourceFile:
    """A file and which part of it was edited: from `start_s` on at `fps` (None: its own), which are its frames
    `indices`; `sha256`: its content's hash. None where that is not known."""

    path: Path
    start_s: float = 0.0
    fps: Fraction | None = None
    indices: tuple[int, ...] | None = None
    sha256: str | None = None


def recorded_source(record: Mapping[str, Any], clip: Path) -> SourceFile | None:
    """The source that a record names: where it says, or beside the result; for a generated clip its original beside it.

    None where it names none. Whether the file is there is for `moved` to check.
    """
    source, job = record.get("source"), record.get("job")
    job = job if isinstance(job, dict) else {}
    if not isinstance(source, dict) or not source.get("path"):
        original = clip.with_name(f"{clip.stem}-original.mp4")
        return SourceFile(original) if "generate" in job and original.is_file() else None
    selection = job.get("selection")
    chosen = selection if isinstance(selection, dict) else {}
    fps, indices = chosen.get("fps"), source.get("indices")
    named = Path(str(source["path"]))
    places = (named, clip.parent / named, clip.parent / named.name)
    try:
        return SourceFile(
            next((place for place in places if place.is_file()), named),
            float(chosen.get("start_s") or 0.0),
            None if fps is None else Fraction(str(fps)),
            None if indices is None else tuple(int(index) for index in indices),
            source.get("sha256"),
        )
    except (TypeError, ValueError, ZeroDivisionError) as err:
        raise InputError(
            f"{clip.with_suffix('.json')} says what was edited in a way that can't be read: {err}"
        ) from err


def moved(source: SourceFile | None, given: Path | None, *, clip: Path) -> SourceFile | None:
    """The source as the user says it: `given` is the file, or the folder that holds it. Raises InputError, naming the
    flag, where it isn't there."""
    if given is not None:
        name = source.path.name if source else clip.name
        place = given / name if given.is_dir() else given
        if not place.is_file():
            raise InputError(f"--source {place} isn't there; give {clip}'s unedited clip, or a folder that holds it")
        return replace(source, path=place) if source else SourceFile(place)
    if source is not None and not source.path.is_file():
        raise InputError(
            f"{clip} was made from {source.path}, which isn't there; say where it is with --source, or leave out what "
            "is measured against it with --no-source"
        )
    return source


def read_pair(clip: Clip, source: SourceFile) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The result's frames, its source's frames at the same size, both uint8 (F, H, W, 3), and what the user should
    know.

    A result that is a row or column larger, as an even video of an odd source is, is cut; another size is a source to
    be resized. Raises InputError where their frames don't correspond.
    """
    read = read_video(source.path, start_s=source.start_s, num_frames=len(clip), fps=source.fps)
    indices = None if read.source is None else read.source.indices
    if len(read) != len(clip) or (source.indices is not None and indices != source.indices[: len(clip)]):
        raise InputError(
            f"{source.path} has not the frames that were edited ({len(read)} of {len(clip)}); give the clip that the "
            "result was made from with --source, or --no-source"
        )
    said = []
    if source.sha256 and read.source is not None and read.source.sha256 != source.sha256:
        said.append(f"{source.path} is not the very file that was edited: what is measured against it may mean little")
    over = clip.height - read.height, clip.width - read.width
    if all(0 <= more <= 1 for more in over):
        return clip.frames[:, : read.height, : read.width], read.frames, tuple(said)
    said.append(
        f"{source.path} is {read.width}x{read.height} and the result {clip.width}x{clip.height}: it is resized to that"
    )
    return clip.frames, resize_frames(read.frames, clip.height, clip.width), tuple(said)
