"""What the commands call, replaced, so that their tests need no model."""

from __future__ import annotations

import logging
import types
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.job import RealJob
from vxedit.job_json import job_to_json


class Library:
    """Stands for vxedit.real and what writes pictures: keeps the jobs, fails with `error` if there is one."""

    def __init__(self) -> None:
        self.jobs: list[RealJob] = []
        self.pictures: list[tuple[Path, bool]] = []
        self.error: BaseException | None = None
        self.warnings: tuple[str, ...] = ()
        self.logs: tuple[str, ...] = ()

    def note(self, job: RealJob) -> None:
        self.jobs.append(job)
        for line in self.logs:
            logging.getLogger("vxedit.real").warning(line)
        if self.error is not None:
            raise self.error

    def edit_real(self, job: RealJob, *, progress: Any = None) -> Any:
        self.note(job)
        for stage in ("invert", "edit", "decode"):
            progress(stage, 1, 2)
            progress(stage, 2, 2)
        record = {"job": job_to_json(job)}
        return types.SimpleNamespace(output=job.output, record=record, files=(job.output,), warnings=self.warnings)

    def plan(self, job: RealJob) -> Any:
        self.note(job)
        return types.SimpleNamespace(describe=lambda: ["16 frames of 128x128"], warnings=self.warnings)

    def preview(self, plan: Any) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    def write_png(self, path: Path, picture: np.ndarray, *, overwrite: bool) -> None:
        self.pictures.append((path, overwrite))
