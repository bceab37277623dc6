"""Who tries the jobs: the one small interface, and the simplest that has it."""

from __future__ import annotations

from typing import Protocol

from vxedit.batch.attempt import Bench, Ended, Order


class Executor(Protocol):
    """Tries orders, up to `slots` at once. An order that is lost with its worker ends as "lost", which needn't be its
    fault: it is worth `lost_retries` tries more, none where the executor sees to that itself."""

    slots: int
    lost_retries: int

    def submit(self, order: Order) -> None:
        """Begin with an order; there are never more under way than slots."""
        ...

    def next(self, timeout_s: float) -> Ended | None:
        """The next order to end; None where none does within the time."""
        ...

    def close(self, *, drop: bool) -> None:
        """Let the workers go, once they are through; with `drop` at once."""
        ...


class InProcess:
    """Tries one order at a time, here."""

    slots = 1
    lost_retries = 0

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._order: Order | None = None

    def submit(self, order: Order) -> None:
        self._order = order

    def next(self, timeout_s: float) -> Ended | None:
        order, self._order = self._order, None
        return None if order is None else self._bench(order)

    def close(self, *, drop: bool) -> None:
        self._order = None
