"""What the Events API does beside requests."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import prometheus_client

from audit_producers.events_api.keys import Claim, Keys
from audit_producers.events_api.refusals import Reason, Refusals, Refused
from audit_producers.events_api.tables import Database
from audit_producers.events_api.upkeep import Upkeep
from audit_producers.events_api.work import AT_ONCE, Work
from tests.builders import NOON
from tests.support.query_service import Clock

if TYPE_CHECKING:
    from pathlib import Path


def test_old_keys_are_deleted_in_pieces_and_counts_are_added_up(tmp_path: Path) -> None:
    """All that is too old goes and nothing else; counts that were written down before grow."""
    database, clock, work = Database(f"sqlite:///{tmp_path}/control.db"), Clock(), Work(one_writer=True)
    keys = Keys(database, days=7, lease_s=30)
    refusals = Refusals(database, prometheus_client.CollectorRegistry(), clock)
    upkeep = Upkeep(refusals, keys, work, clock)
    ids = [f"00000000-0000-5000-8000-{number:012}" for number in range(12_000)]
    start = int(NOON.timestamp() * 1000)
    keys.claim("a", [Claim(one, "x", 0) for one in ids[:11_000]], (), start)
    keys.claim("b", [Claim(one, "x", 0) for one in ids[11_000:]], (), start + 1)
    clock.now += timedelta(days=7)
    assert asyncio.run(upkeep.prune()) == 11_000
    assert asyncio.run(upkeep.prune()) == 0
    for events in (2, 3):
        refusals.add("w1", "crm", Reason.INVALID, events)
        asyncio.run(upkeep.flush())
    assert refusals.list("w1") == [Refused("2026-03-21", "crm", "invalid", 5)]
    work.close()
    database.close()


def test_large_bodies_wait_for_each_other() -> None:
    """No more bytes are worked on at once than fit, and all get their turn."""
    work = Work(one_writer=True)
    sizes, most = [AT_ONCE // 2, AT_ONCE // 3, AT_ONCE - 1, 10, AT_ONCE // 2], 0

    async def main() -> list[int]:
        inside, done = list[int](), list[int]()

        async def one(size: int) -> None:
            nonlocal most
            async with work.turn(size):
                inside.append(size)
                most = max(most, sum(inside))
                await work.database(lambda: None)
                inside.remove(size)
            done.append(size)

        await asyncio.gather(*(one(size) for size in sizes))
        return done

    assert sorted(asyncio.run(main())) == sorted(sizes)
    assert AT_ONCE // 2 < most <= AT_ONCE
    work.close()
