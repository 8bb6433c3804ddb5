"""A reader of server-sent events, by the rules of the HTML standard as far as the service uses them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import httpx

    from audit_schemas.event import Event
    from tests.support.query_service import QueryService


FAST = {"stream_poll_s": 0.02, "stream_heartbeat_s": 0.1, "stream_check_s": 0.05, "streams_per_workspace": 3}
"""Settings of a service that looks often."""


@dataclass
class EventStream:
    """One connection. `last_id` is what a browser would send when it reconnects, `comments` counts heartbeats."""

    client: httpx.Client
    parameters: str = ""
    last_id: str = ""
    comments: int = 0
    _patience: float = field(default_factory=lambda: time.monotonic() + 20)
    _answer: AbstractContextManager[httpx.Response] | None = None

    def __enter__(self) -> Self:
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        self._answer = self.client.stream("GET", f"/v1/events/stream?{self.parameters}", headers=headers, timeout=20)
        self.response = self._answer.__enter__()
        if self.response.status_code != 200:
            self.response.read()
        self._lines: Iterator[str] = self.response.iter_lines()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._answer is not None
        self._answer.__exit__(None, None, None)

    def opened(self) -> Self:
        """Once the service has said where the stream begins."""
        assert self.response.status_code == 200, self.response.text
        while not self.last_id:
            assert self.line() is not None
        return self

    def line(self) -> str | None:
        """The next line; None at the end of the stream. Heartbeats end the wait for something that does not come."""
        line = next(self._lines, None)
        if line is not None and line.startswith("id: "):
            self.last_id = line[4:]
        elif line is not None and line.startswith(":"):
            self.comments += 1
            assert time.monotonic() < self._patience, "nothing but heartbeats"
        elif line:
            self._patience = time.monotonic() + 20
        return line

    def next(self, *names: str) -> dict[str, Any] | None:
        """The data of the next event of one of these names; None at the end of the stream."""
        name = ""
        while (line := self.line()) is not None:
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: ") and name in names:
                data: dict[str, Any] = json.loads(line[6:])
                return data
        return None

    def ids(self, count: int) -> list[str]:
        """The ids of the next events of the log."""
        found = [self.next("audit_event", "problem") for _ in range(count)]
        return [one["event_id"] for one in found if one is not None]


def land(service: QueryService, *events: Event, **where: Any) -> list[str]:
    """Stores events in one batch and enters it in the ledger; their ids."""
    first = service.tables.offset
    service.tables.put(*events, **where)
    service.tables.ledger((first, service.tables.offset - 1), **{k: v for k, v in where.items() if k != "accepted_at"})
    return [one.event_id for one in events]


__all__ = ["FAST", "EventStream", "land"]
