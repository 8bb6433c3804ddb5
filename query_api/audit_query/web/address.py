"""The page's address: everything that is seen can be told from it, so a link shows another person the same. Pure.

Filters stand in it as in the API; `at` names the event at the top, by its time and id, so that a shared link keeps
working; `show` is the event whose details are open.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from urllib.parse import urlencode

from audit_infra.http.problems import Fault, invalid
from audit_query.events import Identity
from audit_query.rows import time_text
from audit_schemas.event import micros

PATH = "/audit-log"
_OWN = ("at", "show")
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Address:
    """`filters` are parameters of the service, checked by it; `at` is None for the newest events."""

    filters: tuple[Pair, ...] = ()
    at: Identity | None = None
    show: str = ""

    @classmethod
    def of(cls, params: Iterable[Pair]) -> Self:
        """Reads an address; empty values are those of forms left empty. Raises a 400 `ProblemError`."""
        given = [(name, value) for name, value in params if value]
        own = {name: value for name, value in given if name in _OWN}
        filters = tuple(pair for pair in given if pair[0] not in _OWN)
        return cls(filters, _place(own["at"]) if "at" in own else None, own.get("show", ""))

    @property
    def query(self) -> str:
        """The filters alone, as a query string."""
        return urlencode(self.filters)

    def link(self, path: str = PATH, *further: Pair) -> str:
        """The address as a reference; `further` are parameters of another path."""
        own = [("at", place_text(self.at))] if self.at else []
        own += [("show", self.show)] if self.show else []
        query = urlencode([*self.filters, *own, *further])
        return f"{path}?{query}" if query else path

    def starting(self, at: Identity | None) -> Address:
        """The same filters from another place on."""
        return replace(self, at=at, show="")

    def showing(self, event_id: str) -> Address:
        """The same with an event's details open."""
        return replace(self, show=event_id)

    def filtered(self, filters: Iterable[Pair]) -> Address:
        """The newest events of other filters."""
        return Address(tuple(filters))

    def without(self, *pairs: Pair) -> Address:
        """The newest events without some of the filters."""
        return self.filtered(pair for pair in self.filters if pair not in pairs)


def place_text(at: Identity) -> str:
    """`<instant>,<event id>`."""
    return f"{time_text(at[0])},{at[1]}"


def _place(text: str) -> Identity:
    instant, _, event_id = text.partition(",")
    try:
        at = datetime.fromisoformat(instant)
        if at.tzinfo is None:
            raise ValueError
        return micros(at), str(uuid.UUID(event_id))
    except (ValueError, OverflowError):
        message = f"{text!r} is not a place in the log; leave it out to begin with the newest event"
        raise invalid((Fault("at", "not_a_place", message),)) from None


__all__ = ["PATH", "Address", "Pair", "place_text"]
