"""Emitting processes that fork and end in all the ways there are, with Kafka out of reach: what they took is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from audit_producers import ProducerSettings
from audit_producers.adoption import Adopter
from audit_schemas.event import Event
from tests.support.transport import MemoryBroker

PRELUDE = """
    import os, signal, sys, threading
    from audit_producers import AuditLog

    log = AuditLog("files", version="1")

    def emit(workspace_id="w1", count=1, **more):
        actor = {"type": "system", "id": "s"}
        return [
            log.emit("file.downloaded", workspace_id=workspace_id, actor=actor, source="api", **more)
            for _ in range(count)
        ]
"""

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    """Where the processes keep their events."""
    return tmp_path / "spool"


@pytest.fixture
def start(spool_dir: Path) -> Start:
    """Starts a Python process that has a log and a function `emit`."""

    def run(script: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "AUDIT_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            "AUDIT_SPOOL_DIR": str(spool_dir),
            "AUDIT_EXIT_TIMEOUT_S": "0.2",
            "AUDIT_ADOPT_INTERVAL_S": "0",
        }
        source = textwrap.dedent(PRELUDE) + textwrap.dedent(script)
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", source], env=environment, text=True, stdout=subprocess.PIPE
        )

    return run


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status and what was printed."""
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


def kept(spool_dir: Path) -> list[Event]:
    """What waits in the folder; it is empty afterwards."""
    settings, broker = ProducerSettings(spool_dir=spool_dir), MemoryBroker()
    Adopter(settings, lambda: broker.transport(settings)).look()
    assert list(spool_dir.iterdir()) == []
    return broker.events


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise RuntimeError('boom')"])
def test_the_end_of_the_interpreter_keeps_everything(start: Start, spool_dir: Path, ending: str) -> None:
    """Without a call of `close`, and within the bound although Kafka does not answer."""
    status, _ = ended(start(f"emit(count=500)\nemit(mode='direct')\n{ending}"))
    assert status == {"": 0, "sys.exit(3)": 3}.get(ending, 1)
    assert [event.producer.seq for event in kept(spool_dir)] == list(range(501))


def test_sigterm_ends_in_order_where_nobody_handles_it(start: Start, spool_dir: Path) -> None:
    """`finally` blocks run, everything is kept, and the status is the shell's for SIGTERM."""
    process = start("""
        emit(count=500)
        try:
            print("ready", flush=True)
            signal.pause()
        finally:
            emit()
            print("unwound", flush=True)
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "unwound\n")
    assert len(kept(spool_dir)) == 501


def test_a_handler_of_the_service_stays(start: Start) -> None:
    """The log takes SIGTERM only where it has no handler, and not at all when it is told so."""
    assert ended(
        start("""
        mine = lambda *_: None
        signal.signal(signal.SIGTERM, mine)
        emit()
        print(signal.getsignal(signal.SIGTERM) is mine)
    """)
    ) == (0, "True\n")


def test_an_event_may_be_emitted_by_a_signal_handler(start: Start, spool_dir: Path) -> None:
    """Even while the same thread is emitting."""
    process = start("""
        signal.signal(signal.SIGALRM, lambda *_: emit("w2"))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        emit("w1", 3000)
        signal.setitimer(signal.ITIMER_REAL, 0)
    """)
    assert ended(process)[0] == 0
    found = kept(spool_dir)
    assert [event.producer.seq for event in found] == list(range(len(found)))
    counts = Counter(event.workspace_id for event in found)
    assert counts["w1"] == 3000
    assert counts["w2"] > 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_keep_what_they_took(
    start: Start, spool_dir: Path, tmp_path: Path, method: str
) -> None:
    """They end by `os._exit`, without `atexit`, and still end in order."""
    module = tmp_path / "work.py"
    module.write_text(textwrap.dedent(PRELUDE) + "def work(name):\n    emit(name, 300)\n")
    process = start(f"""
        sys.path.insert(0, {str(tmp_path)!r})
        import multiprocessing, work
        if {method!r} == "fork":
            work.emit("parent")
        context = multiprocessing.get_context({method!r})
        children = [context.Process(target=work.work, args=[f"child{{number}}"]) for number in range(2)]
        for child in children: child.start()
        for child in children: child.join()
        print([child.exitcode for child in children])
    """)
    assert ended(process) == (0, "[0, 0]\n")
    counts = Counter(event.workspace_id for event in kept(spool_dir))
    assert counts == Counter({"child0": 300, "child1": 300} | ({"parent": 1} if method == "fork" else {}))


def test_forked_workers_emit_beside_their_parent(start: Start, spool_dir: Path) -> None:
    """As gunicorn does it: the parent has emitted already. Instances differ, spools don't disturb each other.

    One child ends like a worker of gunicorn (`sys.exit`), one like a worker that nobody asks (`os._exit`).
    """
    process = start("""
        emit("parent", 100)[-1].wait_durable(10)
        children = []
        for number in range(2):
            child = os.fork()
            if child == 0:
                receipts = emit(f"child{number}", 100)
                receipts[-1].wait_durable(10)
                sys.exit(0) if number == 0 else os._exit(0)
            children.append(child)
        emit("parent", 100)
        print([os.waitpid(child, 0)[1] for child in children])
        emit("parent", 100)[-1].wait_durable(10)
    """)
    assert ended(process) == (0, "[0, 0]\n")
    found = kept(spool_dir)
    assert Counter(event.workspace_id for event in found) == Counter(parent=300, child0=100, child1=100)
    of = {event.workspace_id: event.producer.instance for event in found}
    assert len(set(of.values())) == 3
    for workspace_id, instance in of.items():
        numbers = [event.producer.seq for event in found if event.workspace_id == workspace_id]
        assert numbers == list(range(len(numbers))), instance


def test_threads_may_emit_while_the_process_forks(start: Start, spool_dir: Path) -> None:
    """No lock of the log is held for ever in a child, whatever the parent's threads did at that moment."""
    process = start("""
        stop = threading.Event()
        def work():
            while not stop.is_set():
                emit("parent")[0].wait_durable(10)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        statuses = []
        for number in range(15):
            child = os.fork()
            if child == 0:
                emit("child")[0].wait_durable(10)
                os._exit(0)
            statuses.append(os.waitpid(child, 0)[1])
        stop.set()
        for thread in threads: thread.join()
        print(set(statuses))
    """)
    assert ended(process) == (0, "{0}\n")
    assert Counter(event.workspace_id for event in kept(spool_dir))["child"] == 15


def test_a_service_that_never_emits_opens_nothing(start: Start, spool_dir: Path) -> None:
    """No folder, no thread, no connection before the first event."""
    assert ended(start("print(threading.active_count())")) == (0, "1\n")
    assert not spool_dir.exists()
