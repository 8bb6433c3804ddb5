"""Work that blocks runs on pool threads; what follows from it runs on the polling thread, when it harvests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any


class Tasks:
    """Pairs of a blocking call and its continuation. All methods belong to the polling thread.

    Attempts to land a batch have threads of their own: ledger, progress and questions must not queue behind them.
    """

    def __init__(self, pool: Executor, inserters: Executor) -> None:
        self._pool, self._inserters = pool, inserters
        self._pending: dict[Future[Any], Callable[[Future[Any]], None]] = {}

    def run(self, blocking: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        """Starts `blocking` on a pool thread; `then` gets its finished future in a later `harvest`."""
        self._pending[self._pool.submit(blocking)] = then

    def insert(self, attempt: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        """Like `run`, on an inserter."""
        self._pending[self._inserters.submit(attempt)] = then

    def harvest(self) -> None:
        """Continues everything that has finished."""
        for future in [future for future in self._pending if future.done()]:
            self._pending.pop(future)(future)

    def wait(self, timeout: float) -> None:
        """Waits until something has finished, at most `timeout` seconds."""
        if self._pending:
            wait(self._pending, timeout, FIRST_COMPLETED)


__all__ = ["Tasks"]
