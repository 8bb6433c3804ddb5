"""Keeps the gaps among the producers' numbers up to date, in the one worker that owns a certain partition."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog

from audit_consumers.gaps import Folded, Missing
from audit_consumers.metrics import WorkerMetrics
from audit_consumers.partition import Assigned, Status
from audit_consumers.ports import Clock
from audit_consumers.positions import TopicPartition
from audit_consumers.tasks import Tasks
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_consumers.gap_watch")

_BEHIND_S = 1.0
"""Between two pieces while there is more to fold, so that inserts are not held up."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched, and how. `look` folds a piece and counts what has been missing since a moment in ms; it blocks.

    `every_s` lie between two looks, and a gap counts from an age of `after_s` on. Two workers that look at the same
    time do no harm, they only do it twice: `owner` is the partition whose worker does.
    """

    owner: TopicPartition
    look: Callable[[int], tuple[Folded, Missing]]
    every_s: float = 15.0
    after_s: float = 60.0


class GapWatch:
    """See the module. Belongs to the polling thread."""

    def __init__(self, watched: Watched, *, clock: Clock, tasks: Tasks, metrics: WorkerMetrics) -> None:
        self._watched, self._clock, self._tasks, self._metrics = watched, clock, tasks, metrics
        self._next = 0.0
        self._looking = False
        self._ours = False

    def advance(self, assigned: Collection[Assigned]) -> None:
        """Starts the next look when it is due and the last one is done. A look that fails is repeated when due again."""
        ours = any(one.partition == self._watched.owner and one.status is Status.RUNNING for one in assigned)
        if self._ours and not ours:
            # Another worker tells from now on.
            self._tell(Missing(0, 0, 0))
        self._ours = ours
        now = self._clock.monotonic()
        if not ours or self._looking or now < self._next:
            return
        self._next = now + self._watched.every_s
        self._looking = True
        before = self._clock.now_ms() - int(self._watched.after_s * 1000)
        self._tasks.run(lambda: self._watched.look(before), self._looked)

    def _looked(self, future: Future[Any]) -> None:
        self._looking = False
        try:
            folded, missing = future.result()
        except AuditError as error:
            log.warning("gaps can't be looked for", error=str(error))
            return
        if folded.behind:
            self._next = min(self._next, self._clock.monotonic() + _BEHIND_S)
        if self._ours:
            self._metrics.gaps_through.set(folded.through_ms / 1000)
            self._tell(missing)

    def _tell(self, missing: Missing) -> None:
        self._metrics.gaps.set(missing.gaps)
        self._metrics.missing_events.set(missing.events)
        self._metrics.unwatched.set(missing.unwatched)


__all__ = ["GapWatch", "Watched"]
