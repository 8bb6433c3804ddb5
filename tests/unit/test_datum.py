"""The direct writer of datums beside fastavro."""

from __future__ import annotations

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_schemas.codec import encode, encode_record, frame, record_of
from audit_schemas.datum import head_of, stamp_of, varint
from audit_schemas.event import Event, ProducerStamp
from tests.builders import event, events, text


@given(events())
def test_two_pieces_are_the_datum_that_fastavro_writes(sent: Event) -> None:
    """Every field of every event, byte for byte, framing included."""
    stamp = sent.producer
    value = head_of(sent) + stamp_of(stamp.service, stamp.instance, stamp.version) + varint(stamp.seq)
    assert value == frame(encode(sent))


@given(text(64), text(32), text(64), st.integers(0, 2**63 - 1))
def test_the_stamp_is_the_one_that_was_asked_for(service: str, instance: str, version: str, seq: int) -> None:
    """It takes the place of whatever the event itself says of its producer."""
    record = record_of(event(producer=ProducerStamp(service="other", seq=7)))
    record["producer"] = {"service": service, "instance": instance, "version": version, "seq": seq}
    made = head_of(event(event_id=record["event_id"])) + stamp_of(service, instance, version) + varint(seq)
    assert made == frame(encode_record(record))


@pytest.mark.parametrize("number", [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 2**63 - 1, -(2**63)])
def test_numbers_have_avros_variable_length(number: int) -> None:
    """At every boundary of the length."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    assert varint(number) == out.getvalue()
