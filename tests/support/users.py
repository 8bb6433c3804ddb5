"""The proof that the list of users names everybody who acted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit_consumers.clickhouse import ClickHouseStore

_USER = "workspace_id, actor_type, actor_id, actor_name, actor_email"


def unlisted(store: ClickHouseStore) -> Sequence[Sequence[Any]]:
    """Who is in audit_events, but not in audit_users with that name and address as late as there."""
    return store.rows(
        f"SELECT {_USER}, max(e) AS happened, max(u) AS listed FROM"
        f" (SELECT {_USER}, occurred_at AS e, toDateTime64(0, 6, 'UTC') AS u FROM audit_events"
        f" UNION ALL SELECT {_USER}, toDateTime64(0, 6, 'UTC'), latest FROM audit_users)"
        f" GROUP BY {_USER} HAVING happened > listed",
        {},
    )


__all__ = ["unlisted"]
