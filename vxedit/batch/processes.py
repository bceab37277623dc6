"""Workers as processes of this machine, a device each. One that is killed costs its running job alone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from vxedit.batch.attempt import Bench, Ended, Order
from vxedit.batch.work import Judge, MakeWork

GRACE_S = 5.0
"""How long a worker that was told to go is waited for."""

LOST_RETRIES = 2
"""How often a job is tried again whose worker was killed."""


@dataclass
class _Seat:
    process: BaseProcess
    line: Connection
    order: Order | None = None


class Processes:
    """`slots` workers, each started when it is first needed and again when it was killed."""

    def __init__(self, out: Path, make_work: MakeWork, slots: int, *, judge: Judge | None = None) -> None:
        self.slots, self.lost_retries = slots, LOST_RETRIES
        self._given = (out, make_work, judge)
        self._seats: list[_Seat | None] = [None] * slots

    def submit(self, order: Order) -> None:
        number = next(i for i, seat in enumerate(self._seats) if seat is None or seat.order is None)
        seat = self._seats[number]
        if seat is None or not seat.process.is_alive():
            seat = self._seats[number] = self._start(number)
        seat.order = order
        with suppress(OSError):  # it was killed just now, which `next` tells
            seat.line.send(order)

    def next(self, timeout_s: float) -> Ended | None:
        seats = {seat.line: (i, seat) for i, seat in enumerate(self._seats) if seat and seat.order}
        for line in wait(list(seats), timeout_s):
            number, seat = seats[line]  # type: ignore[index]
            order, seat.order = seat.order, None
            try:
                return seat.line.recv()
            except (EOFError, OSError):
                return self._lost(number, seat, order)
        return None

    def close(self, *, drop: bool) -> None:
        seats = [seat for seat in self._seats if seat is not None]
        for seat in seats:
            if drop:
                seat.process.terminate()
            with suppress(OSError):
                seat.line.close()  # a worker that waits for an order ends
        for seat in seats:
            seat.process.join(GRACE_S if drop else None)
            if seat.process.is_alive():
                seat.process.kill()
                seat.process.join()
        self._seats = [None] * self.slots

    def _start(self, number: int) -> _Seat:
        # Not fork: decord hangs after it, and an accelerator can't be used.
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(theirs, number, self.slots, *self._given), daemon=True)
        process.start()
        theirs.close()
        return _Seat(process, ours)

    def _lost(self, number: int, seat: _Seat, order: Order | None) -> Ended:
        seat.process.join(GRACE_S)
        code = seat.process.exitcode
        self._seats[number] = None
        seat.line.close()
        how = f"was killed (signal {-code})" if code is not None and code < 0 else f"ended (exit code {code})"
        return Ended(order.task.id if order else "", "lost", f"its worker {how}; out of memory?", "WorkerLost")


def _serve(line: Connection, slot: int, of: int, out: Path, make_work: MakeWork, judge: Judge | None) -> None:
    """A worker's life: orders in, endings out, until the line is closed or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    logging.getLogger("vxedit").addHandler(logging.NullHandler())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    bench = Bench(out, make_work, slot=slot, of=of, judge=judge)
    while True:
        try:
            order = line.recv()
        except (EOFError, OSError):
            return
        ended = bench(order)
        with suppress(OSError):  # nobody listens any more; what was done is in the log
            line.send(ended)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
