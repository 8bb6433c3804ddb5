"""One turn of a worker on one export: from the claim to a finished part, or to the export's end."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from audit_infra.access import FULL_PLANS, Access
from audit_query.budgets import OverBudget
from audit_query.exports.files import Files
from audit_query.exports.job import Ended, Error, Export, Part, State
from audit_query.exports.keys import Keys
from audit_query.exports.leases import Held, Leases, Lost, ended
from audit_query.exports.making import Maker
from audit_query.exports.manifest import manifest
from audit_query.exports.starting import Starting
from audit_query.exports.store import Proof
from audit_query.ports import Clock
from audit_schemas.catalogue import Catalogue
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_query.exports")
STOPPED: Final = "its worker was stopped"
UPGRADED: Final = "the software was changed meanwhile, so it began anew"
LONGEST_WAIT: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Rules:
    """`lease_s`: how long an export is held without a beat. `tries`: attempts in a row that may finish no part.

    `backoff_s` is the first wait after a failed attempt; each further one is twice as long.
    """

    lease_s: float
    tries: int
    backoff_s: float
    keep: timedelta


class Work:
    """What a worker does with an export that it holds. Belongs to one event loop."""

    def __init__(
        self,
        leases: Leases,
        access: Access,
        starting: Starting,
        maker: Maker,
        files: Files,
        keys: Keys,
        keys_folder: Path,
        catalogue: Catalogue,
        rules: Rules,
        clock: Clock,
    ) -> None:
        self._leases, self._access, self._starting, self._maker = leases, access, starting, maker
        self._files, self._keys, self._keys_folder = files, keys, keys_folder
        self._catalogue, self._rules, self._clock = catalogue, rules, clock

    async def turn(self, held: Held) -> None:
        """Makes the next part, and ends the export when that was the last one.

        The lease is renewed meanwhile. When it is lost, by a cancellation or to another worker, the work is dropped.
        What fails is tried again later, or ends the export. Cancelled, it gives the export back first.
        """
        try:
            await self._while_beating(held, self._step(held))
        except Lost as lost:
            log.info("an export was given up", export=held.export.id, why=str(lost))
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._leases.release, held, self._clock(), STOPPED))
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the export must not stay where it is
            log.warning(
                "an export's attempt failed", export=held.export.id, error=str(error), kind=type(error).__name__
            )
            await self._failed(held, problem_of(error))

    async def _step(self, held: Held) -> None:
        if await asyncio.to_thread(self._plan_ended, held):
            await self._end(
                held, "failed", Error("plan-limited", "the workspace's plan does not hold exports any more")
            )
            return
        if held.failures >= self._rules.tries:
            detail = f"{held.failures} attempts in a row ended without a finished part"
            await self._end(held, "failed", Error("interrupted", detail))
            return
        held = await self._prepared(held)
        fixed = held.export.fixed
        assert fixed is not None  # noqa: S101  # `_prepared` fixed it
        if not held.export.complete:
            part = await self._maker.make(held.export, fixed, held.generation)
            held = await self._recorded(held, part)
            log.info("a part is finished", export=held.export.id, part=part.number, rows=part.rows, bytes=part.bytes)
        if held.export.complete:
            await self._end(held, "done")
        else:
            await asyncio.to_thread(self._leases.release, held, self._clock())

    async def _recorded(self, held: Held, part: Part) -> Held:
        try:
            return await asyncio.to_thread(self._leases.record, held, part)
        except Lost:
            # Nobody would look for it: whoever has the export now makes a file of its own.
            await asyncio.to_thread(self._files.remove, held.export.id, part)
            raise

    async def _prepared(self, held: Held) -> Held:
        """With its state of the log fixed, and without anything half-done or missing."""
        versions = await self._starting.versions()
        if held.export.fixed is None or held.export.fixed.versions != versions:
            if held.export.fixed is not None:
                log.warning(UPGRADED, export=held.export.id)
            fixed = await self._starting.fix(held.export)
            held = await asyncio.to_thread(self._leases.fix, held, fixed)
        for part in held.export.parts:
            if await asyncio.to_thread(self._files.path, held.export.id, part) is None:
                log.warning("a finished part is not there any more", export=held.export.id, part=part.number)
                held = await asyncio.to_thread(self._leases.forget_parts, held, part.number)
                break
        await asyncio.to_thread(self._files.sweep, held.export.id, held.export.parts, held.generation)
        return held

    async def _end(self, held: Held, state: State, error: Error | None = None) -> None:
        now = self._clock()
        how: Ended = "done" if state == "done" else "failed"
        attempts = ended(held.export.attempts, how, error.type if error else "", now)
        export = replace(held.export, state=state, finished_at=now, attempts=attempts, error=error)

        def sign_and_write() -> None:
            self._leases.end(export, held, self.proof(export), self._rules.keep)

        await asyncio.to_thread(sign_and_write)
        log.info("an export has ended", export=export.id, state=state, rows=export.rows_done)

    def proof(self, export: Export) -> Proof:
        """The signed manifest of an export that has ended. Raises `KeyProblem`. Blocks."""
        key = self._keys.signing(self._keys_folder)
        versions = export.fixed.versions.software if export.fixed else ""
        document = manifest(export, self._catalogue, key, software=versions)
        return Proof(document, key.sign(document))

    def _plan_ended(self, held: Held) -> bool:
        return self._access.get_workspace(held.export.workspace_id).plan not in FULL_PLANS

    async def _failed(self, held: Held, error: Error) -> None:
        try:
            # What the attempt did finish counts.
            held = await asyncio.to_thread(self._leases.current, held)
            if held.failures + 1 >= self._rules.tries:
                await self._end(held, "failed", error)
                return
            wait = min(timedelta(seconds=self._rules.backoff_s * 2**held.failures), LONGEST_WAIT)
            reason = f"{error.type}: {error.detail}"
            await asyncio.to_thread(self._leases.try_again, held, reason, self._clock(), wait)
        except AuditError as again:
            # The lease runs out, and somebody takes it up.
            log.warning("an export can't be given back", export=held.export.id, error=str(again))

    async def _while_beating(self, held: Held, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        beating = asyncio.create_task(self._beat(held))
        try:
            await asyncio.wait([task, beating], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Lost("its lease is another's, or it was cancelled")
            await task
        finally:
            for one in (task, beating):
                one.cancel()
            await asyncio.wait([task, beating])

    async def _beat(self, held: Held) -> None:
        """Returns when the lease was lost. While the database is away it goes on: nobody else can claim then either."""
        while True:
            await asyncio.sleep(self._rules.lease_s / 4)
            try:
                if not await asyncio.to_thread(self._leases.beat, held):
                    return
            except AuditError as error:
                log.warning("a lease can't be renewed now", export=held.export.id, error=str(error))


def problem_of(error: Exception) -> Error:
    """What is told of a failed attempt."""
    match error:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            return Error("disk-full", "there is no room for the files of exports")
        case OSError():
            return Error("disk", error.strerror or "the files of exports can't be written")
        case OverBudget():
            return Error("over-budget", error.detail)
        case AuditError():
            return Error("unavailable", str(error)[:500])
        case _:
            return Error("internal", type(error).__name__)


__all__ = ["LONGEST_WAIT", "STOPPED", "Rules", "Work", "problem_of"]
