"""Counts events that were refused, so that an admin sees what an app tried in vain: per workspace, app, reason, day."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import prometheus_client
from sqlalchemy import select

from audit_producers.events_api.tables import Database, refused_events

MOST_LISTED: Final = 1_000
_COLUMNS = refused_events.c


class Reason(StrEnum):
    """Why."""

    INVALID = "invalid"
    KEY_REUSED = "key_reused"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    FOREIGN_WORKSPACE = "foreign_workspace"
    RATE_LIMIT = "rate_limit"
    NOT_TAKEN = "not_taken"


@dataclass(frozen=True, slots=True)
class Refused:
    """Events of an app that were refused for a reason on a day (UTC)."""

    day: str
    app_id: str
    reason: str
    events: int


class Refusals:
    """Counts in memory; `flush` adds them to the table. Thread-safe. A process that is killed loses its last counts."""

    def __init__(
        self, database: Database, registry: prometheus_client.CollectorRegistry, clock: Callable[[], datetime]
    ) -> None:
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str, str]] = Counter()
        self._metric = prometheus_client.Counter(
            "audit_events_api_refused", "Events refused, by reason.", ["reason"], registry=registry
        )

    def add(self, workspace_id: str, app_id: str, reason: Reason, events: int = 1) -> None:
        """Counts events; a request whose events can't be counted is one."""
        if events:
            day = self._clock().strftime("%Y-%m-%d")
            self._metric.labels(reason.value).inc(events)
            with self._lock:
                self._counts[workspace_id, day, app_id, reason.value] += events

    def flush(self) -> None:
        """Adds the counts to the table; blocks on the disk. Raises `ControlUnavailable`, and keeps them then."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        insert = self._database.insert(refused_events)
        statement = insert.on_conflict_do_update(
            index_elements=[_COLUMNS.workspace_id, _COLUMNS.day, _COLUMNS.app_id, _COLUMNS.reason],
            set_={"events": _COLUMNS.events + insert.excluded.events},
        )
        rows = [
            {"workspace_id": workspace, "day": day, "app_id": app, "reason": reason, "events": events}
            for (workspace, day, app, reason), events in sorted(counts.items())
        ]
        try:
            with self._database.transaction() as connection:
                connection.execute(statement, rows)
        except BaseException:
            with self._lock:
                self._counts.update(counts)
            raise

    def list(self, workspace_id: str) -> list[Refused]:
        """The counts of a workspace, newest day first, at most `MOST_LISTED`."""
        wanted = (
            select(refused_events)
            .where(_COLUMNS.workspace_id == workspace_id)
            .order_by(_COLUMNS.day.desc(), _COLUMNS.app_id, _COLUMNS.reason)
            .limit(MOST_LISTED)
        )
        with self._database.transaction() as connection:
            return [Refused(row.day, row.app_id, row.reason, row.events) for row in connection.execute(wanted)]


__all__ = ["MOST_LISTED", "Reason", "Refusals", "Refused"]
