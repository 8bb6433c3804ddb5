"""The form in which an event waits in the caller's database: JSON by field names, in ASCII.

Not the datum that Kafka gets: a row may be older than the program that relays it, and sometimes newer. A datum needs
the schema of its id and the stamp of whoever sends it; names need only today's model, which gives fields that came
later their defaults, as the schema's rules of evolution do. People can read it where it waits, and ASCII is the same
in a database of any encoding.
"""

from __future__ import annotations

import json

from audit_schemas.errors import InvalidEvent, Problem
from audit_schemas.event import Event, parse_event

_OF_OTHERS = {"producer", "received_at"}
"""Known only to whoever sends the event."""


def text_of(event: Event) -> str:
    """The event as a row keeps it."""
    return json.dumps(event.model_dump(mode="json", exclude=_OF_OTHERS), separators=(",", ":"))


def event_of_text(text: str) -> Event:
    """The event of a row. Raises `InvalidEvent` for what is none by today's model, and for what this version does not
    know."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent((Problem("", "not_json", f"the row is not JSON: {error}"),)) from None
    return parse_event(values)


__all__ = ["event_of_text", "text_of"]
