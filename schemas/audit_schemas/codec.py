"""Between an event and its bytes: the Avro datum, and Confluent's framing around it (0x00, 4-byte schema id)."""

from __future__ import annotations

import io
import struct
from datetime import datetime
from typing import Any

import fastavro

from audit_schemas.errors import FramingError, UndecodableDatum
from audit_schemas.event import Event, instant_of, micros, parse_event
from audit_schemas.registry import CURRENT_SCHEMA_ID, parsed_schema

_HEADER = struct.Struct(">bI")
HEADER_BYTES = _HEADER.size
DATUM_START = 0x48
"""First byte of every datum: the length, 36, of the event id that leads it."""
_INSTANTS = ("occurred_at", "received_at")


def record_of(event: Event) -> dict[str, Any]:
    """The event as the Avro record's values: instants in microseconds."""
    record = event.model_dump()
    for name in _INSTANTS:
        record[name] = micros(record[name])
    return record


def event_of(record: dict[str, Any]) -> Event:
    """The event of Avro values. Raises `InvalidEvent` when they break the contract of today's model."""
    values = dict(record)
    for name in _INSTANTS:
        values[name] = _instant_or_text(values[name])
    return parse_event(values)


def _instant_or_text(value: int) -> datetime | str:
    """An instant Python can't hold stays visible as text, so that the model names it among the other problems."""
    try:
        return instant_of(value)
    except OverflowError:
        return f"{value} microseconds since 1970"


def encode_record(record: dict[str, Any], schema_id: int = CURRENT_SCHEMA_ID) -> bytes:
    """The Avro datum of a record's values."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed_schema(schema_id), record)
    return out.getvalue()


def encode(event: Event, schema_id: int = CURRENT_SCHEMA_ID) -> bytes:
    """The Avro datum of an event, without framing."""
    return encode_record(record_of(event), schema_id)


def decode_record(datum: bytes, schema_id: int = CURRENT_SCHEMA_ID) -> dict[str, Any]:
    """The values of a datum, whatever they are. Raises `UndecodableDatum`, also when bytes are left over."""
    source = io.BytesIO(datum)
    try:
        record = fastavro.schemaless_reader(source, parsed_schema(schema_id), None)
    except (EOFError, ValueError, IndexError, OverflowError, MemoryError, struct.error) as error:
        raise UndecodableDatum(f"not a datum of schema {schema_id}: {error or type(error).__name__}") from None
    if left := len(datum) - source.tell():
        raise UndecodableDatum(f"{left} bytes are left after the datum of schema {schema_id}")
    if not isinstance(record, dict):
        raise UndecodableDatum(f"schema {schema_id} is not a record")
    return record


def decode(datum: bytes, schema_id: int = CURRENT_SCHEMA_ID) -> Event:
    """The event of a datum. Raises `UndecodableDatum` or `InvalidEvent`."""
    return event_of(decode_record(datum, schema_id))


def frame(datum: bytes, schema_id: int = CURRENT_SCHEMA_ID) -> bytes:
    """The value of a Kafka record."""
    return _HEADER.pack(0, schema_id) + datum


def unframe(value: bytes) -> tuple[int, bytes]:
    """Schema id and datum of a Kafka record's value. Raises `FramingError`."""
    if len(value) <= HEADER_BYTES:
        raise FramingError(f"{len(value)} bytes are too short for a framed event")
    magic, schema_id = _HEADER.unpack_from(value)
    if magic != 0:
        raise FramingError(f"begins with 0x{magic & 0xFF:02x} instead of 0x00")
    return schema_id, value[HEADER_BYTES:]


__all__ = [
    "DATUM_START",
    "HEADER_BYTES",
    "decode",
    "decode_record",
    "encode",
    "encode_record",
    "event_of",
    "frame",
    "record_of",
    "unframe",
]
