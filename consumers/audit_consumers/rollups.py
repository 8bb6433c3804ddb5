"""How rollup cells are made equal to the table again: by adding the difference, never by replacing. Pure.

A cell belongs to one Kafka partition, and only the partition's owner mends it, while no insert of that partition runs.
So the difference can't change between reading and writing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rollup:
    """A table of partial sums: `cell` names its key columns, each with the expression over audit_events."""

    table: str
    cell: dict[str, str]
    latest: dict[str, str]
    """Columns that keep a greatest value, which can be written again at any time."""
    prune: str
    """A condition over audit_events that holds for every row of the touched cells, to read less."""


_LOOKS = 3
_LOG = "kafka_topic_id = {topic_id:String} AND kafka_partition = {partition:Int32}"
_POSITION = {"kafka_topic_id": "kafka_topic_id", "kafka_partition": "kafka_partition"}
ROLLUPS: tuple[Rollup, ...] = (
    Rollup(
        table="audit_actors",
        cell={"workspace_id": "workspace_id", "actor_type": "actor_type", "actor_id": "actor_id", **_POSITION},
        latest={"latest": "max((occurred_at, toString(actor_name), toString(actor_email)))"},
        prune="(workspace_id, actor_type, actor_id) IN (SELECT workspace_id, actor_type, actor_id {touched})",
    ),
    Rollup(
        table="audit_type_day",
        cell={
            "workspace_id": "workspace_id",
            "day": "toDate(occurred_at)",
            "category": "category",
            "event_type": "event_type",
            "app_id": "app_id",
            **_POSITION,
        },
        latest={"label": "max(toString(label))"},
        prune="(workspace_id, toDate(occurred_at), event_type) IN"
        " (SELECT workspace_id, toDate(occurred_at), event_type {touched})",
    ),
)


def mend(where: str) -> list[str]:
    """One statement per rollup that mends the cells touched by rows of `where`, a condition on one log's offsets."""
    return [_mend(rollup, where) for rollup in ROLLUPS]


def _mend(rollup: Rollup, where: str) -> str:
    columns = [*rollup.cell, *rollup.latest, "events"]
    expressions = [f"{expression} AS c_{name}" for name, expression in rollup.cell.items()]
    keys = ", ".join(f"c_{name}" for name in rollup.cell)
    latest = [f"{expression} AS c_{name}" for name, expression in rollup.latest.items()]
    prune = rollup.prune.replace("{touched}", f"FROM audit_events WHERE {where}")
    have = (
        f"SELECT {', '.join(rollup.cell)}, sum(events) AS have FROM {rollup.table}"
        f" WHERE {_LOG} GROUP BY {', '.join(rollup.cell)}"
    )
    same = " AND ".join(f"want.c_{name} = had.{name}" for name in rollup.cell)
    return (
        f"INSERT INTO {rollup.table} ({', '.join(columns)})"
        f" SELECT {', '.join(f'c_{name}' for name in [*rollup.cell, *rollup.latest])},"
        " toInt64(want.n) - toInt64(had.have) AS delta"
        f" FROM (SELECT {', '.join([*expressions, *latest])}, uniqExact(kafka_offset) AS n FROM audit_events"
        f" WHERE {_LOG} AND {prune} GROUP BY {keys}) AS want"
        f" LEFT JOIN ({have}) AS had ON {same} WHERE delta != 0"
    )


Rows = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Runs a query with bound values and returns its rows."""


def compare(rows: Rows) -> list[str]:
    """The cells whose sum is not the number of rows in the table, in words.

    Events that land between the two readings differ for a moment, so only what stays wrong by as much counts.
    """
    faults: list[str] = []
    for rollup in ROLLUPS:
        wrong = _differences(rollup, rows)
        for _ in range(_LOOKS - 1):
            if not wrong:
                break
            again = _differences(rollup, rows)
            wrong = {cell: delta for cell, delta in wrong.items() if again.get(cell) == delta}
        faults += [f"{rollup.table}: cell {cell} differs from the table by {delta}" for cell, delta in wrong.items()]
    return faults


def _differences(rollup: Rollup, rows: Rows) -> dict[tuple[Any, ...], int]:
    keys = ", ".join(rollup.cell)
    expressions = ", ".join(f"{expression} AS {name}" for name, expression in rollup.cell.items())
    sql = (
        f"SELECT {keys}, sum(n) AS delta FROM (SELECT {keys}, sum(events) AS n FROM {rollup.table} GROUP BY {keys}"
        f" UNION ALL SELECT {expressions}, -toInt64(uniqExact(kafka_offset)) AS n FROM audit_events GROUP BY {keys})"
        f" GROUP BY {keys} HAVING delta != 0 LIMIT 1000"
    )
    return {tuple(map(str, row[:-1])): int(row[-1]) for row in rows(sql, {})}


__all__ = ["ROLLUPS", "Rollup", "compare", "mend"]
