"""One job of a batch: what is asked, what is read, and what makes it the same job again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vxedit.job import GenJob, ObjectJob, RealJob
from vxedit.job_json import job_to_json

SAME_ANYWHERE = ("input", "output", "mask", "path", "others", "objects", "original", "device", "overwrite")
"""Fields of a job that may differ and leave it the same: what its files hold is told apart by content."""


@dataclass(frozen=True)
class Task:
    """`id`: the result's name relative to the batch's folder, which is unique; `where` the row; `job` writes to that
    result; `best_of`: how many seeds are tried, of which the best is kept."""

    id: str
    where: str
    job: RealJob | GenJob
    best_of: int = 1

    def reads(self) -> dict[str, Path]:
        """Every file or folder that the result depends on, by what it is."""
        job = self.job
        files = _files_of(job)
        if isinstance(job, RealJob):
            caption = job.input.with_suffix(".txt")
            files["input"] = job.input
            if job.prompt is None and caption != job.input and caption.is_file():
                files["caption"] = caption
        elif job.original is not None:
            files["original"] = job.original
        return files

    def settings(self) -> str:
        """sha256, as hex digits, of what was asked for apart from the files' content."""
        record = job_to_json(self.job)
        asked: dict[str, Any] = {key: value for key, value in record.items() if key not in SAME_ANYWHERE}
        asked["kind"] = type(self.job).__name__
        asked["objects"] = [
            [one.obj, None if path_file(one.path) else one.path, one.box, one.mask is not None]
            for one in self.job.objects
        ]
        return _digest({"asked": asked, "best_of": self.best_of})

    def seeded(self) -> Task:
        """The same with a seed drawn from its settings and its name, so that it is the same wherever it is done."""
        plain = replace(self, job=replace(self.job, edit=replace(self.job.edit, seed=0)))
        seed = int(_digest({"settings": plain.settings(), "id": self.id})[:8], 16)
        return replace(self, job=replace(self.job, edit=replace(self.job.edit, seed=seed)))


def key(settings: str, content: Mapping[str, str]) -> str:
    """What tells a done job from one that has changed: its settings, and the sha256 of every file it reads."""
    return _digest({"settings": settings, "content": dict(content)})


def path_file(path: str) -> Path | None:
    """The file that a job's path names, if it names one."""
    try:
        return Path(path) if path.endswith(".json") or Path(path).is_file() else None
    except (OSError, ValueError):  # an inline path may be too long for a file's name
        return None


def _files_of(job: RealJob | GenJob) -> dict[str, Path]:
    files: dict[str, Path] = {}
    objects: tuple[ObjectJob, ...] = job.objects
    for number, one in enumerate(objects):
        file = path_file(one.path)
        files |= {} if file is None else {f"path {number}": file}
        files |= {} if one.mask is None else {f"mask {number}": one.mask}
    return files


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
