"""A product service with an outbox: its database, a broker in memory, and relays between the two."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, Table, create_engine, event, select

from audit_producers import AuditLog, Mode, ProducerSettings
from audit_producers.outbox import Outbox, OutboxRelay
from tests.support.transport import MemoryBroker

ADA = {"type": "internal_user", "id": "u1", "name": "Ada"}


class OutboxService:
    """Its tables are made where they are missing; spools are put into the folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.engine = create_engine(url)
        self.outbox = Outbox()
        self.orders = Table("orders", self.outbox.table.metadata, Column("id", Integer, primary_key=True))
        self.outbox.create(self.engine)
        self.orders.create(self.engine, checkfirst=True)
        self.broker = MemoryBroker()
        self._logs: list[AuditLog] = []

    def close(self) -> None:
        """Closes its connections and logs."""
        self.close_logs()
        self.engine.dispose()

    def close_logs(self) -> None:
        """Closes the logs, without patience."""
        for log in self._logs:
            log.close(0)

    def emit(self, connection: Any, workspace: str = "w1", **fields: Any) -> str:
        """An ordinary event in the transaction of the connection."""
        fields = {"workspace_id": workspace, "actor": ADA, "source": "web"} | fields
        return self.outbox.emit(connection, "file.downloaded", **fields)

    def emitted(self, count: int, **fields: Any) -> list[str]:
        """So many in a transaction that is committed."""
        with self.engine.begin() as connection:
            return [self.emit(connection, **fields) for _ in range(count)]

    @property
    def waiting(self) -> int:
        """Rows to be relayed."""
        with self.engine.connect() as connection:
            return self.outbox.backlog(connection).waiting

    @property
    def texts(self) -> list[str]:
        """What the rows hold, in order."""
        row = self.outbox.table.c
        with self.engine.connect() as connection:
            return list(connection.execute(select(row.event).order_by(row.id)).scalars())

    @property
    def arrived(self) -> list[str]:
        """Ids of what the broker got, each event at the place of its first copy."""
        return list(dict.fromkeys(one.event_id for one in self.broker.events))

    def relay(self, *, spool_max_mib: int = 1024, emit_mode: Mode = "durable", **options: Any) -> OutboxRelay:
        """A relay with a log and a spool folder of its own."""
        settings = ProducerSettings(
            spool_dir=self.folder / f"spool{len(self._logs)}",
            spool_max_mib=spool_max_mib,
            emit_mode=emit_mode,
            adopt_interval_s=0,
        )
        self._logs.append(AuditLog("orders", version="3.1", settings=settings, transport=self.broker.transport))
        return OutboxRelay(self.outbox, self.engine, self._logs[-1], **options)

    def spool_turns_into_a_file(self) -> None:
        """From now on the spool folder of the last relay can't be used."""
        folder = self.folder / f"spool{len(self._logs) - 1}"
        shutil.rmtree(folder)
        folder.touch()

    def relay_killed_before_removing(self) -> list[list[str]]:
        """Relays in a child that is killed when it would remove the rows; ids and instants that its broker got."""
        self.engine.dispose()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _relay_until_removing(OutboxService(self.url, self.folder / "killed"), writing)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            got: list[list[str]] = json.loads(pipe.read())
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        return got


def _relay_until_removing(service: OutboxService, answer: int) -> None:
    @event.listens_for(service.engine, "before_cursor_execute")
    def die(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            os.write(answer, json.dumps(identities(service.broker)).encode())
            os.kill(os.getpid(), signal.SIGKILL)

    service.relay().look()


def identities(broker: MemoryBroker) -> list[list[str]]:
    """By which readers know copies of one event."""
    return [[one.event_id, one.occurred_at.isoformat()] for one in broker.events]


@contextmanager
def running(*relays: OutboxRelay) -> Iterator[None]:
    """The relays at work, each on a thread of its own."""
    stop = threading.Event()
    threads = [threading.Thread(target=relay.run, args=[stop]) for relay in relays]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
