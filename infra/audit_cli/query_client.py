"""How the command line asks the query service: pages, and a stream that goes on after a cut. It never reads tables."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from audit_schemas.errors import AuditError

PAGE = 200
"""Events asked for at a time."""
SILENCE_S = 60.0
"""A connection that says nothing for so long, not even that it is there, is given up."""
LONGEST_WAIT_S = 30.0
_TRIES = 5
_AGAIN = (429, 502, 503, 504)

Params = Sequence[tuple[str, str]]
Event = dict[str, Any]


class Unreachable(AuditError):
    """There is no answer."""


class ServiceProblem(AuditError):
    """The service refused; `problem` is what it said (RFC 9457), as far as it said anything."""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.status, self.problem, self.retry_after_s = status, problem, retry_after_s
        super().__init__(str(problem.get("detail", f"the service answered {status}")))

    @property
    def lines(self) -> list[str]:
        """What is wrong, each fault on a line of its own."""
        faults = self.problem.get("errors") or []
        if not faults:
            return [str(self)]
        found = [str(self.problem.get("title", "The request is not valid"))]
        for fault in faults:
            where = fault.get("name") or fault.get("pointer") or fault.get("in")
            allowed = f" ({', '.join(fault['allowed'])})" if fault.get("allowed") else ""
            found.append(f"  {where}: {fault['message']}{allowed}")
        return found


@dataclass(frozen=True, slots=True)
class QueryClient:
    """Speaks to the service at `url` with an API key. `note` is told why something takes long; `wait` waits seconds."""

    url: str
    api_key: str
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
                if error.status not in _AGAIN:
                    raise
                why, pause = str(error), max(pause, error.retry_after_s or 0.0)
            self.note(f"{why}; going on in {pause:g} s")
            self.wait(pause)
            pause = min(pause * 2, LONGEST_WAIT_S)

    def _page(self, address: str) -> dict[str, Any]:
        for _ in range(_TRIES):
            try:
                with self._answer(address, {}) as answer:
                    page: dict[str, Any] = json.load(answer)
                    return page
            except ServiceProblem as error:
                if error.status not in _AGAIN or error.retry_after_s is None:
                    raise
                last, pause = error, min(error.retry_after_s, LONGEST_WAIT_S)
                self.note(f"{error}; going on in {pause:g} s")
                self.wait(pause)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._unreachable(error) from None
        raise last

    def _events(self, params: Params, last_id: str) -> Iterator[tuple[str, str, Event]]:
        """(name, id, data) of server-sent events, until the connection ends."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        try:
            with self._answer(f"/v1/events/stream?{urlencode(params)}", headers) as answer:
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
            raise self._unreachable(error) from None

    def _answer(self, address: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """An answer 200, to be closed. Anything else is raised."""
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=SILENCE_S)
        # With "close" the answer owns the connection: closing one closes both.
        sent = {"X-API-Key": self.api_key, "Connection": "close", **headers}
        connection.request("GET", parts.path.rstrip("/") + address, headers=sent)
        answer = connection.getresponse()
        if answer.status != 200:
            with answer:
                raise _problem(answer)
        return answer

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"{self.url} can't be reached ({error or type(error).__name__})")


def _problem(answer: http.client.HTTPResponse) -> ServiceProblem:
    after = answer.headers.get("Retry-After", "")
    try:
        body = json.load(answer)
    except ValueError:
        body = {}
    return ServiceProblem(
        answer.status, body if isinstance(body, dict) else {}, float(after) if after.isdigit() else None
    )


__all__ = ["Event", "Params", "QueryClient", "ServiceProblem", "Unreachable"]
