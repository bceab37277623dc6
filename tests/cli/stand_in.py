"""What the commands call, replaced, so that their tests need no model."""

from __future__ import annotations

import logging
import types
from pathlib import Path
from typing import Any

import numpy as np

from vxedit.job import GenJob, RealJob
from vxedit.job_json import job_to_json


class Library:
    """Stands for vxedit.real, vxedit.gen and what writes pictures: keeps the jobs, fails with `error` where there is
    one."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.pictures: list[tuple[Path, bool]] = []
        self.error: BaseException | None = None
        self.warnings: tuple[str, ...] = ()
        self.logs: tuple[str, ...] = ()

    def note(self, job: RealJob | GenJob) -> None:
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

    def plan(self, job: RealJob | GenJob) -> Any:
        self.note(job)
        return types.SimpleNamespace(describe=lambda: ["16 frames of 128x128"], warnings=self.warnings)

    def edit_generated(self, job: GenJob, *, progress: Any = None) -> Any:
        self.note(job)
        progress("generate", 1, 1)
        return types.SimpleNamespace(
            output=job.output, record={"job": job_to_json(job)}, files=(job.output,), warnings=self.warnings
        )

    def plan_gen(self, job: GenJob) -> Any:
        return self.plan(job)

    def preview(self, plan: Any) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    def write_png(self, path: Path, picture: np.ndarray, *, overwrite: bool) -> None:
        self.pictures.append((path, overwrite))
