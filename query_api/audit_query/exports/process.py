"""The export worker as a process."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import version

import structlog

from audit_infra.access import Access
from audit_infra.clock import utc_now
from audit_producers import AuditLog, ProducerSettings
from audit_producers.ports import Transport
from audit_query.clickhouse import Reader
from audit_query.exports.files import Files
from audit_query.exports.keys import Keys
from audit_query.exports.leases import Leases
from audit_query.exports.making import Maker
from audit_query.exports.starting import DISTRIBUTION, Starting
from audit_query.exports.telling import SERVICE, Telling
from audit_query.exports.worker import ExportWorker
from audit_query.exports.working import Rules, Work
from audit_query.ports import Clock
from audit_query.settings import ExportWorkerSettings
from audit_schemas.catalogue import load

log = structlog.get_logger("audit_query.exports")


@dataclass(frozen=True, slots=True)
class Assembled:
    """A worker and what it holds open. Belongs to one event loop."""

    worker: ExportWorker
    reader: Reader
    telling: Telling
    access: Access
    exit_timeout_s: float

    async def close(self) -> None:
        """Everything recorded becomes durable; Kafka gets the exit timeout, the rest waits in the spool."""
        await asyncio.to_thread(self.telling.close, self.exit_timeout_s)
        await self.reader.close()
        self.access.close()


def assemble(
    settings: ExportWorkerSettings,
    name: str,
    *,
    clock: Clock = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    transport: Callable[[ProducerSettings], Transport] | None = None,
) -> Assembled:
    """The worker that the settings describe; clocks and transport are given by tests.

    Raises `KeyProblem` when there is nothing to sign with.
    """
    access = Access.open(settings.control_database_url)
    keys, leases, files, catalogue = Keys(access.engine), Leases(access.engine), Files(settings.exports_dir), load()
    keys.signing(settings.export_keys_dir)
    reader = Reader(settings, settings.export_budget, settings.export_budget)
    rules = Rules(
        settings.export_lease_s, settings.export_tries, settings.export_backoff_s, timedelta(days=settings.export_days)
    )
    audit_log = None
    if settings.self_audit:
        make = partial(AuditLog, SERVICE, version=version(DISTRIBUTION), settings=settings)
        audit_log = make() if transport is None else make(transport=transport)
    telling = Telling(audit_log, settings.confirm_timeout_s)
    work = Work(
        leases,
        access,
        Starting(reader, settings.topic_prefix, clock, settings.export_budget, settings.gap_after_s),
        Maker(reader, files, catalogue, settings.export_budget, settings.export_part_rows),
        files,
        keys,
        settings.export_keys_dir,
        catalogue,
        rules,
        clock,
    )
    worker = ExportWorker(
        name,
        leases,
        work,
        files,
        telling,
        rules,
        running=settings.export_running,
        poll_s=settings.export_poll_s,
        # Twice as long as a stream may take: then its process has gone.
        stream_s=2 * settings.export_timeout_s,
        clock=clock,
        monotonic=monotonic,
    )
    return Assembled(worker, reader, telling, access, settings.exit_timeout_s)


def run(settings: ExportWorkerSettings) -> None:
    """Works until SIGTERM or SIGINT."""

    async def until_signalled() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        name = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        assembled = assemble(settings, name)
        log.info("the export worker starts", worker=name)
        try:
            await assembled.worker.run(stop)
        finally:
            await assembled.close()

    asyncio.run(until_signalled())


__all__ = ["Assembled", "assemble", "run"]
