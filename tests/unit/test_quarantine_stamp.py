"""The producer's stamp of what goes to quarantine: read wherever the bytes hold one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audit_consumers.batch import FormingBatch
from audit_consumers.decoding import Stamp, stamp_of
from audit_consumers.landing import Landed, Lander
from audit_consumers.positions import Log
from audit_schemas.codec import encode, encode_record, frame, record_of
from audit_schemas.event import MAX_EVENT_BYTES, Event
from audit_schemas.registry import StaticRegistry
from tests.builders import event, events
from tests.fakes import FakeClock, FakeDeadLetters, FakeRecord, FakeStore

SCHEMAS = StaticRegistry().schema
SCHEMA = SCHEMAS(1)
LOG = Log("t.files", "A", 0)


def numbered(seq: int, **changes: object) -> Event:
    return event(producer={"service": "svc", "instance": "i", "version": "1", "seq": seq}, **changes)


@given(events(), st.binary(max_size=9))
def test_a_stamp_is_read_whatever_stands_behind_it(sent: Event, rest: bytes) -> None:
    """As it was sent, also with bytes left over."""
    stamp = sent.producer
    assert stamp_of(SCHEMA, encode(sent) + rest) == Stamp(stamp.service, stamp.instance, stamp.seq)


def test_the_rest_of_the_event_may_be_wrong() -> None:
    """Text that is none and instants that Python can't hold are not looked at."""
    record = record_of(numbered(7, metadata={"note": "MARK"})) | {"occurred_at": 2**63 - 1, "category": "no such"}
    datum = encode_record(record).replace(b"MARK", b"\xff\xfe\xff\xfe")
    assert stamp_of(SCHEMA, datum) == Stamp("svc", "i", 7)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_bytes_without_a_stamp_have_none(garbage: bytes, length: int) -> None:
    """Cut datums and garbage are no error."""
    datum = encode(numbered(7))
    assert stamp_of(SCHEMA, datum[: min(length, len(datum) - 1)]) is None
    assert stamp_of(SCHEMA, b"\x48" + garbage) is None
    assert stamp_of({**SCHEMA, "fields": SCHEMA["fields"][:3]}, datum) is None


def test_the_worker_writes_the_stamp_beside_the_bytes() -> None:
    """For events a view sorted out and for records it excluded itself; none where nothing can be read."""
    good = frame(encode(numbered(0)))
    oversized = frame(encode_record(record_of(numbered(3)) | {"metadata": f'{{"a":"{"x" * MAX_EVENT_BYTES}"}}'}))
    values: list[bytes | None] = [
        good,
        frame(encode(numbered(1, category="crm"))),
        frame(encode(numbered(2)) + b"x"),
        oversized,
    ]
    values += [frame(encode(numbered(4)), 77), b"\1" + good[1:], good[:-9], None]
    forming = FormingBatch(LOG, 0, SCHEMAS)
    forming.add([FakeRecord(value, offset, 1) for offset, value in enumerate(values)])
    first = forming.seal()
    again = FormingBatch(LOG, 0, SCHEMAS, {2: "undecodable", 6: "undecodable"} | dict(first.excluded.reasons))
    again.add(first.records)
    store = FakeStore()
    lander = Lander(store, FakeDeadLetters(), SCHEMAS, "c", FakeClock())
    outcome = lander.land(again.seal(), lambda: True, 1)
    assert isinstance(outcome, Landed), outcome
    stamps = {row.offset: row.stamp for row in store.quarantined.values()}
    assert stamps == {**{n: Stamp("svc", "i", n) for n in (1, 2, 3)}, **dict.fromkeys((4, 5, 6, 7))}
