"""One try at one job: claimed, done beside, published whole, and written down."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vxedit.batch.claim import claim
from vxedit.batch.content import Content, changed, contents
from vxedit.batch.log import Entry, Log
from vxedit.batch.place import inside
from vxedit.batch.row import one_line
from vxedit.batch.state import is_done
from vxedit.batch.task import Task, key
from vxedit.batch.work import Foreseeing, Judge, MakeWork, Work, overlap, tried
from vxedit.errors import InputError, OutputError, VxeditError

logger = logging.getLogger(__name__)

Fate = Literal["done", "already", "failed", "busy", "lost", "unrecorded"]


@dataclass(frozen=True)
class Order:
    """A task to be tried for the `number`th time. What the log says before its byte `fresh_from` doesn't count as done;
    `overwrite`: files that are not this batch's may be replaced; `after`: the task that is likely the worker's next,
    whose clip it may read while it works on this."""

    task: Task
    number: int = 1
    fresh_from: int = 0
    overwrite: bool = False
    after: Task | None = None


@dataclass(frozen=True)
class Ended:
    """How a try ended: done now, or already; failed with `error`; busy in another process; lost with its worker; or
    unrecorded, where the log can't be written. `kind` is the error's class."""

    job: str
    fate: Fate
    error: str = ""
    kind: str = ""
    seconds: float = 0.0


class Bench:
    """Where one worker tries jobs. What does them is made when the first is to be done."""

    def __init__(
        self, out: Path, make_work: MakeWork, *, slot: int = 0, of: int = 1, judge: Judge | None = None
    ) -> None:
        self.out, self.log = out, Log(out)
        self.judge = judge or overlap
        self._make, self._slot, self._of = make_work, slot, of
        self._work: Work | None = None
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def __call__(self, order: Order) -> Ended:
        """Try a job. Whatever goes wrong with it is told, not raised, but for KeyboardInterrupt and its like."""
        try:
            with claim(self.out, order.task.id) as workplace:
                if workplace is None:
                    return Ended(order.task.id, "busy")
                return self._claimed(order, workplace)
        except VxeditError as err:
            return Ended(order.task.id, "unrecorded", one_line(str(err)), type(err).__name__)

    def _claimed(self, order: Order, workplace: Path) -> Ended:
        task = order.task
        self.log.refresh()
        before = self.log.last.get(task.id)
        begin = time.perf_counter()
        said = Entry(task.id, "started", worker=self._name, attempt=order.number)
        try:
            inputs = contents(task.reads(), before.inputs if before else None)
            if before and before.at >= order.fresh_from and is_done(task, self.out, before, inputs):
                return Ended(task.id, "already")
            target = self._target(order, ours=before is not None)
            self.log.append(said)
            done = self._done(order, target, workplace, inputs)
        except VxeditError as err:
            return self._failed(said, str(err).replace(str(workplace), str(self.out)), err, begin)
        except MemoryError as err:
            words = "it doesn't fit into memory: take fewer frames (--num-frames) or a smaller --size"
            return self._failed(said, words, err, begin)
        except Exception as err:
            name = type(err).__name__
            if "OutOfMemory" in name:
                words = "it doesn't fit into the accelerator's memory: take fewer frames or a smaller --size"
            else:
                words = f"unexpected {name}: {err}"
            logger.debug("%s", task.id, exc_info=True)
            return self._failed(said, words, err, begin)
        seconds = round(time.perf_counter() - begin, 3)
        self.log.append(replace(done, worker=self._name, attempt=order.number, seconds=seconds))
        return Ended(task.id, "done", seconds=seconds)

    def _target(self, order: Order, *, ours: bool) -> Path:
        """Where the result goes: inside the folder, and over nothing that isn't this batch's."""
        target = inside(self.out, order.task.id)
        for file in (target, target.with_suffix(".json"), target.with_suffix(".png")):
            if os.path.lexists(file) and not (ours or order.overwrite):
                raise OutputError(f"{file} exists and isn't this batch's; choose another -o, or add --overwrite")
        return target

    def _done(self, order: Order, target: Path, workplace: Path, inputs: Mapping[str, Content]) -> Entry:
        """Do the job in the workplace, move its files to their places, and say what became of it."""
        task = order.task
        work = self._work = self._work or self._make(self._slot, self._of)
        if order.after is not None and isinstance(work, Foreseeing):
            work.foresee(order.after.job)
        settings = task.settings()
        whole = key(settings, {name: one.sha256 for name, one in inputs.items()})
        try:
            workplace.mkdir()
        except OSError as err:
            raise OutputError(f"{self.out} can't be written to: {err.strerror}; free some space") from err
        job = replace(task.job, output=workplace / target.name, overwrite=False)
        part: dict[str, Any] = {"row": task.where, "key": whole}
        if task.best_of > 1:
            made, scores, folder = tried(work, job, task.best_of, self.judge)
            best = max(scores, key=lambda one: one["score"])
            part["best_of"] = {"tried": scores, "kept_seed": best["seed"], "judge": self.judge.__name__}
        else:
            made, folder = work(job), workplace
        moved = changed(task.reads(), inputs)
        if moved is not None:
            raise InputError(f"{moved} changed while it was edited; run the same command again when it is whole")
        amend(folder / f"{target.stem}.json", target, part)
        files = publish(folder, target, self.out)
        return Entry(
            task.id,
            "done",
            key=whole,
            settings=settings,
            inputs=inputs,
            files=files,
            figures={name: one for name, one in made.figures.items() if abs(one) < float("inf")},
            warnings=made.warnings,
        )

    def _failed(self, said: Entry, words: str, err: BaseException, begin: float) -> Ended:
        words, kind = one_line(words), type(err).__name__
        seconds = round(time.perf_counter() - begin, 3)
        try:
            self.log.append(replace(said, state="failed", error=words, kind=kind, seconds=seconds))
        except OutputError as worse:
            return Ended(said.job, "unrecorded", f"{words}; and {one_line(str(worse))}", kind)
        return Ended(said.job, "failed", words, kind, seconds)


def amend(record: Path, target: Path, part: Mapping[str, Any]) -> None:
    """Let a job's record name the place where its result will be, and say what the batch added."""
    from vxedit.io.record import read_record, write_record

    if not record.is_file():
        return
    said = read_record(record)
    if isinstance(said.get("job"), dict):
        said["job"]["output"] = str(target)
    write_record(record, {**said, "batch": part}, overwrite=True)


def publish(folder: Path, target: Path, out: Path) -> dict[str, int]:
    """Move every file of `folder` beside `target`, the target itself last, so that where it is, all is. Gives their
    sizes by name. Raises OutputError."""
    files = sorted((file for file in folder.iterdir() if file.is_file()), key=lambda file: file.name == target.name)
    if not files or files[-1].name != target.name:
        raise OutputError(f"{target.name} was not made, and nothing says why; try again")
    name = str(target.relative_to(out).parent)
    sizes = {}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            place = inside(out, f"{name}/{file.name}")
            sizes[file.name] = file.stat().st_size
            _sync(file)
            os.replace(file, place)
        _sync(target.parent)
    except OSError as err:
        raise OutputError(
            f"{target} can't be written: {err.strerror or err}; free some space or choose another -o"
        ) from err
    return sizes


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # some systems can't open a folder
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
