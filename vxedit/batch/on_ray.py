"""Workers as Ray's actors, on one machine or a cluster. What Ray does well is left to it: it places the actors on the
accelerators, starts a lost one again and sends it its job again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from vxedit.batch.attempt import Bench, Ended, Order
from vxedit.batch.row import one_line
from vxedit.batch.work import Judge, MakeWork
from vxedit.errors import UsageError, VxeditError

TRIES_AGAIN = 2
"""How often Ray sends a job to an actor that was started again, before the job counts as lost."""


class Seat:
    """The actor: one worker's bench."""

    def __init__(self, out: Path, make_work: MakeWork, slot: int, of: int, judge: Judge | None) -> None:
        self.bench = Bench(out, make_work, slot=slot, of=of, judge=judge)

    def try_one(self, order: Order) -> Ended:
        """Try a job; see Bench."""
        return self.bench(order)

    def process(self) -> int:
        """The actor's process, by its number."""
        return os.getpid()


class OnRay:
    """`slots` actors. `address`: the cluster's, "auto" for the one that this machine belongs to; None: one of this
    machine alone, which ends with the run. `gpus`: accelerators an actor, None: 1 where the cluster has any.

    `out`, the store and the clips must be the same folders on every machine. Raises UsageError where Ray isn't
    installed, VxeditError where the cluster isn't reached.
    """

    def __init__(
        self,
        out: Path,
        make_work: MakeWork,
        slots: int,
        *,
        address: str | None = None,
        gpus: float | None = None,
        judge: Judge | None = None,
    ) -> None:
        try:
            import ray
        except ModuleNotFoundError as err:
            raise UsageError("--executor ray needs Ray: pip install 'vxedit[batch]'") from err
        self.slots, self.lost_retries, self._ray = slots, 0, ray
        self._started = not ray.is_initialized()
        if self._started:
            _connect(ray, address, slots)
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
        shared = 1 if gpus else slots  # actors with an accelerator each don't share the processor's cores as badly
        actor: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=TRIES_AGAIN)(Seat)
        self.seats: list[Any] = [actor.remote(out.absolute(), make_work, slot, shared, judge) for slot in range(slots)]
        self._free = list(self.seats)
        self._running: dict[Any, tuple[Any, Order]] = {}

    def submit(self, order: Order) -> None:
        seat = self._free.pop()
        self._running[seat.try_one.remote(order)] = (seat, order)

    def next(self, timeout_s: float) -> Ended | None:
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        for one in ready:
            seat, order = self._running.pop(one)
            self._free.append(seat)
            try:
                return self._ray.get(one)
            except self._ray.exceptions.RayError as err:
                return Ended(order.task.id, "lost", one_line(str(err))[:300], type(err).__name__)
        return None

    def close(self, *, drop: bool) -> None:
        for seat in self.seats if drop else ():
            self._ray.kill(seat, no_restart=True)
        self.seats, self._free = [], []
        if self._started:
            self._ray.shutdown()


def _connect(ray: Any, address: str | None, slots: int) -> None:
    own = {} if address else {"num_cpus": max(slots, os.cpu_count() or 1), "include_dashboard": False}
    before = os.environ.get("PYTHONPATH")
    # The actors of this machine import vxedit from where it is here; on other machines it must be installed.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
    except Exception as err:  # Ray raises what its layers do
        reason = one_line(str(err))[:300]
        raise VxeditError(f"Ray can't be reached at {address or 'this machine'}: {reason}; check --address") from err
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
