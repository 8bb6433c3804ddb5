"""What the query service does with bad input, at every address and in every parameter the reference knows.

Each request is a problem of the caller's with everything that is wrong, or an empty answer; never a fault of ours, never
another workspace's rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from audit_infra.access import Scope
from audit_query.filters import MAX_VALUES, NOT
from audit_query.openapi import OPERATIONS
from audit_query.openapi.operation import Operation
from audit_query.openapi.parameters import FILTERS, RANGE, Parameter
from tests.builders import NOON, event
from tests.support.query_service import QueryService
from tests.support.requests import Raw, Reply

FOREIGN = "of-the-other-workspace"
LONGEST = 60_000
"""Longer addresses the server refuses by itself, before the service hears of them."""
PLAIN = [one for one in OPERATIONS if one.method == "get"]
# As they stand in an address: percent-encoded, or not as an address may be.
BAD = (
    "%27", "%27%27", "%27%20OR%201%3D1%20--%20", "%22", "%60", "%5C", "%5C%27", "%3B%20DROP%20TABLE%20audit_events",
    "--%20x", "%2F*x*%2F", "%23", "%7Bworkspace%3AString%7D", "%7B%7D", "%7B%7B7*7%7D%7D", "%25s", "%25(x)s", "%24%7Bx%7D",
    "%00", "a%00b", "%0D%0ASet-Cookie%3A%20a%3Db", "%0A", "%09", "%ED%A0%80", "%FF%FE", "%", "%zz", "%u0041", "+", "%20",
    "", "%E2%80%AE", "%F0%9F%A6%84", "%CC%81", "%EF%BF%BF", "..%2F..%2Fetc%2Fpasswd", "NULL", "true", "NaN", "-1", "1e400",
    "0x10", "9" * 30, "9" * 5000, "-" + "9" * 30, "x" * 9000, "%5B%5D", "[]", "%7B%22a%22%3A1%7D", "a%2Cb", ",", ":", "::",
    "internal_user%3A", "file%3A", "10.0.0.0%2F33", "%3A%3A%2F129", "999.1.1.1", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00%2B14:00", "2026-13-45", "2026-02-30T00:00:00Z",
    "9999-12-31", "0001-01-01", "99999999d", "-5d", "24H", "Mars/Base", "Europe/Berlin%00", "/etc/localtime",
)  # fmt: skip
ODD_HEADERS = (
    *(
        "",
        "\xff",
        "'",
        "a" * 5000,
        "*/*;q=nan, ;;;,,,",
        "a.b.c",
        "..",
        "Bearer",
        "Bearer a.b.c",
        "Bearer ..",
        "W/",
        '"',
    ),
    *("gzip;q=", "gzip;q=9999999999", "*;q=-1", "bytes=0-10"),
)


@pytest.fixture
def asked(query: QueryService) -> Iterator[Raw]:
    """A caller of w1 who may everything; both workspaces have events, alike but for a mark."""
    query.workspace("w2")
    for workspace, mark in (("w1", "own"), ("w2", FOREIGN)):
        query.tables.put(
            *(
                event(
                    workspace_id=workspace,
                    occurred_at=NOON - timedelta(minutes=number),
                    actor={"type": "internal_user", "id": f"u{number}", "name": mark, "email": f"{mark}@example.com"},
                    metadata={"mark": mark},
                )
                for number in range(3)
            )
        )
    caller = Raw(query.url, {"X-API-Key": query.access.create_key("w1", list(Scope)).secret})
    yield caller
    caller.close()


def check(reply: Reply, address: str) -> None:
    """An answer of ours without rows of others, or a problem of the caller's that says what is wrong."""
    if len(address) > LONGEST:
        assert reply.status in (400, 414, 431), address[:300]
        return
    assert reply.status < 500, (address[:300], reply.text[:500])
    assert FOREIGN not in reply.text, address[:300]
    if reply.status >= 400:
        assert reply.status in (400, 403, 404), (address[:300], reply.text[:500])
        assert reply.status != 400 or reply.problem["errors"], address[:300]


def path_of(operation: Operation) -> str:
    """With its parameters filled in."""
    path = operation.path
    for one in operation.parameters:
        path = path.replace(f"{{{one.name}}}", str(one.example))
    return path


def name_of(one: Parameter) -> str:
    """A parameter that stands for many is asked by one of its names."""
    return next(iter(one.example)) if isinstance(one.example, dict) else one.name


def test_odd_values_in_every_parameter(asked: Raw) -> None:
    """Each parameter of the list of events gets a share of the values, and so do those that only others have.

    Filters are read in one place, so elsewhere all parameters of an address get one odd value at a time, together.
    """
    odd = itertools.cycle(BAD)
    listed = next(one for one in PLAIN if one.name == "listEvents")
    for operation in PLAIN:
        own = [one for one in operation.parameters if one.place == "query"]
        if operation is not listed:
            for value in itertools.islice(odd, 4):
                address = f"{path_of(operation)}?{'&'.join(f'{name_of(one)}={value}' for one in own)}"
                check(asked.ask(address), address)
            own = [one for one in own if one not in listed.parameters]
        for one in own:
            for value in itertools.islice(odd, 8):
                address = f"{path_of(operation)}?{name_of(one)}={value}"
                reply = asked.ask(address)
                check(reply, address)
                if reply.status == 200 and one in FILTERS[: -len(RANGE)] and not one.name.startswith(NOT):
                    assert '"data":[]' in reply.text or value in ("internal_user%3A", "file%3A"), address


