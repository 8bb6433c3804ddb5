"""From a row to what is answered: every field nested as in the event, absent ones null, times in RFC 3339. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audit_schemas.catalogue import Catalogue
from audit_schemas.event import instant_of
from audit_schemas.row import SELECT, record_of_row

MASK = "•••"
_EXTRA = len(SELECT)


@dataclass(frozen=True, slots=True)
class Row:
    """A stored event and where Kafka put it."""

    record: Mapping[str, Any]
    accepted_ms: int
    topic_id: str
    partition: int
    offset: int
    ingested_ms: int

    @classmethod
    def of(cls, values: Sequence[Any]) -> Row:
        """From the columns of `audit_query.sql.COLUMNS`."""
        accepted, topic_id, partition, offset, ingested = values[_EXTRA:]
        return cls(record_of_row(values[:_EXTRA]), accepted, topic_id, partition, offset, ingested)

    @property
    def identity(self) -> tuple[int, str]:
        """What copies of one event share."""
        return self.record["occurred_at"], self.record["event_id"]

    @property
    def position(self) -> tuple[int, str, int, int]:
        """Where it came; the copy that came first is the one that is shown."""
        return self.accepted_ms, self.topic_id, self.partition, self.offset


@dataclass(frozen=True, slots=True)
class Place:
    """Which event a stored row is a copy of, and where Kafka put it: the columns of `audit_query.sql.PLACE`."""

    occurred_at: int
    event_id: str
    accepted_ms: int
    topic_id: str
    partition: int
    offset: int

    @property
    def identity(self) -> tuple[int, str]:
        """What copies of one event share."""
        return self.occurred_at, self.event_id

    @property
    def position(self) -> tuple[int, str, int, int]:
        """Where it came; the copy that came first is the one that is shown."""
        return self.accepted_ms, self.topic_id, self.partition, self.offset


def label_of(record: Mapping[str, Any], catalogue: Catalogue) -> str:
    """The name people know the event by."""
    native = catalogue.get(record["event_type"])
    return native.label if native is not None else record["label"] or record["event_type"]


def answer(row: Row, catalogue: Catalogue, *, pii: bool, late_after_s: float) -> dict[str, Any]:
    """The event as the API gives it."""
    record = row.record
    late = row.accepted_ms * 1000 - record["occurred_at"] > late_after_s * 1_000_000
    found: dict[str, Any] = {
        **{name: value if not isinstance(value, str) else value or None for name, value in record.items()},
        "label": label_of(record, catalogue),
        "occurred_at": time_text(record["occurred_at"]),
        "received_at": time_text(record["received_at"]) if record["received_at"] else None,
        "accepted_at": time_text(row.accepted_ms * 1000),
        "ingested_at": time_text(row.ingested_ms * 1000),
        "late": late,
        "actor": _absent(record["actor"]),
        "on_behalf_of": _absent(record["on_behalf_of"]) if record["on_behalf_of"]["type"] else None,
        "targets": [_absent(target) for target in record["targets"]],
        "producer": _absent(record["producer"]),
        "changes": _document(record["changes"] or "[]"),
        "metadata": _document(record["metadata"] or "{}"),
    }
    return found if pii else _masked(found)


def _document(text: str) -> Any:
    """What producers without the SDK stored as JSON and is none is answered as the text it is: nothing is lost."""
    try:
        return json.loads(text)
    except ValueError:
        return text


FIELDS: tuple[str, ...] = (
    *("event_id", "workspace_id", "category", "event_type", "label", "occurred_at", "received_at", "accepted_at"),
    *("ingested_at", "late", "actor", "on_behalf_of", "source", "ip", "user_agent", "targets", "outcome"),
    *("outcome_reason", "changes", "metadata", "request_id", "session_id", "app_id", "producer"),
)
"""The fields of an answer."""


def narrowed(found: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Only these fields, in this order; all when none is named."""
    return {name: found[name] for name in dict.fromkeys(fields or found)}


def _absent(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value == "" else value for name, value in group.items()}


def _masked(found: dict[str, Any]) -> dict[str, Any]:
    """Without the scope audit:pii personal data stays hidden; that it is there does not."""
    actor = dict(found["actor"])
    if actor["email"]:
        actor["email"] = MASK
    if actor["type"] == "anonymous" and actor["name"]:
        actor["name"] = MASK
    hidden = {name: MASK for name in ("ip", "user_agent") if found[name]}
    values = [value for value in (found["actor"]["email"], found["ip"], found["user_agent"]) if value]
    copies = {name: _hide(found[name], values) for name in ("metadata", "changes")}
    return {**found, **hidden, **copies, "actor": actor}


def _hide(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return MASK if any(secret in value for secret in secrets) else value
    if isinstance(value, dict):
        return {key: _hide(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hide(inner, secrets) for inner in value]
    return value


def time_text(micros: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    return instant_of(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")


def milliseconds_text(value: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


__all__ = ["FIELDS", "MASK", "Place", "Row", "answer", "label_of", "milliseconds_text", "narrowed", "time_text"]
