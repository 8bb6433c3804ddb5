"""The trap in ClickHouse's tokens: one is written down before its part is in place, so a repeat can insert nothing."""

from __future__ import annotations

import shutil
import subprocess
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit_consumers.batch import FormingBatch
from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.landing import Landed, Lander
from audit_consumers.migrate import migrate
from audit_consumers.positions import Log, Range
from audit_consumers.settings import PipelineSettings
from audit_schemas.errors import Transient
from audit_schemas.registry import StaticRegistry
from tests.fakes import FakeClock, FakeDeadLetters, FakeRecord
from tests.support.pipeline import framed_events
from tests.support.users import unlisted
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from audit_consumers.batch import Batch
    from tests.conftest import StartClickHouse
    from tests.support.servers import ClickHouseServer

ROWS = 500


def batch_of(first: int) -> Batch:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    forming = FormingBatch(Log("t.files", "trap", 0), first, StaticRegistry().schema)
    values = [value for _, value, _ in framed_events(ROWS, ["files"])]
    forming.add([FakeRecord(value, first + n, now_ms) for n, value in enumerate(values)])
    return forming.seal()


def kill_at_rename(server: ClickHouseServer, number: int, insert: threading.Thread) -> bool:
    """Lets the engine die at its `number`th rename during the insert; False when it made fewer."""
    calls = "rename,renameat,renameat2"
    tracer = subprocess.Popen(
        [
            *("strace", "-f", "-qq", "-p", str(server.pid), "-e", f"trace={calls}"),
            *("-e", f"inject={calls}:signal=SIGKILL:when={number}"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: attached(server.pid), 10, "strace has attached")
        insert.start()
        insert.join(60)
    finally:
        tracer.terminate()
        tracer.wait(10)
    return not answers(server)


def attached(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in lines)


def answers(server: ClickHouseServer) -> bool:
    try:
        return Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; .ci/run installs it")
@pytest.mark.timeout(180)
def test_an_engine_killed_between_token_and_part_is_healed(start_clickhouse: StartClickHouse) -> None:
    """At each rename of an insert in turn: the repeat under the same token may insert nothing, looking heals it.

    The trap must be met at least once, or the test has not shown what it is there for.
    """
    server = start_clickhouse()
    settings = PipelineSettings(clickhouse_url=server.url, clickhouse_database="audit")
    migrate(settings, list)
    trapped = 0
    for number in range(1, 9):
        store = ClickHouseStore(settings)
        batch = batch_of(number * ROWS)
        lander = Lander(store, FakeDeadLetters(), StaticRegistry().schema, "cluster", FakeClock())

        def insert(lander: Lander = lander, batch: Batch = batch) -> None:
            lander.land(batch, lambda: True, 0)

        if not kill_at_rename(server, number, threading.Thread(target=insert)):
            break
        server.kill()
        server.start()
        eventually(partial(store.rows, "SELECT 1", {}), 10, "the engine answers", ignore=(Transient,))
        token = f"cluster:trap:0:{batch.offsets}:s1:{batch.hash}"
        store.insert(batch.containers[0], token, "repeat")
        stored = store.stored(batch.log, batch.offsets)
        trapped += len(stored.events) < ROWS

        outcome = lander.settle(batch, lambda: True, resend=True)

        assert isinstance(outcome, Landed)
        assert (outcome.row.rows_events, outcome.row.rows_quarantine) == (ROWS, 0)
        where = Range(batch.offsets.first, batch.offsets.last)
        assert len(store.stored(batch.log, where).events) == ROWS
        assert unlisted(store) == []
        store.close()
    assert trapped, "no kill fell between the token and its part"
