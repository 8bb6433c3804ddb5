"""The pure parts of the Events API: JSON, codings, ids, and what becomes of any item."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import uuid
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from audit_infra.http.bodies import TooMuch, unpacker
from audit_infra.http.problems import ProblemError
from audit_infra.http.strict_json import MAX_DEPTH, parse_json
from audit_producers.events_api.fields import Caller
from audit_producers.events_api.identity import NAMESPACE, Identities, content_of
from audit_producers.events_api.intake import Intake
from audit_producers.events_api.rates import Rates
from audit_schemas.catalogue import load
from audit_schemas.datum import head_of
from audit_schemas.event import MAX_EVENT_BYTES
from tests.builders import NOON, json_values, text

CALLER = Caller("w1", "crm", "k1", "CRM", "203.0.113.7", "", "crm/1")
INTAKE = Intake(load())
NAMES = (
    *("event_type", "event_id", "label", "occurred_at", "actor", "on_behalf_of", "ip", "user_agent", "targets"),
    *("outcome", "outcome_reason", "changes", "metadata", "request_id", "session_id", "workspace_id", "app_id"),
    *("source", "category", "producer", "received_at"),
)
IN_RANGE = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    IN_RANGE | text(12), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(6), inner, max_size=3)
)


def parsed(raw: bytes) -> tuple[int, Any]:
    """The value and 200, or the status of the problem."""
    try:
        return 200, parse_json(raw)
    except ProblemError as problem:
        return problem.status, None


@given(VALUES)
def test_strict_json_is_read_as_everybody_reads_it(value: Any) -> None:
    """What is in range comes back as it was, however it was escaped."""
    for ascii_only in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:0123456789eE+-.\\ud8NaIfinty ', max_size=40).map(str.encode))
def test_any_bytes_are_json_or_a_problem(raw: bytes) -> None:
    """Never another error, and never a value that has no UTF-8."""
    status, value = parsed(raw)
    assert status in (200, 400)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def test_depth_is_counted_over_lists_and_objects() -> None:
    """As deep as allowed is read, one more is not."""
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        inner = "[]" if opening == "[" else "{}"
        for depth, taken in ((MAX_DEPTH - 1, True), (MAX_DEPTH, False)):
            raw = (opening * depth + inner + closing * depth).encode()
            assert parsed(raw)[0] == (200 if taken else 400)


@given(st.binary(max_size=2000), st.integers(1, 50), st.sampled_from(["identity", "gzip", "zstd"]))
def test_a_coding_gives_back_what_was_packed_in_any_pieces(data: bytes, size: int, coding: str) -> None:
    """Also from several members or frames one behind the other."""
    packers: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.compress, "zstd": zstd.compress}
    pack = packers[coding]
    packed, found, unpack = pack(data) + pack(data[:7]), b"", unpacker(coding)
    for at in range(0, len(packed), size):
        found += unpack.feed(packed[at : at + size], 10_000 - len(found))
    unpack.finish()
    assert found == data + data[:7]


def test_a_bomb_takes_no_more_memory_than_there_is_room() -> None:
    """It is given up as soon as it is larger, before the rest is unpacked."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bombs = {
        "gzip": b"".join([*(packer.compress(bytes(1_000_000)) for _ in range(200)), packer.flush()]),
        "zstd": zstd.compress(bytes(200_000_000)),
    }
    for coding, bomb in bombs.items():
        assert len(bomb) < 300_000
        tracemalloc.start()
        with pytest.raises(TooMuch):
            unpacker(coding).feed(bomb, 1_000_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 6_000_000, coding


@given(st.lists(st.tuples(text(6), text(6), text(6)), min_size=2, max_size=2, unique=True))
def test_ids_follow_from_workspace_app_and_key_and_from_nothing_else(names: list[tuple[str, str, str]]) -> None:
    """UUIDs of version 5 whose name can't be put together in two ways."""
    one, two = (Identities(workspace, app).of_event(key) for workspace, app, key in names)
    assert one != two
    workspace, app, key = names[0]
    assert uuid.UUID(one) == uuid.uuid5(NAMESPACE, f"{len(workspace)}:{workspace}{len(app)}:{app}event:{key}")
    ids = Identities(workspace, app)
    assert len({ids.of_event(key), ids.of_position(key, 0), ids.of_position(key, 1), ids.of_request(key)}) == 4


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
def test_the_same_content_is_the_same_whatever_its_order(item: dict[str, Any]) -> None:
    """Order and nulls don't count, nor does the retry key; every other value does."""
    turned = dict(reversed(item.items())) | {"event_id": "other"}
    assert content_of(item) == content_of(turned | {"nothing": None})
    assert content_of(item) != content_of(item | {"label": "another one"})


@given(
    st.fixed_dictionaries(
        {"event_type": st.just("deal.won") | VALUES}, optional={name: VALUES for name in NAMES if name != "event_type"}
    )
    | json_values
)
def test_any_item_becomes_an_event_or_a_problem_with_pointers(item: Any) -> None:
    """Nothing else is raised, and an event is within its limits and of this workspace and app."""
    (prepared,) = INTAKE.prepare([item], CALLER, "", {}, NOON)
    if prepared.event is None:
        assert prepared.problem is not None
        assert prepared.problem.status == 422
        assert prepared.problem.faults
        assert all(fault.place == "body" and fault.message for fault in prepared.problem.faults)
    else:
        event = prepared.event
        assert (event.workspace_id, event.app_id, event.source, event.category) == ("w1", "crm", "api", "developer")
        assert len(head_of(event)) < MAX_EVENT_BYTES


def test_a_batch_counts_as_so_many_events() -> None:
    """All of it fits into the window or none of it is counted; keys and apps are counted apart."""
    rates = Rates("10/hour", "100/hour")
    rates.take_events(CALLER, 6)
    with pytest.raises(ProblemError) as refused:
        rates.take_events(CALLER, 5)
    assert (refused.value.status, refused.value.extra) == (429, {"limit": "10 events per hour"})
    rates.take_events(CALLER, 4)
    rates.take_events(Caller("w2", "crm", "k2", "", "", "", ""), 10)
