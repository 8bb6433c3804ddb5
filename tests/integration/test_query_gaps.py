"""`GET /v1/gaps`: who may ask, and what is told when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.gaps import Gaps
from audit_consumers.settings import PipelineSettings
from audit_infra.access import PAGE_SCOPES, Scope
from tests.builders import event
from tests.support.query_service import QueryService
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def fold(query: QueryService) -> Iterator[Callable[..., None]]:
    """Folds all that is stored by now."""
    store = ClickHouseStore(PipelineSettings(clickhouse_url=query.clickhouse_url, clickhouse_database=query.database))

    def until_now(**options: Any) -> None:
        begun = int(store.rows("SELECT toUnixTimestamp64Milli(now64(3))", {})[0][0])
        gaps = Gaps(store, **options)
        eventually(lambda: gaps.fold_all() > begun, 20, "everything is folded")

    yield until_now
    store.close()


def send(query: QueryService, *numbers: int, workspace: str = "w1") -> None:
    stamp = {"service": "billing", "instance": "i1", "version": "1"}
    query.tables.put(*(event(workspace_id=workspace, producer=stamp | {"seq": number}) for number in numbers))


def test_only_administrators_may_ask(query: QueryService) -> None:
    """What is missing has no workspace, so no other scope opens it; there are no parameters."""
    for scopes in (PAGE_SCOPES, [Scope.WRITE]):
        refused = query.client(scopes=scopes).get("/v1/gaps")
        assert refused.status_code == 403
        assert refused.json()["type"] == "urn:audit-log:problem:forbidden"
    assert query.guest().get("/v1/gaps").status_code == 401
    admin = query.client(scopes=[Scope.ADMIN])
    assert admin.get("/v1/gaps?service=billing").status_code == 400
    assert admin.get("/v1/gaps").json() == {
        "data": [],
        "total": {"gaps": 0, "events": 0},
        "unwatched": [],
        "checked_at": None,
    }


def test_a_gap_is_told_from_a_minute_on_until_it_closes(query: QueryService, fold: Callable[..., None]) -> None:
    """By the service's clock, across workspaces."""
    admin = query.client(scopes=[Scope.ADMIN])
    send(query, 0, workspace="w1")
    send(query, 3, workspace="w2")
    before = datetime.now(UTC) - timedelta(seconds=1)
    fold()
    query.clock.now = before + timedelta(seconds=50)
    assert admin.get("/v1/gaps").json()["data"] == []
    query.clock.now = before + timedelta(seconds=90)
    answer = admin.get("/v1/gaps").json()
    (gap,) = answer["data"]
    assert abs(datetime.fromisoformat(gap.pop("since")) - before) < timedelta(seconds=20)
    assert gap == {"service": "billing", "instance": "i1", "first_seq": 1, "last_seq": 2, "events": 2}
    assert answer["total"] == {"gaps": 1, "events": 2}
    assert datetime.fromisoformat(answer["checked_at"]) > before
    send(query, 2, 1)
    fold()
    assert admin.get("/v1/gaps").json()["data"] == []


def test_many_gaps_are_counted_and_the_oldest_named(query: QueryService, fold: Callable[..., None]) -> None:
    """No answer grows without bound, and none hides that there is more."""
    query.tables.client.command(
        "INSERT INTO audit_events (producer_service, producer_instance, producer_seq, kafka_offset, ingested_at)"
        " SELECT 'svc', concat('i', toString(number % 2)), 2 * number + 1, number,"
        " toDateTime64('2026-03-14 11:00:00', 3, 'UTC') + toIntervalSecond(number % 2) FROM numbers(1500)"
    )
    fold(most_runs=700)
    answer = query.client(scopes=[Scope.ADMIN]).get("/v1/gaps").json()
    assert len(answer["data"]) == 1000
    assert [gap["instance"] for gap in answer["data"]] == ["i0"] * 700 + ["i1"] * 300
    assert answer["total"]["gaps"] == 1400
    assert [(one["instance"], one["from_seq"]) for one in answer["unwatched"]] == [("i0", 2798), ("i1", 2800)]
