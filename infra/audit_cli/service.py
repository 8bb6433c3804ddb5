"""Where the query service is and as whom the command line asks it: one request, one answer, or the reason why not."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from audit_schemas.errors import AuditError

SILENCE_S = 60.0
"""A connection that says nothing for so long, not even that it is there, is given up."""
AGAIN = frozenset((429, 502, 503, 504))
"""Answers after which the same request may succeed."""


class Unreachable(AuditError):
    """There is no answer, or it broke off."""


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
class Service:
    """The service at `url`, asked with an API key."""

    url: str
    api_key: str

    def open(
        self, address: str, headers: Mapping[str, str], *, method: str = "GET", body: bytes | None = None
    ) -> http.client.HTTPResponse:
        """An answer 2xx, to be closed. Raises `ServiceProblem` for any other, and `Unreachable`."""
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        # With "close" the answer owns the connection: closing one closes both.
        sent = {"X-API-Key": self.api_key, "Connection": "close", **headers}
        try:
            connection = kind(parts.hostname or "", parts.port, timeout=SILENCE_S)
            connection.request(method, parts.path.rstrip("/") + address, body=body, headers=sent)
            answer = connection.getresponse()
            if not 200 <= answer.status < 300:
                with answer:
                    raise _problem(answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self.unreachable(error) from None
        return answer

    def unreachable(self, error: Exception) -> Unreachable:
        """What to say of an error of the network."""
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


__all__ = ["AGAIN", "Service", "ServiceProblem", "Unreachable"]
