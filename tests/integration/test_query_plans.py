"""What a preview shows, at every address: the last 24 hours to the microsecond, and no trace of anything older."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from audit_infra.access.tables import workspaces
from tests.builders import NOON, event
from tests.integration.test_query_tenants import ASKED, IDS, answers, requests
from tests.support.query_service import QueryService

DAY, TICK = timedelta(hours=24), timedelta(microseconds=1)
PREVIEWS = ("free", "starter", "professional", "a plan nobody knows")
LISTS = [
    one for one in ASKED if one.path.startswith(("/v1/events", "/v1/facets", "/v1/histogram")) and "{" not in one.path
]


def on_plan(query: QueryService, plan: str) -> str:
    """A new workspace on a plan, also on one that the service does not know."""
    workspace = query.workspace(f"w-{uuid.uuid4()}")
    with query.access._engine.begin() as connection:
        connection.execute(update(workspaces).where(workspaces.c.id == workspace).values(plan=plan))
    return workspace


@pytest.mark.parametrize("plan", PREVIEWS)
def test_the_edge_is_24_hours_to_the_microsecond(query: QueryService, plan: str) -> None:
    """At the edge an event is shown, a microsecond later by the clock it is not: on pages, by id, counted, and in sums."""
    workspace = on_plan(query, plan)
    edge = event(workspace_id=workspace, occurred_at=NOON - DAY)
    query.tables.put(edge, event(workspace_id=workspace, occurred_at=NOON - DAY - TICK))
    client = query.client(workspace)

    def seen() -> tuple[int, ...]:
        page = client.get("/v1/events?count=1").json()
        names = ("users", "targets", "events", "categories", "sources", "actor-types")
        facets = [client.get(f"/v1/facets/{name}").json()["data"] for name in names]
        buckets = client.get("/v1/histogram").json()["data"]
        return (
            len(page["data"]),
            page["count"]["value"],
            int(client.get(f"/v1/events/{edge.event_id}").status_code == 200),
            *(sum(one["count"] for one in facet) for facet in facets),
            sum(one["count"] for one in buckets),
        )

    assert set(seen()) == {1}
    query.clock.now = NOON + TICK
    assert set(seen()) == {0}


@pytest.mark.parametrize("operation", LISTS, ids=[one.name for one in LISTS])
def test_a_clamp_is_never_silent(query: QueryService, operation: Any) -> None:
    """Whoever asks for more than the plan shows is told from when on it does, and where there is more."""
    client = query.client(on_plan(query, "starter"))
    told = client.get(operation.path).json()["preview"]
    assert told["since"] == "2026-03-13T12:00:00.000000Z"
    assert (told["plan"], told["clamped"]) == ("starter", False)
    assert told["upgrade_url"].startswith("/upgrade?workspace=w-")
    assert client.get(f"{operation.path}?since=25h").json()["preview"]["clamped"] is True
    older = client.get(f"{operation.path}?until=2026-03-01T00:00:00Z")
    assert (older.status_code, older.json()["preview"]["clamped"]) == (200, True)
    assert sum(one.get("count", 1) for one in older.json()["data"]) == 0
    assert query.client().get(operation.path).json()["preview"] is None


def test_a_clamp_is_told_with_lines_too(query: QueryService) -> None:
    """A page as NDJSON has no place for it in its body, so it is in a header."""
    client = query.client(on_plan(query, "starter"))
    lines = client.get("/v1/events?since=30d", headers={"Accept": "application/x-ndjson"})
    assert "clamped" in "; ".join(f"{name}: {value}" for name, value in lines.headers.items()).lower()


@settings(
    max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(asked=st.lists(requests(), min_size=4, max_size=8), older=st.integers(1, 12))
def test_older_events_change_no_answer(query: QueryService, asked: list[Any], older: int) -> None:
    """Whatever a preview asks, it can't tell whether there is anything older: no number, name, id or shape differs."""
    workspace = on_plan(query, "professional")
    recent = [
        event(workspace_id=workspace, event_id=IDS[number], occurred_at=NOON - number * DAY / 4) for number in (0, 3)
    ]
    query.tables.put(*recent)
    client = query.client(workspace)
    before = [answers(client, path, params) for _, path, params in asked]
    query.tables.put(
        *(
            event(
                workspace_id=workspace,
                event_id=IDS[1 + number % 2],
                event_type="deal.won",
                label="Old deal",
                category="developer",
                app_id="crm",
                occurred_at=NOON - DAY - (number + 1) * timedelta(hours=7),
                actor={"type": "client", "id": f"u{number}", "name": "Old friend", "email": "old@example.com"},
                targets=[{"type": "file", "id": "f0", "name": "old plan.pdf"}],
            )
            for number in range(older)
        )
    )
    for (operation, path, params), known in zip(asked, before, strict=True):
        assert answers(client, path, params) == known, f"{operation} {path}?{urlencode(params)}"


@pytest.mark.parametrize("plan", PREVIEWS)
def test_previews_have_no_exports(query: QueryService, plan: str) -> None:
    """The way to upgrade is in the refusal; the plans that export do."""
    refused = query.client(on_plan(query, plan)).get("/v1/export")
    assert refused.status_code == 403
    assert refused.json()["type"].endswith("plan-limited")
    assert refused.json()["upgrade_url"].startswith("/upgrade")
    for full in ("advanced", "enterprise"):
        assert query.client(on_plan(query, full)).get("/v1/export").status_code == 200
