"""The fields that callers give when they emit an event, however it gets into the log."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict


class EventFields(TypedDict, total=False):
    """What an event says. What is left out, or None, comes from the surrounding `audit_context` where that knows it.

    `workspace_id`, `actor` ({type, id, name, email}) and `source` (web, automation, api) must come from one of the two.
    `occurred_at` (now) and `event_id` (new) are made when missing; a resend of an event carries those of the first.
    `changes` are {path, old, new}, which `changes_between` makes. `label` and `app_id` are for custom types alone.
    """

    workspace_id: str | None
    actor: Mapping[str, Any] | None
    source: str | None
    targets: Sequence[Mapping[str, Any]] | None
    occurred_at: datetime | str | None
    event_id: str | None
    on_behalf_of: Mapping[str, Any] | None
    ip: str | None
    user_agent: str | None
    outcome: str | None
    outcome_reason: str | None
    changes: Sequence[Mapping[str, Any]] | None
    metadata: Mapping[str, Any] | None
    request_id: str | None
    session_id: str | None
    app_id: str | None
    label: str | None


_FIELDS: Final = frozenset(EventFields.__annotations__)


def refuse_unknown(fields: EventFields) -> None:
    """Raises `TypeError` naming every field that events don't have, each with the nearest that they have."""
    if fields.keys() <= _FIELDS:
        return
    said = []
    for name in sorted(fields.keys() - _FIELDS):
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        said.append(f"events have no field {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    raise TypeError("; ".join(said))


__all__ = ["EventFields", "refuse_unknown"]
