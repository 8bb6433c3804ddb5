"""The loop of an export worker: claims what comes next, works on it, and tidies up what has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta

import structlog

from audit_query.exports.choosing import Watch, choose
from audit_query.exports.files import Files
from audit_query.exports.leases import Held, Leases
from audit_query.exports.records import milliseconds
from audit_query.exports.telling import Telling
from audit_query.exports.working import LONGEST_WAIT, STOPPED, Rules, Work
from audit_query.ports import Clock
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_query.exports")


class ExportWorker:
    """One worker; several may run, in as many processes. `name` tells it from all others.

    It works on one part at a time: so each export keeps one thread of the engine busy, and after each part the workspace
    that waited longest has its turn. `running` is how many exports of one workspace may have started and not ended.
    """

    def __init__(
        self,
        name: str,
        leases: Leases,
        work: Work,
        files: Files,
        telling: Telling,
        rules: Rules,
        *,
        running: int,
        poll_s: float,
        stream_s: float,
        clock: Clock,
        monotonic: Callable[[], float],
    ) -> None:
        self._name, self._leases, self._work = name, leases, work
        self._files, self._telling, self._rules = files, telling, rules
        self._running, self._poll_s, self._stream = running, poll_s, timedelta(seconds=stream_s)
        self._clock, self._monotonic = clock, monotonic
        self._watch = Watch(rules.lease_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Works until told to stop; then the part that is being made is dropped, and its export given back."""
        loops = [asyncio.create_task(self._repeat(one)) for one in (self.once, self.tidy)]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*loops, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*loops, stopping):
                task.cancel()
            await asyncio.wait([*loops, stopping])
        for one in loops:
            if not one.cancelled():
                one.result()

    async def once(self) -> bool:
        """One turn on whatever comes next; False when there is nothing to do."""
        claiming = asyncio.create_task(asyncio.to_thread(self._claim))
        try:
            held = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The claim goes on, on its thread; nobody would work on what it gets.
            if (held := await claiming) is not None:
                await asyncio.to_thread(self._leases.release, held, self._clock(), STOPPED)
            raise
        if held is None:
            return False
        await self._work.turn(held)
        return True

    async def tidy(self) -> bool:
        """Signs, records and clears what has ended. What fails for one export is tried again, and holds up no other."""
        await asyncio.to_thread(self._tidy)
        return False

    async def _repeat(self, step: Callable[[], Awaitable[bool]]) -> None:
        while True:
            busy = False
            try:
                busy = await step()
            except AuditError as error:
                log.warning("an export worker can't go on now", error=str(error))
            if not busy:
                await asyncio.sleep(self._poll_s)

    def _claim(self) -> Held | None:
        candidates, turns = self._leases.candidates()
        now = self._clock()
        chosen = choose(
            candidates,
            turns,
            self._watch.abandoned(candidates, self._monotonic()),
            now_ms=milliseconds(now),
            running=self._running,
            longest_wait_ms=int(LONGEST_WAIT.total_seconds() * 1000),
        )
        return None if chosen is None else self._leases.claim(chosen, self._name, now, self._running)

    def _tidy(self) -> None:
        now = self._clock()
        self._leases.abandoned_streams(now - self._stream, now)
        for export in self._leases.unsigned():
            with _reported(export.id):
                self._leases.sign(export, self._work.proof(export), self._rules.keep)
        for export in self._leases.untold():
            with _reported(export.id):
                self._telling.ended(export)
                self._leases.told(export)
        for export in self._leases.outdated(now):
            with _reported(export.id):
                self._files.delete(export.id)
                self._leases.cleared(export)


@contextlib.contextmanager
def _reported(export_id: str) -> Iterator[None]:
    try:
        yield
    except (AuditError, OSError) as error:
        log.warning("an export can't be tidied up now", export=export_id, error=str(error))


__all__ = ["ExportWorker"]
