"""An event's Avro datum written directly, in two pieces: what the event says, and who sent it under which number.

The number is known only once the event is taken, so the first piece is made on the caller's thread and the second
where events are taken. The bytes are fastavro's (a property test holds the two together) at a third of its time: a
general encoder looks at the schema for each of the 45 values, this one is the schema.
"""

from __future__ import annotations

from audit_schemas.codec import HEADER_BYTES, frame
from audit_schemas.event import EPOCH, Event, micros
from audit_schemas.registry import CURRENT_SCHEMA_ID


def varint(number: int) -> bytes:
    """Avro's variable-length zig-zag form of a long."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


class _Lengths(dict[int, str]):
    """The prefix of a text of so many bytes; made once per length, of which there are at most 65 536."""

    def __missing__(self, length: int) -> str:
        prefix = self[length] = varint(length).decode("latin-1")
        return prefix


_LENGTHS = _Lengths()
_FRAME = frame(b"", CURRENT_SCHEMA_ID).decode("latin-1")
_BEFORE_INSTANTS, _BEFORE_TARGETS, _AFTER_TARGETS = 5, 15, 7
assert len(_FRAME) == HEADER_BYTES  # noqa: S101 - a broken module must not be importable


def head_of(event: Event) -> bytes:
    """The framed datum up to the producer's stamp, which is the record's last field."""
    actor, person = event.actor, event.on_behalf_of
    texts = [
        event.event_id,
        event.workspace_id,
        event.category,
        event.event_type,
        event.label,
        actor.type,
        actor.id,
        actor.name,
        actor.email,
        person.type,
        person.id,
        person.name,
        event.source,
        event.ip,
        event.user_agent,
    ]
    for target in event.targets:
        texts += (target.type, target.id, target.name)
    texts += (
        event.outcome,
        event.outcome_reason,
        event.changes,
        event.metadata,
        event.request_id,
        event.session_id,
        event.app_id,
    )
    if not "".join(texts).isascii():
        # One character per byte, so that lengths count bytes and one encoding at the end does for all.
        texts = [text if text.isascii() else text.encode().decode("latin-1") for text in texts]
    lengths = _LENGTHS
    pieces = [lengths[len(text)] + text for text in texts]
    received_at = event.received_at
    received = b"\0" if received_at is EPOCH else varint(micros(received_at))
    instants = (varint(micros(event.occurred_at)) + received).decode("latin-1")
    # An array is its count, its items and a zero; an empty one is the zero alone.
    pieces.insert(-_AFTER_TARGETS, "\0")
    if event.targets:
        pieces.insert(_BEFORE_TARGETS, lengths[len(event.targets)])
    pieces.insert(_BEFORE_INSTANTS, instants)
    return (_FRAME + "".join(pieces)).encode("latin-1")


def stamp_of(service: str, instance: str, version: str) -> bytes:
    """The producer's stamp without its number; `head_of(event) + stamp + varint(seq)` is the record's value."""
    return b"".join(varint(len(raw)) + raw for raw in (service.encode(), instance.encode(), version.encode()))


__all__ = ["head_of", "stamp_of", "varint"]
