"""Whether a job is done: by what the log says, what lies there, and what the job reads now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vxedit.batch.content import Content, contents
from vxedit.batch.log import Entry
from vxedit.batch.task import Task, key
from vxedit.errors import InputError


def is_done(task: Task, out: Path, entry: Entry, inputs: Mapping[str, Content]) -> bool:
    """Whether the log's last word on a job is that it was done with the same settings and the same content as it reads
    now (`inputs`), and every file that it wrote is there in its size."""
    if entry.state != "done" or entry.key != key(task.settings(), {name: one.sha256 for name, one in inputs.items()}):
        return False
    folder = (out / task.id).parent
    if Path(task.id).name not in entry.files:
        return False
    return all(_there(folder, name, size) for name, size in entry.files.items())


def done_before(task: Task, out: Path, entry: Entry | None) -> bool:
    """`is_done`, with the files read as far as their size or time of change is another than the log has."""
    if entry is None or entry.state != "done" or entry.settings != task.settings():
        return False
    try:
        return is_done(task, out, entry, contents(task.reads(), entry.inputs))
    except InputError:
        return False


def _there(folder: Path, name: str, size: int) -> bool:
    if Path(name).name != name:
        return False  # a log is data: no name in it leads elsewhere
    try:
        return (folder / name).lstat().st_size == size
    except (OSError, ValueError):
        return False
