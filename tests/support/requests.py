"""Requests that no client of manners sends: any bytes in an address, and answers that never end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `text` is empty for a stream of events: it has no end to wait for."""

    status: int
    media: str
    text: str

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document."""
        assert self.media == "application/problem+json", (self.status, self.text[:500])
        found: dict[str, Any] = json.loads(self.text)
        assert found["status"] == self.status
        assert found["type"].startswith("urn:audit-log:problem:")
        return found


class _Connection(HTTPConnection):
    """The library's own checks are for those who make mistakes, not for those who mean them."""

    def _validate_path(self, url: str) -> None:
        pass


class Raw:
    """One caller of one service. Addresses go out as they are given."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._connection = _Connection(urlsplit(url).netloc, timeout=30)
        self._headers = headers

    def ask(self, address: str, method: str = "GET", headers: dict[str, str] | None = None) -> Reply:
        """The reply to one request."""
        self._connection.request(method, address, headers=self._headers | (headers or {}))
        response = self._connection.getresponse()
        media = response.headers.get("content-type", "").partition(";")[0]
        if media == "text/event-stream":
            self._connection.close()
            return Reply(response.status, media, "")
        return Reply(response.status, media, response.read().decode("utf-8", "replace"))

    def close(self) -> None:
        self._connection.close()


__all__ = ["Raw", "Reply"]
