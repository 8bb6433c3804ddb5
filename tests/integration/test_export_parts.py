"""Parts of an export: cut by keys, and fixed by Kafka positions whatever is stored later."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from audit_query.exports import rows
from audit_query.exports.form import Form
from audit_query.exports.rows import Key, Position, Slice, Summary
from audit_query.filters import Filter
from audit_schemas.catalogue import load
from audit_schemas.event import micros
from tests.builders import NOON, event
from tests.support.rows import TOPIC_ID

if TYPE_CHECKING:
    from tests.support.query_service import QueryService

LINES = Form(format="ndjson")
OTHER_ID = "topic-two"


def lines(query: QueryService, part: Slice, form: Form = LINES, filter_: Filter | None = None) -> list[Any]:
    """The events of a part."""
    asked = rows.query("w1", filter_ or Filter(), load(), form, pii=True, part=part)
    content = query.tables.client.raw_query(asked.sql, parameters=dict(asked.values)).decode()
    return [json.loads(line) for line in content.splitlines()]


def summed(query: QueryService, part: Slice, form: Form = LINES, filter_: Filter | None = None) -> Summary:
    asked = rows.summary("w1", filter_ or Filter(), load(), form, pii=True, part=part)
    (row,) = query.tables.client.query(asked.sql, parameters=dict(asked.values)).result_rows
    return Summary.of(row, form)


def key_of(line: dict[str, Any]) -> Key:
    moment = NOON.fromisoformat(line["occurred_at"])
    return Key(micros(moment), line["event_id"])


@pytest.mark.parametrize("ascending", [False, True])
def test_parts_cut_by_keys_are_the_whole(query: QueryService, ascending: bool) -> None:
    """Both ends belong to a part, also among events of one instant; each summary says what is in its part."""
    sent = [event(occurred_at=NOON - timedelta(microseconds=number // 5)) for number in range(40)]
    query.tables.put(*sent, *sent[:3])
    form = Form(format="ndjson", ascending=ascending)
    whole = lines(query, Slice(), form)
    assert len(whole) == 40
    found = []
    for begin in range(0, 40, 7):
        ends = [key_of(whole[begin]), key_of(whole[min(begin + 6, 39)])]
        newest, oldest = reversed(ends) if ascending else ends
        part = lines(query, Slice(newest, oldest), form)
        summary = summed(query, Slice(newest, oldest), form)
        assert (summary.rows, summary.first, summary.last) == (len(part), *ends)
        found += part
    assert found == whole
    assert summed(query, Slice(), form).collapsed == 3
    nothing = Slice(newest=Key(0, whole[0]["event_id"]))
    assert (lines(query, nothing, form), summed(query, nothing, form)) == ([], Summary(0, 0, 0, None, None))


def test_positions_fix_what_belongs(query: QueryService) -> None:
    """Rows at or behind an end, and rows of partitions or topics that are not named, do not; of an event's copies the
    first that does is shown, and decides whether the event matches.
    """
    early, late, twice = event(), event(), event(outcome="failure")
    again = event(event_id=twice.event_id, outcome="success")
    query.tables.put(early, offset=4)
    query.tables.put(late, offset=5)
    query.tables.put(event(), partition=1, offset=0)
    query.tables.put(event(), topic_id=OTHER_ID, offset=0)
    query.tables.put(again, partition=2, offset=7, accepted_at=NOON + timedelta(seconds=1))
    query.tables.put(twice, partition=2, offset=6, accepted_at=NOON + timedelta(seconds=2))

    def positions(*ends: tuple[int, int]) -> Slice:
        return Slice(positions=tuple(Position("audit.files", TOPIC_ID, partition, end) for partition, end in ends))

    found = positions((0, 5), (2, 7))
    assert {one["event_id"]: one["outcome"] for one in lines(query, found)} == {
        early.event_id: "success",
        twice.event_id: "failure",
    }
    failures = Filter(values=(("outcome", ("failure",)),))
    assert [one["event_id"] for one in lines(query, found, filter_=failures)] == [twice.event_id]
    assert summed(query, found, filter_=failures).collapsed == 0
    both = positions((0, 5), (2, 8))
    assert lines(query, both, filter_=failures) == []
    assert (summed(query, both).rows, summed(query, both).collapsed) == (2, 1)
    assert lines(query, Slice(positions=())) == []


def test_a_summary_counts_the_cells_that_the_guard_changes(query: QueryService) -> None:
    """Of the columns that are written, and none with raw; as many as differ between the two."""
    query.tables.put(
        event(user_agent="=1", label="'x", event_type="custom.x", category="developer"),
        event(actor={"type": "client", "id": "@a", "name": "+a"}),
        event(),
    )

    def cells(form: Form) -> list[list[str]]:
        asked = rows.query("w1", Filter(), load(), form, pii=True)
        content = query.tables.client.raw_query(asked.sql, parameters=dict(asked.values)).decode()
        return list(csv.reader(io.StringIO(content, newline="")))

    for columns in ((), ("actor", "event"), ("event_id",)):
        guarded, raw = (Form(columns=columns, raw=raw) for raw in (False, True))
        changed = sum(
            one != other
            for row, as_it_is in zip(cells(guarded), cells(raw), strict=True)
            for one, other in zip(row, as_it_is, strict=True)
        )
        assert summed(query, Slice(), guarded).guarded == changed
        assert summed(query, Slice(), raw).guarded == 0
    assert summed(query, Slice(), Form()).guarded == 4
