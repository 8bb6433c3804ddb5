"""No address tells one workspace anything of another, whatever is asked."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from audit_infra.access import Scope
from audit_query.openapi import OPERATIONS
from audit_query.openapi.parameters import Parameter
from audit_schemas.event import Event
from tests.builders import NOON, event
from tests.support.query_service import QueryService

MARKS = {"w1": "mark-of-the-first", "w2": "mark-of-the-second"}
# What concerns all workspaces needs audit:admin; streams of events have a test of their own.
ASKED = [
    one
    for one in OPERATIONS
    if one.method == "get" and one.scope != Scope.ADMIN and one.answers[0].media != "text/event-stream"
]
IDS = [str(uuid.UUID(int=number)) for number in range(1, 7)]
# Values that occur in both workspaces.
SHARED: dict[str, list[str]] = {
    "user": ["internal_user:u0", "u1", "client:u0"],
    "event": ["file.downloaded", "deal.won"],
    "category": ["files", "developer"],
    "app": ["crm"],
    "request_id": ["r1"],
    "source": ["web", "api"],
    "actor_type": ["client", "internal_user"],
    "outcome": ["success", "failure"],
    "target": ["file:f0", "file:"],
    "ip": ["203.0.113.7", "203.0.113.0/24"],
    "meta": ["1"],
    "q": ["plan", "ada"],
    "search": ["", "u", "file", "mark"],
    "since": ["24h", "30d", "2026-03-14T11:00:00Z"],
    "until": ["2026-03-14T11:58:00Z"],
    "limit": ["1", "3", "50"],
    "event_id": IDS,
}


@st.composite
def events_of(draw: st.DrawFn, workspace: str) -> Event:
    """An event that could be either workspace's but for the mark in every free text."""
    mark, number = MARKS[workspace], draw(st.integers(0, 2))
    custom = draw(st.booleans())
    return event(
        event_id=draw(st.sampled_from(IDS)) if draw(st.booleans()) else str(uuid.uuid4()),
        workspace_id=workspace,
        category="developer" if custom else "files",
        event_type="deal.won" if custom else "file.downloaded",
        label=mark if custom else "",
        app_id="crm" if custom else "",
        occurred_at=NOON - timedelta(minutes=draw(st.integers(0, 3)), hours=draw(st.sampled_from([0, 0, 30]))),
        actor={
            "type": draw(st.sampled_from(["internal_user", "client"])),
            "id": f"u{number}",
            "name": f"Ada {mark}",
            "email": f"{mark}@example.com",
        },
        source=draw(st.sampled_from(["web", "api"])),
        outcome=draw(st.sampled_from(["success", "failure"])),
        targets=[{"type": "file", "id": f"f{number}", "name": f"{mark} plan.pdf"}],
        user_agent=mark,
        metadata={"n": number, "mark": mark},
        request_id=mark,
    )


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, list[tuple[str, str]]]:
    """The name of an operation, and its address with any of its parameters."""
    operation = ASKED[draw(st.integers(0, len(ASKED) - 1))]
    path, query = operation.path, []
    for one in operation.parameters:
        if one.place == "path":
            path = path.replace(f"{{{one.name}}}", draw(st.sampled_from(values_of(one))))
        elif one.name in ("cursor", "tz") or not draw(st.booleans()):
            continue
        else:
            name = next(iter(one.example)) if isinstance(one.example, dict) else one.name
            query.append((name, draw(st.sampled_from(values_of(one)))))
    return operation.name, path, query


def values_of(one: Parameter) -> list[str]:
    """Those that occur where they are known, else the reference's example."""
    return SHARED.get(one.name.removeprefix("not_"), [str(one.example)])


def answers(client: httpx.Client, path: str, query: list[tuple[str, str]]) -> list[tuple[int, Any]]:
    """Statuses and bodies, over as many pages as there are, at most three."""
    found: list[tuple[int, Any]] = []
    reply = client.get(f"{path}?{urlencode(query)}")
    while True:
        body = reply.json() if reply.headers["content-type"].endswith("json") else reply.text
        if isinstance(body, dict):
            body.pop("request_id", None)
            # How long storing takes is measured over all workspaces, and said to be.
            body.pop("lag", None)
        found.append((reply.status_code, body))
        if len(found) == 3 or not (isinstance(body, dict) and body.get("next")):
            return found
        reply = client.get(body["next"])


@settings(
    max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(
    first=st.lists(events_of("w1"), min_size=1, max_size=6),
    second=st.lists(events_of("w2"), min_size=1, max_size=6),
    later=st.lists(events_of("w2"), min_size=1, max_size=6),
    asked=st.lists(requests(), min_size=3, max_size=6),
)
def test_workspaces_never_see_each_other(
    query: QueryService,
    first: list[Event],
    second: list[Event],
    later: list[Event],
    asked: list[tuple[str, str, list[tuple[str, str]]]],
) -> None:
    """With ids, people, targets and event ids in common: no answer holds the other's mark, or changes with its events."""
    if "w2" not in {one.id for one in query.access.list_workspaces()}:
        query.workspace("w2")
    clients = {name: query.client(name, set(Scope) - {Scope.ADMIN}) for name in MARKS}
    query.tables.put(*(one for pair in zip(first, second, strict=False) for one in pair))
    before = [answers(clients["w1"], path, params) for _, path, params in asked]
    query.tables.put(*later)
    for (operation, path, params), known in zip(asked, before, strict=True):
        found = {name: answers(client, path, params) for name, client in clients.items()}
        assert found["w1"] == known, (operation, params)
        for name, other in (("w1", "w2"), ("w2", "w1")):
            text = json.dumps(found[name], ensure_ascii=False)
            assert MARKS[other] not in text, (operation, params)
            assert f'"workspace_id": "{other}"' not in text


def test_what_concerns_all_workspaces_is_for_administrators(query: QueryService) -> None:
    """Without audit:admin those addresses are 403."""
    client = query.client(scopes=set(Scope) - {Scope.ADMIN})
    for one in OPERATIONS:
        if one.scope == Scope.ADMIN:
            refused = client.request(one.method, one.path)
            assert (refused.status_code, refused.json()["type"]) == (403, "urn:audit-log:problem:forbidden"), one.path
