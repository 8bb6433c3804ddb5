"""How the command line asks the query service: pages, and a stream that goes on after a cut. It never reads tables."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from audit_cli.service import AGAIN, Service, ServiceProblem, Unreachable

PAGE = 200
"""Events asked for at a time."""
LONGEST_WAIT_S = 30.0
_TRIES = 5

Params = Sequence[tuple[str, str]]
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class QueryClient:
    """Speaks to a service. `note` is told why something takes long; `wait` waits seconds."""

    service: Service
    note: Callable[[str], None]
    wait: Callable[[float], None] = time.sleep

    def search(self, params: Params, most: int | None) -> Iterator[Event]:
        """Matching events, newest first; at most `most`, all with None. Raises `ServiceProblem` and `Unreachable`."""
        size = PAGE if most is None else min(most, PAGE)
        address: str | None = f"/v1/events?{urlencode([*params, ('limit', str(size))])}"
        given = 0
        while address is not None:
            page = self._page(address)
            for event in page["data"]:
                if most is not None and given >= most:
                    return
                given += 1
                yield event
            address = page["next"] if most is None or given < most else None

    def follow(self, params: Params) -> Iterator[Event]:
        """Matching events as they arrive, for ever: a cut connection is taken up again behind the last event.

        Raises `ServiceProblem` when the service ends the stream or refuses it.
        """
        last_id, pause = "", 1.0
        while True:
            try:
                for name, id_, event in self._events(params, last_id):
                    last_id, pause = id_ or last_id, 1.0
                    if name == "audit_event":
                        yield event
                    elif name == "problem":
                        raise ServiceProblem(event.get("status", 0), event)
                why = "the service ended the stream"
            except Unreachable as error:
                why = str(error)
            except ServiceProblem as error:
                if error.status not in AGAIN:
                    raise
                why, pause = str(error), max(pause, error.retry_after_s or 0.0)
            self.note(f"{why}; going on in {pause:g} s")
            self.wait(pause)
            pause = min(pause * 2, LONGEST_WAIT_S)

    def _page(self, address: str) -> dict[str, Any]:
        for _ in range(_TRIES):
            try:
                with self.service.open(address, {}) as answer:
                    page: dict[str, Any] = json.load(answer)
                    return page
            except ServiceProblem as error:
                if error.status not in AGAIN or error.retry_after_s is None:
                    raise
                last, pause = error, min(error.retry_after_s, LONGEST_WAIT_S)
                self.note(f"{error}; going on in {pause:g} s")
                self.wait(pause)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self.service.unreachable(error) from None
        raise last

    def _events(self, params: Params, last_id: str) -> Iterator[tuple[str, str, Event]]:
        """(name, id, data) of server-sent events, until the connection ends."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        try:
            with self.service.open(f"/v1/events/stream?{urlencode(params)}", headers) as answer:
                name = id_ = data = ""
                for line in answer:
                    field, _, value = line.decode().rstrip("\r\n").partition(": ")
                    if field == "event":
                        name = value
                    elif field == "id":
                        id_ = value
                    elif field == "data":
                        data = value
                    elif not field and (id_ or data):
                        yield name, id_, json.loads(data or "{}")
                        name = id_ = data = ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self.service.unreachable(error) from None


__all__ = ["Event", "Params", "QueryClient", "ServiceProblem", "Unreachable"]