def test_odd_names_of_parameters(asked: Raw) -> None:
    """Each address refuses a parameter it does not know, whatever it is called, and names it."""
    for operation in PLAIN:
        for value in BAD:
            if "9999999" in value or value in ("", "%"):
                continue
            address = f"{path_of(operation)}?{value}=1"
            reply = asked.ask(address)
            assert reply.status == 400, (address, reply.text[:300])
            assert {one["code"] for one in reply.problem["errors"]} <= {"unknown_parameter", "too_long", "reserved"}


def test_odd_values_in_paths(asked: Raw) -> None:
    """What is no id is not found."""
    for operation in PLAIN:
        for one in operation.parameters:
            for value in BAD if one.place == "path" else ():
                address = operation.path.replace(f"{{{one.name}}}", value or "%20")
                reply = asked.ask(address)
                assert reply.status in (400, 404), (address[:300], reply.text[:300])
                assert reply.problem
                assert FOREIGN not in reply.text


def test_all_faults_are_told_at_once(asked: Raw) -> None:
    """One request with everything wrong gets one problem that names each parameter."""
    wrong = {"category": "filez", "since": "tomorrow", "until": "24h", "limit": "0", "colour": "red", "tz": "Mars/Base"}
    for operation in PLAIN:
        taken = {one.name for one in operation.parameters}
        errors = asked.ask(f"{path_of(operation)}?{urlencode(wrong)}").problem["errors"]
        named = {one["name"] for one in errors}
        # Without a zone a time can't be judged; the zone is the fault.
        expected = set(wrong) - ({"since", "until"} if "tz" in taken else set())
        assert expected <= named, operation.name


def test_too_much_is_refused(asked: Raw) -> None:
    """More values, longer addresses and more headers than there may be."""
    for operation in PLAIN:
        for one in operation.parameters:
            if one.many and one.name in ("user", "event", "target"):
                value = quote(str(one.example))
                for many in (MAX_VALUES + 1, 10_000):
                    address = path_of(operation) + "?" + "&".join([f"{one.name}={value}"] * many)
                    reply = asked.ask(address)
                    assert reply.status in (400, 414, 431), (operation.name, reply.text[:300])
    long = asked.ask("/v1/events?user=" + "x" * 300_000)
    assert long.status in (400, 414, 431)


def test_ranges_that_hold_nothing_are_refused(asked: Raw) -> None:
    """since at or after until, in every order of magnitude; what is far away is just empty."""
    for operation in PLAIN:
        if not {"since", "until"} <= {one.name for one in operation.parameters}:
            continue
        for since, until in (
            ("2026-03-14T12:00:00Z", "2026-03-14T12:00:00Z"),
            ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
            ("1h", "2020-01-01T00:00:00Z"),
        ):
            address = f"{path_of(operation)}?{urlencode({'since': since, 'until': until})}"
            reply = asked.ask(address)
            assert reply.status == 400, (address, reply.text[:300])
        for params in (
            {"since": "0001-01-01T00:00:00Z", "until": "0001-01-02T00:00:00Z"},
            {"since": "9999-12-30T00:00:00Z", "until": "9999-12-31T23:59:59.999999Z"},
            {"since": "1900-01-01", "until": "1900-01-02", "tz": "Europe/Berlin"},
        ):
            address = f"{path_of(operation)}?{urlencode(params)}"
            reply = asked.ask(address)
            check(reply, address)
            assert "@example.com" not in reply.text, address


def test_cursors_of_others_open_nothing(query: QueryService, asked: Raw) -> None:
    """Another workspace's, another filter's, cut, lengthened, turned over or made up: 400, at every address."""
    foreign = cursor_of(query.client("w2").get("/v1/events?limit=1").json())
    other = cursor_of(query.client("w1").get("/v1/events?limit=1&category=files").json())
    own = cursor_of(query.client("w1").get("/v1/events?limit=1").json())
    assert asked.ask(f"/v1/events?limit=1&cursor={own}").status == 200
    changed = [own[:at] + ("A" if own[at] != "A" else "B") + own[at + 1 :] for at in range(0, len(own) - 1, 7)]
    bad = [
        foreign,
        other,
        own[:-4],
        own[:10],
        own + "AAAA",
        own[::-1],
        own.swapcase(),
        "AAAA",
        "e30",
        "bnVsbA",
        *changed,
    ]
    for operation in PLAIN:
        if "cursor" in {one.name for one in operation.parameters}:
            for text in bad:
                reply = asked.ask(f"{path_of(operation)}?limit=1&cursor={text}")
                assert reply.status == 400, (operation.name, text, reply.text[:300])
                (fault,) = reply.problem["errors"]
                assert fault["name"] == "cursor"


def test_odd_headers_are_no_fault_of_ours(query: QueryService, asked: Raw) -> None:
    """Credentials open nothing whatever they hold; the other headers may hold anything."""
    guest = Raw(query.url, {})
    odd = itertools.cycle(ODD_HEADERS)
    for operation in PLAIN:
        for value in itertools.islice(odd, 5):
            for name in ("X-API-Key", "Authorization"):
                assert guest.ask(path_of(operation), headers={name: value}).status == 401, (operation.name, value)
    guest.close()
    for name in ("Accept", "Accept-Encoding", "If-None-Match", "Content-Type", "Range", "Cookie", "Host"):
        for number, value in enumerate(ODD_HEADERS):
            operation = PLAIN[number % len(PLAIN)]
            reply = asked.ask(path_of(operation), headers={name: value})
            assert reply.status < 500, (operation.name, name, value)


def cursor_of(page: dict[str, Any]) -> str:
    """The cursor of a page's `next`."""
    return str(page["next"]).rpartition("cursor=")[2]
