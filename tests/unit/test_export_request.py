"""The body that asks for a job, and the filter in words."""

from __future__ import annotations

from typing import Any

import pytest

from audit_infra.http.problems import ProblemError
from audit_query.exports.request import body_hash, check_key, read
from audit_query.exports.wording import canonical, words
from audit_query.filters import parse
from audit_schemas.catalogue import load
from tests.builders import NOON


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ([], {"": "wrong_type"}),
        ({}, {"/format": "missing"}),
        (
            {"format": "xls", "filter": {"event": "x"}, "colour": 1, "raw": "yes", "order": "up", "tz": 5},
            {
                "/format": "unknown_value",
                "/filter/event": "wrong_type",
                "/colour": "unknown_field",
                "/raw": "wrong_type",
                "/order": "unknown_value",
                "/tz": "wrong_type",
            },
        ),
        ({"format": "csv", "filter": {"a/b~c": 1}}, {"/filter/a~1b~0c": "wrong_type"}),
        (
            {"format": "csv", "columns": ["actor", "actr", "actor"], "filter": {"tz": ["UTC"], "event": []}},
            {
                "/columns/1": "unknown_value",
                "/columns/2": "repeated",
                "/filter/tz": "unknown_parameter",
                "/filter/event": "length",
            },
        ),
        ({"format": "ndjson", "raw": True}, {"/raw": "not_for_format"}),
    ],
)
def test_everything_wrong_with_a_body_is_found(body: Any, faults: dict[str, str]) -> None:
    """By its place in the body."""
    assert {fault.name: fault.code for fault in read(body)[1]} == faults


def test_a_slip_of_the_hand_is_named() -> None:
    """With the column that was meant, and all there are."""
    (fault,) = read({"format": "csv", "columns": ["actr"]})[1]
    assert "did you mean actor?" in fault.message
    assert "event_id" in fault.allowed


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([], "missing"),
        (["a" * 8, "a" * 8], "repeated"),
        (["a" * 7], "malformed"),
        (["a" * 129], "malformed"),
        (["ä" * 9], "malformed"),
    ],
)
def test_a_request_without_a_good_key_is_refused(given: list[str], code: str) -> None:
    """The header is named."""
    with pytest.raises(ProblemError) as refused:
        check_key(given)
    ((name, place, found),) = [(fault.name, fault.place, fault.code) for fault in refused.value.faults]
    assert (name, place, found) == ("Idempotency-Key", "header", code)


def test_the_same_request_is_known_again() -> None:
    """Whatever the order of its keys; lists have an order."""
    first = {"format": "csv", "filter": {"a": ["1", "2"], "b": ["3"]}}
    assert body_hash(first) == body_hash({"filter": {"b": ["3"], "a": ["1", "2"]}, "format": "csv"})
    assert body_hash(first) != body_hash({"format": "csv", "filter": {"a": ["2", "1"], "b": ["3"]}})


def test_a_filter_reads_as_words_and_as_what_it_meant() -> None:
    """Labels for names, bounds as instants, complements said as such."""
    params = [
        ("event", "auth.login_failed"),
        ("event", "deal.won"),
        ("not_category", "files"),
        ("ip", "10.0.0.0/8"),
        ("not_q", "draft"),
        ("meta.plan", "x"),
        ("since", "2026-03-01"),
        ("until", "2026-03-08"),
        ("tz", "Europe/Berlin"),
    ]
    filter_, _, _ = parse(params, NOON, paging=False)
    assert words(filter_, load()) == (
        "Event is Login Failed or deal.won; IP address is in 10.0.0.0/8; Metadata 'plan' is x; Category is not Files;"
        " Text does not contain draft; from 2026-02-28T23:00:00.000000Z (inclusive);"
        " to 2026-03-08T23:00:00.000000Z (exclusive)"
    )
    again, _, _ = parse(
        [(name, one) for name, found in canonical(filter_).items() for one in found], NOON, paging=False
    )
    assert (again.values, again.since, again.until) == (filter_.values, filter_.since, filter_.until)
    assert words(parse([], NOON, paging=False)[0], load()) == "Everything"
