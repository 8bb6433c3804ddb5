"""Users are the same whether found by numbers or counted by name, and copies are looked for where something is new."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from audit_infra.access import Principal, Scope
from audit_infra.settings import ClickHouseSettings
from audit_query.asking import Asking
from audit_query.budgets import Budget
from audit_query.clickhouse import Reader
from audit_query.copies import Copies
from audit_query.counting import Counting
from audit_query.facets import Facets
from audit_query.freshness import Freshness
from audit_query.plans import Plans
from audit_schemas.catalogue import load
from tests.builders import NOON, event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from audit_query.filters import Filter
    from audit_query.sql import Query
    from audit_schemas.event import Event
    from tests.support.query_service import QueryService

BUDGET = Budget(10, 1000)
ALL_BY_NAME = "max((occurred_at, toString(actor_name)"
LOOK = "uniqExact("


class Recording(Reader):
    """Keeps the statements."""

    statements: list[str]

    async def rows(self, query: Query) -> Sequence[Sequence[Any]]:
        self.statements.append(query.sql)
        return await super().rows(query)


class ByName(Counting):
    """Takes copies for differing, so that all users are counted by name."""

    def differing(self, workspace_id: str, shown: Filter) -> bool:
        return True


@asynccontextmanager
async def facets(query: QueryService, kind: type[Counting] = Counting) -> AsyncIterator[tuple[Facets, list[str]]]:
    """Facets of their own over the service's tables, and the statements they make."""
    settings = ClickHouseSettings(clickhouse_url=query.clickhouse_url, clickhouse_database=query.database)
    reader = Recording(settings, BUDGET, BUDGET)
    reader.statements = []
    copies = Copies(reader, query.clock, inline_rows=10**6, most=100, workspaces=2)
    counting = kind(reader, copies, BUDGET, 10**6)
    yield (
        Facets(
            asking=Asking(Plans(query.access, "/upgrade", query.clock), query.clock),
            counting=counting,
            target_counting=counting,
            reader=reader,
            freshness=Freshness(reader, query.tables.prefix, query.clock, cache_s=60, lag_window_s=60),
            catalogue=load(),
        ),
        reader.statements,
    )
    await reader.close()


def person(number: int, back: int, name: str, email: str = "", kind: str = "client") -> Event:
    actor = {"type": kind, "id": f"c{number}", "name": name, "email": email}
    return event(occurred_at=NOON - timedelta(minutes=back), actor=actor, source="web" if back % 3 else "api")


ASKED: tuple[list[tuple[str, str]], ...] = (
    [],
    [("limit", "1")],
    [("limit", "3")],
    [("since", "2026-03-14T11:30:00Z"), ("limit", "7")],
    [("source", "api")],
    [("category", "tasks")],
    *([("search", text), ("limit", limit)] for text in ("ADA", "old", "c1", "@x.org", "zoe") for limit in ("2", "200")),
)


def test_users_found_by_numbers_are_those_counted_by_name(query: QueryService) -> None:
    """With renamed users, ties, copies that say the same, and a list that proposes what no event says."""
    sent = [person(number, number % 7, f"Ada {number}", f"a{number}@x.org") for number in range(12)]
    sent += [person(number, 90, f"Old {number}") for number in range(6)]
    sent += [person(number, 90, "Old", kind="anonymous") for number in range(2)]
    query.tables.put(*sent)
    query.tables.put(*sent[:3], accepted_at=NOON + timedelta(hours=1))
    query.tables.client.command(
        "INSERT INTO audit_users VALUES ('w1', 'client', 'c1', 'Zoe', '', '2026-03-15 00:00:00'),"
        " ('w1', 'client', 'nobody', 'Zoe', '', '2026-03-15 00:00:00')"
    )

    async def answers(kind: type[Counting], scopes: frozenset[str]) -> tuple[list[Any], list[str]]:
        principal = Principal("w1", "key", "k1", scopes=scopes)
        async with facets(query, kind) as (asked, statements):
            found = [await asked.users(principal, params) for params in ASKED]
            assert all(one.exact for one in found)
            return [one.rows for one in found], list(statements)

    for scopes in (frozenset({Scope.READ}), frozenset({Scope.READ, Scope.PII})):
        quick, made = asyncio.run(answers(Counting, scopes))
        named, all_made = asyncio.run(answers(ByName, scopes))
        assert quick == named
        assert not any(ALL_BY_NAME in sql for sql in made)
        assert sum(ALL_BY_NAME in sql for sql in all_made) >= sum(map(bool, named)) > 5
    assert [len(rows) for rows in quick[:3]] == [14, 1, 3]
    assert quick[-1] == []


def test_a_search_that_finds_mostly_former_names_is_still_answered(query: QueryService) -> None:
    """All are counted by name where too few of those that the list proposes are still called so."""
    query.tables.put(*(person(number, 60, "Old") for number in range(60)))
    query.tables.put(*(person(number, 5, "New") for number in range(59)))
    rows = query.client().get("/v1/facets/users", params={"search": "old", "limit": "2"}).json()["data"]
    assert [(one["value"], one["count"]) for one in rows] == [("client:c59", 1)]


def test_copies_are_looked_for_only_where_something_was_stored(query: QueryService) -> None:
    """Also by other workspaces and where parts were merged; a copy is seen by the next question."""
    sent = [person(number, number, "Ada") for number in range(3)]
    query.tables.put(*sent)
    principal = Principal("w1", "key", "k1", scopes=frozenset({Scope.READ}))

    async def looks() -> list[tuple[int, list[int]]]:
        async with facets(query) as (asked, statements):
            found = []

            async def ask() -> None:
                statements.clear()
                rows = (await asked.users(principal, [])).rows
                found.append((sum(LOOK in sql for sql in statements), [one["count"] for one in rows]))

            await ask()
            await ask()
            query.tables.put(person(0, 0, "Ada"))
            await ask()
            query.tables.put(sent[1], accepted_at=NOON + timedelta(hours=1))
            query.tables.client.command("OPTIMIZE TABLE audit_events FINAL")
            await ask()
            await ask()
            return found

    assert asyncio.run(looks()) == [(1, [1, 1, 1]), (0, [1, 1, 1]), (1, [2, 1, 1]), (1, [2, 1, 1]), (0, [2, 1, 1])]
