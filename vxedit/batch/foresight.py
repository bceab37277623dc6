"""The next job made ready while the model works on another: its checks, and the decoding of its clip."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vxedit.job import RealJob

if TYPE_CHECKING:
    from vxedit.plan import Plan

Stamp = tuple[tuple[str, int, int], ...]


class Foreseen:
    """A plan that is made in a thread. What goes wrong in it is left to the job itself to run into."""

    def __init__(self, job: RealJob) -> None:
        self._job, self._stamp = _anywhere(job), _stamp(job)
        self._plan: Plan | None = None
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()

    def plan_of(self, job: RealJob) -> Plan | None:
        """The plan, if it is of this job, wherever its result goes, and its files are as they were."""
        self._thread.join()
        if self._plan is None or self._job != _anywhere(job) or self._stamp != _stamp(job):
            self.drop()
            return None
        return replace(self._plan, job=job)

    def drop(self) -> None:
        """Let go of what was opened."""
        self._thread.join()
        if self._plan is not None:
            self._plan.footage.close()
            self._plan = None

    def _make(self) -> None:
        from vxedit.plan import plan

        try:
            made = plan(self._job)
            first = made.windows[0]
            made.footage.read(first.begin, first.end)  # which it keeps for the one who reads it again
        except Exception:
            return
        self._plan = made


def _anywhere(job: RealJob) -> RealJob:
    """The job without its place, which a batch chooses when it begins."""
    return replace(job, output=Path(tempfile.gettempdir()) / "foreseen.mp4", overwrite=True)


def _stamp(job: RealJob) -> Stamp:
    """What tells that a job's files are the same: their sizes and times."""
    named = [job.input, *(one.mask for one in job.objects if one.mask), *(Path(one.path) for one in job.objects)]
    found = []
    for file in named:
        try:
            about = file.stat()
        except (OSError, ValueError):  # an inline path is no file
            continue
        found.append((str(file), about.st_size, about.st_mtime_ns))
    return tuple(found)
