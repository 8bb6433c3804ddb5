"""From a stored row back to the event, and to exactly the bytes that were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit_schemas.canonical import ip_text
from audit_schemas.codec import encode_record, event_of
from audit_schemas.event import Event

_PLAIN = (
    *("event_id", "workspace_id", "category", "event_type", "label", "source", "user_agent", "outcome"),
    *("outcome_reason", "changes", "metadata", "request_id", "session_id", "app_id"),
)
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "actor": ("type", "id", "name", "email"),
    "on_behalf_of": ("type", "id", "name"),
    "producer": ("service", "instance", "version", "seq"),
}
_TARGET = ("type", "id", "name")

SELECT: tuple[str, ...] = (
    *(f"toString({name})" if name == "event_id" else name for name in _PLAIN),
    *(f"{group}_{leaf}" for group, leaves in _GROUPS.items() for leaf in leaves),
    *(f"`targets.{leaf}`" for leaf in _TARGET),
    "toUnixTimestamp64Micro(occurred_at)",
    "toUnixTimestamp64Micro(received_at)",
    "hex(toFixedString(IPv6StringToNum(toString(ip)), 16))",
    "kafka_schema_id",
)
"""What to select from `audit_events`, in the order in which the functions below take a row.

Times as whole microseconds and the address as its 16 bytes, so that no driver's idea of them comes in between.
"""


def record_of_row(row: Sequence[Any]) -> dict[str, Any]:
    """The Avro values of a row selected by `SELECT`."""
    values = list(row)
    record: dict[str, Any] = dict(zip(_PLAIN, values, strict=False))
    at = len(_PLAIN)
    for group, leaves in _GROUPS.items():
        record[group] = dict(zip(leaves, values[at : at + len(leaves)], strict=True))
        at += len(leaves)
    types, ids, names, occurred_at, received_at, ip, _schema_id = values[at:]
    record["targets"] = [
        {"type": kind, "id": identity, "name": name} for kind, identity, name in zip(types, ids, names, strict=True)
    ]
    return record | {"occurred_at": occurred_at, "received_at": received_at, "ip": ip_text(bytes.fromhex(ip))}


def schema_id_of_row(row: Sequence[Any]) -> int:
    """The writer schema of a row selected by `SELECT`."""
    return int(row[-1])


def datum_of_row(row: Sequence[Any]) -> bytes:
    """The datum that was sent, byte for byte, for events made by our codec."""
    return encode_record(record_of_row(row), schema_id_of_row(row))


def event_of_row(row: Sequence[Any]) -> Event:
    """The event of a row selected by `SELECT`. Raises `InvalidEvent` for rows of producers that keep no contract."""
    return event_of(record_of_row(row))


__all__ = ["SELECT", "datum_of_row", "event_of_row", "record_of_row", "schema_id_of_row"]
