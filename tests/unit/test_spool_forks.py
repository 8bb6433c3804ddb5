"""Forking while a thread of the log is inside what has locks for the whole process: the child must be able to emit."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from audit_producers import AuditLog, ProducerSettings, Receipt
from audit_producers.entry import Entry
from audit_producers.ports import Delivered
from audit_producers.spool import Spool


def test_a_fork_waits_until_no_thread_is_inside_sqlite(tmp_path: Path) -> None:
    """SQLite's locks for the whole process would stay locked in the child, which could then never open a file."""
    seen: list[str] = []
    beginning, forked = threading.Event(), threading.Event()
    spool = Spool(tmp_path / "a.spool")

    def fork() -> None:
        beginning.set()
        child = os.fork()
        if child == 0:
            os._exit(0)
        seen.append("forked")
        os.waitpid(child, 0)
        forked.set()

    def inside(statement: str) -> None:
        if statement == "COMMIT":
            thread.start()
            beginning.wait(10)
            # As long as a fork that does not wait would need by far.
            forked.wait(0.5)
            seen.append("committed")

    thread = threading.Thread(target=fork)
    spool._connection.set_trace_callback(inside)
    spool.commit([Entry(0, "t", "k", b"x")], (), 0)
    thread.join(10)
    assert seen == ["committed", "forked"]
    spool.close()


class Nobody:
    """A transport that never answers."""

    def send(self, topic: str, key: str, value: bytes, delivered: Delivered) -> None:
        pass

    def abandon(self) -> None:
        pass


def test_a_fork_waits_until_no_thread_is_connecting(tmp_path: Path) -> None:
    """Kafka's client and the import of its module have locks that would stay locked in the child."""
    connecting, lock = threading.Event(), threading.Lock()

    def connect(_: ProducerSettings) -> Nobody:
        with lock:
            connecting.set()
            # As long as a fork that does not wait would need by far.
            threading.Event().wait(0.3)
        return Nobody()

    settings = ProducerSettings(spool_dir=tmp_path, adopt_interval_s=0, exit_timeout_s=0)
    log = AuditLog("files", settings=settings, transport=connect)

    def emit() -> Receipt:
        return log.emit("file.viewed", workspace_id="w1", actor={"type": "system", "id": "s"}, source="api")

    emit()
    connecting.wait(10)
    child = os.fork()
    if child == 0:
        durable = False
        try:
            for _ in range(2):  # the thread that connects hands over the first one before it makes the second durable
                emit().wait_durable(5)
            durable = True
        finally:
            os._exit(0 if durable else 1)
    assert os.waitpid(child, 0)[1] == 0
    log.close(0)
