"""Remembers retry keys, so that an attempt that is repeated records nothing twice.

A key is claimed before its event is handed over, and marked accepted once the event is durable. An attempt that died in
between frees its keys when its lease ends; the first instant stays, and the content must stay too, since the dead
attempt may have recorded it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, and_, delete, select, update

from audit_producers.events_api.problems import in_flight, request_key_reused
from audit_producers.events_api.tables import Database, event_keys

_PRUNED_AT_ONCE: Final = 5_000
"""Rows deleted in one transaction, so that requests never wait long for it."""
_DAY_MS: Final = 86_400_000
_KEPT = event_keys.c


class _State(IntEnum):
    CLAIMED = 0
    ACCEPTED = 1
    FREE = 2
    """The attempt ended and certainly recorded nothing: the next one may bring other content."""


class Claim(NamedTuple):
    """A key that an attempt wants. `occurred_at`: the event's instant, microseconds; `content`: what it says, hashed."""

    id: str
    content: str
    occurred_at: int


@dataclass(frozen=True, slots=True)
class Known:
    """A key that was used before. `mine`: this attempt has taken it over. `occurred_at` is the first attempt's, in
    microseconds; `accepted` is the content that was accepted under the key, "" when none was.
    """

    mine: bool
    occurred_at: int
    accepted: str = ""


class Keys:
    """The table of keys. Thread-safe; each call is one transaction, blocks on the disk, and may raise
    `ControlUnavailable`, after which nothing was changed.
    """

    def __init__(self, database: Database, *, days: int, lease_s: float) -> None:
        self._database, self._kept_ms, self._lease_ms = database, days * _DAY_MS, int(lease_s * 1000)

    def claim(
        self, attempt: str, claims: Sequence[Claim], repeats: Collection[str], now_ms: int, request: str = ""
    ) -> dict[str, Known]:
        """Takes the keys of `claims` for this attempt, all or none; a key of `repeats`, which are no keys of claims, is
        never taken. The answer holds what was used before: keys that are not in it are taken, as new ones.

        Raises the problem 409 when another attempt holds one of either, and 422 when the key `request`, one of the
        claims, was used with other content.
        """
        found = dict[str, Known]()
        with self._database.transaction() as connection:
            if claims and self._insert(connection, attempt, claims, now_ms) != len(claims):
                wanted = {one.id: one for one in claims}
                for row in self._rows(connection, wanted):
                    if row.attempt != attempt:
                        found[row.id] = self._judged(connection, row, attempt, wanted[row.id], now_ms)
                known = found.get(request)
                if known is not None and not known.mine and known.accepted != wanted[request].content:
                    raise request_key_reused()
            for row in self._rows(connection, repeats):
                if _is_held(row, now_ms):
                    raise in_flight()
                if row.state == _State.ACCEPTED and row.kept_until > now_ms:
                    found[row.id] = Known(mine=False, occurred_at=row.occurred_at, accepted=row.content)
        return found

    def end(self, attempt: str, accepted: Collection[str], free: Collection[str], lost: Collection[str]) -> None:
        """Says what became of claimed keys.

        `accepted`: durable. `free`: certainly not recorded. `lost`: perhaps recorded; the next attempt need not wait
        for the lease but must bring the same content. Keys that are not named stay claimed until their lease ends.
        """
        changes: tuple[tuple[Collection[str], dict[str, Any]], ...] = (
            (accepted, {"state": _State.ACCEPTED, "lease_until": 0}),
            (free, {"state": _State.FREE, "lease_until": 0}),
            (lost, {"lease_until": 0}),
        )
        with self._database.transaction() as connection:
            for ids, values in changes:
                if ids:
                    mine = and_(_KEPT.id.in_(sorted(ids)), _KEPT.attempt == attempt)
                    connection.execute(update(event_keys).where(mine).values(**values))

    def prune(self, now_ms: int) -> int:
        """Deletes some keys that need not be kept any more; how many. 0 means that none is left."""
        old = select(_KEPT.id).where(_KEPT.kept_until <= now_ms).limit(_PRUNED_AT_ONCE)
        with self._database.transaction() as connection:
            return connection.execute(delete(event_keys).where(_KEPT.id.in_(old))).rowcount

    def _insert(self, connection: Connection, attempt: str, claims: Sequence[Claim], now_ms: int) -> int:
        rows = [
            {
                "id": one.id,
                "attempt": attempt,
                "state": _State.CLAIMED.value,
                "content": one.content,
                "occurred_at": one.occurred_at,
                "lease_until": now_ms + self._lease_ms,
                "kept_until": now_ms + self._kept_ms,
            }
            # In one order, so that two attempts with the same keys wait for each other instead of locking up.
            for one in sorted(claims, key=lambda claim: claim.id)
        ]
        return connection.execute(self._database.insert(event_keys).on_conflict_do_nothing(), rows).rowcount

    def _rows(self, connection: Connection, ids: Collection[str]) -> Sequence[Row[Any]]:
        if not ids:
            return ()
        return connection.execute(select(event_keys).where(_KEPT.id.in_(sorted(ids)))).all()

    def _judged(self, connection: Connection, row: Row[Any], attempt: str, claim: Claim, now_ms: int) -> Known:
        """What a key that was there already is to this attempt; takes it over where that is right."""
        same = bool(row.content == claim.content)
        anew = row.kept_until <= now_ms or (row.state == _State.FREE and not same)
        if not anew:
            if _is_held(row, now_ms):
                raise in_flight()
            if row.state == _State.ACCEPTED or not same:
                accepted = row.content if row.state == _State.ACCEPTED else ""
                return Known(mine=False, occurred_at=row.occurred_at, accepted=accepted)
        first = claim.occurred_at if anew else row.occurred_at
        as_seen = and_(*(column == row._mapping[column.name] for column in event_keys.columns))  # noqa: SLF001 - public
        values = {
            "attempt": attempt,
            "state": _State.CLAIMED.value,
            "content": claim.content,
            "occurred_at": first,
            "lease_until": now_ms + self._lease_ms,
            "kept_until": now_ms + self._kept_ms,
        }
        if connection.execute(update(event_keys).where(as_seen).values(**values)).rowcount != 1:
            raise in_flight()
        return Known(mine=True, occurred_at=first)


def _is_held(row: Row[Any], now_ms: int) -> bool:
    return bool(row.state == _State.CLAIMED and row.lease_until > now_ms and row.kept_until > now_ms)


__all__ = ["Claim", "Keys", "Known"]
