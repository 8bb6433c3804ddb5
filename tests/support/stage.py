"""A workspace with a plausible month, for what people look at: the page's tests that need variety, and screenshots."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from audit_local.demo.stories import history
from audit_local.demo.world import world
from audit_schemas.catalogue import load
from audit_schemas.event import parse_event
from tests.builders import NOON

if TYPE_CHECKING:
    from audit_schemas.event import Event
    from tests.support.query_service import QueryService

WORKSPACE = "atlas"
EVENTS = 2_000


def set_the_stage(query: QueryService, events: int = EVENTS) -> list[Event]:
    """The workspace of this id with so many events of the last 30 days, on Enterprise; what was put, oldest first."""
    catalogue = load()
    past = history((world(WORKSPACE, 7),), (events,), NOON - timedelta(seconds=20), 30, 7)
    put = []
    for one in past:
        native = catalogue.get(one.event_type)
        fields = {"category": native.category if native else "developer", **one.fields}
        put.append(parse_event({"event_type": one.event_type, "metadata": {}, **fields}))
    query.workspace(WORKSPACE)
    query.access.set_plan(WORKSPACE, "enterprise")
    query.tables.put(*put)
    query.tables.progress(NOON - timedelta(seconds=1), end=query.tables.offset)
    return put


__all__ = ["EVENTS", "WORKSPACE", "set_the_stage"]
