"""The splice: raw Avro datums become one Avro container that carries their Kafka positions, without decoding them.

Avro writes the fields of a record one after the other, so bytes put in front of a datum are further fields in front
of the record. The container's header declares the position fields and then the writer's own.
Format: https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from audit_consumers.positions import Log

_MAGIC = b"Obj\x01"
_SYNC = b"audit-log-splice"
POSITION_FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "kafka_topic", "type": "string"},
    {"name": "kafka_topic_id", "type": "string"},
    {"name": "kafka_partition", "type": "int"},
    {"name": "kafka_schema_id", "type": "int"},
    {"name": "kafka_offset", "type": "long"},
    {"name": "kafka_timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
)
"""The fields put in front of each datum. The first four are the same for a whole batch, so they are one piece."""

_LOW_BITS = 14
_LOW_MASK = (1 << _LOW_BITS) - 1
_LOW_LAST = tuple(
    bytes((low,)) if low < 0x80 else bytes((low & 0x7F | 0x80, low >> 7)) for low in range(1 << _LOW_BITS)
)
_LOW_CONTINUED = tuple(bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(1 << _LOW_BITS))


def encode_long(value: int) -> bytes:
    """Avro's long: zig-zag, then seven bits a byte, lowest first. For values of 64 bits."""
    left = (value << 1) ^ (value >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _encode_string(text: str) -> bytes:
    raw = text.encode()
    return encode_long(len(raw)) + raw


def constant_prefix(log: Log, schema_id: int) -> bytes:
    """The position fields that all records of a log and schema share."""
    return (
        _encode_string(log.topic) + _encode_string(log.topic_id) + encode_long(log.partition) + encode_long(schema_id)
    )


class PositionEncoder:
    """Makes the bytes of (constant fields, offset, timestamp) quickly when offsets and times come in order.

    Offsets share their upper bits for 8 192 records and neighbours often share the millisecond, so both are kept.
    """

    __slots__ = ("_constant", "_high", "_high_bytes", "_low", "_time", "_time_bytes")

    def __init__(self, log: Log, schema_id: int) -> None:
        self._constant = constant_prefix(log, schema_id)
        self._high = 0
        self._high_bytes = b""
        self._low = _LOW_LAST
        self._time = 0
        self._time_bytes = encode_long(0)

    def __call__(self, offset: int, timestamp: int) -> bytes:
        """The bytes that go before the datum at this offset; `timestamp` in milliseconds since 1970."""
        zigzag = offset << 1
        high = zigzag >> _LOW_BITS
        if high != self._high:
            self._high = high
            self._low = _LOW_CONTINUED if high else _LOW_LAST
            # The upper bits are written as they are; zig-zag was applied to the whole number already.
            self._high_bytes = encode_long((high >> 1) ^ -(high & 1)) if high else b""
        if timestamp != self._time:
            self._time = timestamp
            self._time_bytes = encode_long(timestamp)
        return b"".join((self._constant, self._low[zigzag & _LOW_MASK], self._high_bytes, self._time_bytes))


@lru_cache(maxsize=64)
def _header(writer_schema: str) -> bytes:
    schema = json.loads(writer_schema)
    spliced = {
        "type": "record",
        "name": "Spliced",
        "namespace": schema.get("namespace", ""),
        "fields": [*POSITION_FIELDS, *schema["fields"]],
    }
    text = json.dumps(spliced, separators=(",", ":"))
    entries = (
        _encode_string("avro.schema") + _encode_string(text) + _encode_string("avro.codec") + _encode_string("null")
    )
    return b"".join((_MAGIC, encode_long(2), entries, encode_long(0), _SYNC))


def header(writer_schema: dict[str, Any]) -> bytes:
    """The container's header for datums of this schema."""
    return _header(json.dumps(writer_schema, sort_keys=True))


def build(writer_schema: dict[str, Any], count: int, pieces: Sequence[bytes]) -> bytes:
    """A whole container. `pieces` are, in order, the position bytes and datum of each of the `count` records."""
    size = sum(map(len, pieces))
    return b"".join((header(writer_schema), encode_long(count), encode_long(size), *pieces, _SYNC))


__all__ = ["POSITION_FIELDS", "PositionEncoder", "build", "constant_prefix", "encode_long", "header"]
