"""Holds the partitions that operators paused: no more of them is read, and what was read goes its way to the commit."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any

import structlog

from audit_consumers.metrics import WorkerMetrics
from audit_consumers.partition import Assigned
from audit_consumers.ports import Clock
from audit_consumers.positions import TopicPartition
from audit_consumers.tasks import Tasks
from audit_schemas.errors import Transient

log = structlog.get_logger("audit_consumers.pausing")

_EVERY_S = 1.0


class Pausing:
    """See the module. `held` asks for all paused partitions, whoever owns them; it blocks. Belongs to the polling thread.

    Because all are known beforehand, one that moves here after a rebalance is held from its first turn on. Until the
    first answer every partition is held: a worker that starts must not read on where another was told to stop.
    """

    def __init__(
        self,
        held: Callable[[], Collection[TopicPartition]],
        *,
        clock: Clock,
        tasks: Tasks,
        metrics: WorkerMetrics,
    ) -> None:
        self._ask, self._clock, self._tasks, self._metrics = held, clock, tasks, metrics
        self._held: frozenset[TopicPartition] | None = None
        self._asking = False
        self._next = 0.0

    def advance(self, assigned: Collection[Assigned]) -> None:
        """Marks what is held, and asks again when it is due. While ClickHouse can't answer, the last answer holds."""
        known = self._held
        for one in assigned:
            one.held = known is None or one.partition in known
        self._metrics.paused.set(0 if known is None else sum(one.held for one in assigned))
        now = self._clock.monotonic()
        if self._asking or now < self._next:
            return
        self._next = now + _EVERY_S
        self._asking = True
        self._tasks.run(self._ask, self._asked)

    def _asked(self, future: Future[Any]) -> None:
        self._asking = False
        try:
            held = frozenset(future.result())
        except Transient as error:
            log.warning("pauses can't be read", error=str(error))
            return
        before = self._held or frozenset()
        for partition in sorted(held - before):
            log.warning("partition paused by an operator", partition=str(partition))
        for partition in sorted(before - held):
            log.info("partition resumed by an operator", partition=str(partition))
        self._held = held


__all__ = ["Pausing"]
