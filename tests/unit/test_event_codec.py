"""The event model, its canonical forms and its bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_schemas.canonical import canonical_ip, canonical_json, canonical_uuid, words
from audit_schemas.codec import DATUM_START, decode, decode_record, encode, frame, unframe
from audit_schemas.errors import FramingError, InvalidEvent, UndecodableDatum, UnknownSchema
from audit_schemas.event import Event, instant_of, micros, parse_event
from audit_schemas.registry import StaticRegistry
from tests.builders import event, event_values, events


@given(events())
def test_a_datum_decodes_to_the_event_and_encodes_to_itself(sent: Event) -> None:
    """Encoding loses nothing, and the bytes are the same whoever makes them from the same event."""
    datum = encode(sent)
    assert datum[0] == DATUM_START
    assert decode(datum) == sent
    assert encode(decode(datum)) == datum


@given(events(), st.binary(min_size=1, max_size=4))
def test_bytes_left_after_a_datum_are_an_error(sent: Event, junk: bytes) -> None:
    """A datum is exactly as long as its schema says."""
    with pytest.raises(UndecodableDatum):
        decode_record(encode(sent) + junk)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_refused_or_decoded_but_never_crash(junk: bytes) -> None:
    """Whatever arrives from Kafka gives a value or one of our errors."""
    try:
        decode(junk)
    except (UndecodableDatum, InvalidEvent):
        return


@given(st.binary(min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_framing_is_reversible(datum: bytes, schema_id: int) -> None:
    """A framed value gives back its schema id and datum."""
    assert unframe(frame(datum, schema_id)) == (schema_id, datum)


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0\1", b"\1\0\0\0\1x", b'{"event_id"'])
def test_values_without_framing_are_refused(value: bytes) -> None:
    """Short values and foreign magic bytes are told apart from datums."""
    with pytest.raises(FramingError):
        unframe(value)


def test_every_problem_is_named_with_its_place() -> None:
    """A caller sees all that is wrong at once."""
    with pytest.raises(InvalidEvent) as raised:
        parse_event(
            event_values(
                event_id="no",
                workspace_id="a b",
                category="file",
                occurred_at=1_700_000_000,
                actor={"type": "robot", "id": "x" * 129},
                ip="fe80::1%eth0",
                targets=[{"type": "File"}],
                metadata={"k" * 41: 1},
                changes=[{"path": "a"}],
                colour="red",
            )
        )
    assert {problem.pointer for problem in raised.value.problems} == {
        "/event_id",
        "/workspace_id",
        "/category",
        "/occurred_at",
        "/actor/type",
        "/actor/id",
        "/ip",
        "/targets/0/type",
        "/metadata",
        "/changes",
        "/colour",
    }
    by_pointer = {problem.pointer: problem for problem in raised.value.problems}
    assert "files" in by_pointer["/category"].allowed
    assert "internal_user" in by_pointer["/actor/type"].allowed


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("", ""),
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"),
    ],
)
def test_addresses_have_one_text(given: str, canonical: str) -> None:
    """The same address is always the same text."""
    assert canonical_ip(given) == canonical


@pytest.mark.parametrize("bad", ["::", "fe80::1%1", "1.2.3", "1.2.3.256", "01.2.3.4", " 1.2.3.4", "0x1.2.3.4"])
def test_addresses_that_could_not_come_back_are_refused(bad: str) -> None:
    """Zones, the unspecified address and odd spellings have no place in a row."""
    with pytest.raises(ValueError, match=r"address|zone"):
        canonical_ip(bad)


@pytest.mark.parametrize(
    "bad", [float("nan"), {"a": float("inf")}, {1: 2}, {"a": [{None: 1}]}, {"a": {1, 2}}, "\ud800"]
)
def test_values_json_cannot_carry_are_refused(bad: Any) -> None:
    """Nothing is turned silently into something else."""
    with pytest.raises(ValueError, match=r"."):
        canonical_json(bad)


def test_deep_nesting_is_a_problem_not_a_crash() -> None:
    """A value nested beyond the interpreter's limit is refused like any other bad value."""
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="deep"):
        canonical_json(value)


def test_json_text_and_json_value_give_the_same_event() -> None:
    """Callers may pass metadata and changes parsed or as text."""
    changes = [{"path": "name", "old": None, "new": "ü"}]
    parsed = event(event_id="01890a5d-ac96-774b-bcce-b302099a8057", metadata={"b": 1, "a": 2}, changes=changes)
    as_text = event(
        event_id="01890A5D-AC96-774B-BCCE-B302099A8057",
        metadata='{"b": 1, "a": 2}',
        changes='[{"new": "ü", "old": null, "path": "name"}]',
    )
    assert parsed == as_text
    assert parsed.metadata == '{"a":2,"b":1}'


def test_uuids_are_lower_case_and_never_nil() -> None:
    """The identity of an event has one spelling."""
    assert canonical_uuid("01890A5D-AC96-774B-BCCE-B302099A8057") == "01890a5d-ac96-774b-bcce-b302099a8057"
    for bad in ("00000000-0000-0000-0000-000000000000", "{01890a5d-ac96-774b-bcce-b302099a8057}", "01890a5dac96", ""):
        with pytest.raises(ValueError, match="UUID"):
            canonical_uuid(bad)


def test_instants_are_exact_microseconds_in_utc() -> None:
    """Offsets are converted, naive times and numbers refused, and nothing passes through a float."""
    local = datetime(2026, 3, 14, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    sent = event(occurred_at=local)
    assert sent.occurred_at == local
    assert sent.occurred_at.tzinfo is UTC
    assert instant_of(micros(sent.occurred_at)) == local
    for bad in (datetime(2026, 3, 14), 1_700_000_000, "2026-03-14T12:00:00", datetime(1969, 12, 31, tzinfo=UTC)):
        with pytest.raises(InvalidEvent):
            event(occurred_at=bad)


def test_an_unknown_schema_id_is_a_positive_answer() -> None:
    """The static registry knows all it will ever know."""
    assert StaticRegistry().schema(1)["name"] == "AuditEvent"
    with pytest.raises(UnknownSchema):
        StaticRegistry().schema(2)


def test_words_split_at_everything_but_letters_and_digits() -> None:
    """The oracle of word search."""
    assert list(words(["Ada_Lovelace@Example.com", "Crème-brûlée №5"])) == [
        "ada",
        "lovelace",
        "example",
        "com",
        "crème",
        "brûlée",
        "5",
    ]
