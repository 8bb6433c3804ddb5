"""Forking while the spool is being written: the child must be able to open a spool of its own."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from audit_producers.entry import Entry
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
