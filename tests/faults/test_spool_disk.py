"""The disk under the spool: fsynced before anybody is told, and a full one that loses nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_producers.ports import SpoolUnavailable
from audit_producers.spool import Spool
from tests.support.disks import Disk, mount
from tests.support.emitting import Emitters, assert_delivered, emit
from tests.support.spools import acknowledge, entries, read_all
from tests.support.waiting import eventually

EMITTER = """
import sys
from pathlib import Path
from audit_producers import AuditLog, ProducerSettings

class Nowhere:
    def send(self, topic, key, value, delivered): pass
    def abandon(self): pass

settings = ProducerSettings(spool_dir=Path(sys.argv[1]), adopt_interval_s=0)
log = AuditLog("s", settings=settings, transport=lambda _: Nowhere())
for number in range(5):
    receipt = log.emit("file.downloaded", workspace_id="w1", actor={"type": "system"}, source="api")
    receipt.wait_durable(20)
    print(f"durable {number}", flush=True)
log.close(0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; .ci/run installs it")
def test_a_receipt_says_durable_only_after_the_fsync(tmp_path: Path) -> None:
    """The kernel's own record: whatever was written to the spool and its log was synced before the receipt said so.

    Before the first receipt the folder and the one it was made in were, too: a file is found only if they are.
    """
    folder, trace = tmp_path / "new" / "spool", tmp_path / "trace"
    calls = "trace=pwrite64,write,fsync,fdatasync,mkdir,openat"
    subprocess.run(
        ["strace", "-f", "-y", "-s", "16", "-o", trace, "-e", calls, sys.executable, "-c", EMITTER, folder],
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    unsynced: set[str] = set()
    synced: set[str] = set()
    told = 0
    for line in trace.read_text().splitlines():
        call = re.match(r"\d+ +(\w+)\(\d+<([^>]*)>", line)
        if call is None:
            continue
        name, path = call.groups()
        if name == "pwrite64" and ".spool" in path:
            unsynced.add(path)
        elif name in ("fsync", "fdatasync"):
            assert line.endswith("= 0"), line
            unsynced.discard(path)
            synced.add(path)
        elif '"durable ' in line:
            told += 1
            assert not unsynced, f"receipt {told} was told before {unsynced} was synced"
            assert {str(folder), str(folder.parent), str(tmp_path)} <= synced
    assert told == 5
    assert any(path.endswith(".spool-wal") for path in synced)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Two mebibytes."""
    with mount(tmp_path / "disk", "2m") as mounted:
        made = Disk(tmp_path / "disk", mounted)
        yield made
        made.free()


def test_a_full_disk_refuses_the_whole_commit_and_works_again_with_room(disk: Disk) -> None:
    """Wherever in the commit the disk gets full: what was there is there, the counts too, and nothing half."""
    spool = Spool(disk.folder / "i.spool")
    spool.commit(entries(range(10), size=500), (), 0)
    held = (spool.events, spool.bytes, spool.oldest_ms)
    for spare in (0, 4096, 5 * 4096, 20 * 4096):
        disk.fill(spare)
        with pytest.raises(SpoolUnavailable):
            spool.commit(entries(range(10, 210), size=2000), acknowledge(read_all(spool)), 0)
        assert (spool.events, spool.bytes, spool.oldest_ms) == held
        assert [entry.seq for entry in read_all(spool)] == list(range(10))
        disk.free()
    spool.commit(entries(range(10, 210), size=2000), (), 0)
    spool.close()
    again = Spool(disk.folder / "i.spool")
    assert [entry.seq for entry in read_all(again)] == list(range(210))
    again.close()


def test_a_spool_cannot_be_made_on_a_full_disk_but_later(disk: Disk) -> None:
    """What was begun of the file is in nobody's way."""
    disk.fill()
    with pytest.raises(SpoolUnavailable):
        Spool(disk.folder / "i.spool").commit(entries([0]), (), 0)
    disk.free()
    spool = Spool(disk.folder / "i.spool")
    spool.commit(entries([0]), (), 0)
    spool.close()


def test_a_process_outlives_a_full_disk_without_losing_an_event(disk: Disk) -> None:
    """Kafka is down and the disk is full: events wait in memory; then one of the two comes back, and later the other."""
    emitters = Emitters(disk.folder / "spool")
    emitters.broker.set(up=False)
    log = emitters.log()
    receipts = emit(log, 50)
    receipts[-1].wait_durable(10)
    disk.fill()
    receipts += emit(log, 500, metadata={"padding": ["x" * 500]})
    eventually(lambda: "can't be used" in str(log.stats().alarm), 10, "the alarm is raised")
    assert receipts[-1].state == "pending"
    disk.free()
    assert {receipt.wait_durable(10) for receipt in receipts} == {"spooled"}
    eventually(lambda: log.stats().alarm is None, 10, "the alarm is over")
    disk.fill()
    more = emit(log, 500, metadata={"padding": ["x" * 500]})
    emitters.broker.set(up=True)
    assert log.flush(20) == 0, "Kafka keeps them just as well"
    assert_delivered(emitters.broker.events, receipts + more)
    assert log.close(5) == 0
    assert not list((disk.folder / "spool").iterdir()), "a full disk takes no removal, the file went as a whole"
