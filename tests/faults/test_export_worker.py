"""Export workers that are killed, suspended and stopped, meet a full disk and clocks that jump: the files are the same."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tests.support.disks import Disk, mount
from tests.support.exports import (
    Turns,
    WorkerProcess,
    ask,
    events,
    files_of,
    make_key,
    put,
    settings_of,
    worker_process,
)
from tests.support.mortal import run_and_die
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from audit_query.exports.job import Part
    from audit_query.exports.leases import Held
    from tests.support.query_service import QueryService
    from tests.support.servers import ClickHouseServer

KILLS = 50
EVENTS = 90


@pytest.fixture
def client(query: QueryService) -> httpx.Client:
    """Of a workspace with some events, some of them sent twice, and a key to sign with."""
    make_key(query)
    found = events(EVENTS)
    put(query, [*found, *found[::7]])
    return query.client()


def job_of(client: httpx.Client, export_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/exports/{export_id}").json()
    return found


def undisturbed(query: QueryService, client: httpx.Client, part_rows: int = 30) -> dict[str, Any]:
    """A job that nothing happened to."""
    job = ask(client).json()
    with Turns(query, settings_of(query, export_part_rows=part_rows)) as worker:
        worker.all()
    return job_of(client, job["id"])


def hashes(job: dict[str, Any]) -> list[tuple[int, str]]:
    return [(part["rows"], part["sha256"]) for part in job["parts"]]


def lasting(manifest: dict[str, Any]) -> dict[str, Any]:
    """What of a manifest does not depend on when and how often it was tried."""
    kept = {name: value for name, value in manifest.items() if not name.endswith(("_at", "export_id", "attempts"))}
    return kept | {"parts": [part | {"file": ""} for part in manifest["parts"]]}


@pytest.mark.timeout(400)
def test_a_worker_killed_at_any_point_changes_no_byte(query: QueryService, client: httpx.Client) -> None:
    """Fifty kills: finished parts stay, and parts, counts and keys are those of a job that nothing happened to."""
    expected = undisturbed(query, client, part_rows=9)
    settings = settings_of(
        query, export_part_rows=9, export_lease_s=0.1, export_poll_s=0.02, export_tries=10_000, self_audit=False
    )
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(["tests.support.mortal"])
    dice, kills = random.Random(7), 0
    while kills < KILLS:
        job: dict[str, Any] = ask(client).json()
        before: list[dict[str, Any]] = []
        while job["state"] in ("queued", "running"):
            process = forked.Process(target=run_and_die, args=(settings, dice.randrange(100, 3000)))
            process.start()
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
            kills += 1
            job = job_of(client, job["id"])
            assert job["parts"][: len(before)] == before, "finished parts stay as they are"
            before = job["parts"]
        assert (job["state"], hashes(job)) == ("done", hashes(expected))
        files_of(client, job)
        folder = query.folder / "exports" / job["id"]
        assert len(list(folder.iterdir())) == len(job["parts"]), "nothing half is left"
        manifests = [client.get(f"/v1/exports/{one['id']}/manifest").json() for one in (job, expected)]
        assert lasting(manifests[0]) == lasting(manifests[1])
        told = manifests[0]["attempts"]
        assert (len(told), told[-1]["ended"]) == (job["attempts"], "done")
        assert {one["ended"] for one in told[:-1]} <= {"interrupted"}


def test_workers_that_race_make_each_part_once(query: QueryService, client: httpx.Client) -> None:
    """Whoever claims first works; the others find nothing to do, and nobody's attempt is told to have failed."""
    expected = undisturbed(query, client)
    job = ask(client).json()
    settings = settings_of(query, export_part_rows=30)
    with Turns(query, settings, "a") as first, Turns(query, settings, "b") as second, ThreadPoolExecutor(2) as together:
        while job_of(client, job["id"])["state"] != "done":
            assert any(together.map(lambda worker: worker.once(), (first, second)))
    job = job_of(client, job["id"])
    assert (hashes(job), job["attempts"]) == (hashes(expected), 1)
    files_of(client, job)


def paused_outside_a_transaction(query: QueryService, worker: WorkerProcess) -> bool:
    """Else nobody could write to SQLite, which is no question of leases; then it goes on."""
    worker.pause()
    with contextlib.closing(sqlite3.connect(query.folder / "control.db", timeout=0.1)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            worker.resume()
            return False
    return True


def test_a_worker_that_was_taken_over_deletes_no_file_of_the_next(query: QueryService, client: httpx.Client) -> None:
    """It woke before it tidied the folder up, and knows nothing of what was made since."""
    job = ask(client).json()
    settings = settings_of(query, export_part_rows=30)
    with Turns(query, settings, "late") as late, Turns(query, settings, "next") as other:
        assert late.once()
        held = late.assembled.worker._claim()
        assert not other.once()
        other.monotonic.now += settings.export_lease_s
        assert other.all() == 2
        late.run(late.assembled.worker._work.turn(held))
    job = job_of(client, job["id"])
    assert (job["state"], job["rows_done"]) == ("done", EVENTS)
    files_of(client, job)


def test_a_suspended_worker_finds_its_job_taken_over(query: QueryService, client: httpx.Client, tmp_path: Path) -> None:
    """It writes nothing more when it wakes: neither rows nor files."""
    expected = undisturbed(query, client)
    # The process goes by the real clock, by which files of the test's noon are old.
    settings = settings_of(query, export_part_rows=30, export_days=3650, self_audit=False)
    job = ask(client).json()
    with worker_process(settings, tmp_path / "worker.log") as suspended, Turns(query, settings, "other") as other:
        eventually(lambda: job_of(client, job["id"])["parts"], 30, "the first worker has begun")
        eventually(lambda: paused_outside_a_transaction(query, suspended), 30, "the first worker is suspended")

        def taken_over() -> bool:
            # It may have been suspended between two parts, when nobody holds the job.
            other.once()
            other.monotonic.now += 1
            return bool(job_of(client, job["id"])["state"] == "done")

        eventually(taken_over, 60, "the other worker has finished")
        done = job_of(client, job["id"])
        suspended.resume()
        again = ask(client).json()
        eventually(lambda: job_of(client, again["id"])["state"] == "done", 60, "the first worker goes on with others")
        assert job_of(client, job["id"]) == done
    assert hashes(done) == hashes(expected) == hashes(job_of(client, again["id"]))
    files_of(client, done)


def test_no_jump_of_a_clock_takes_a_job_from_its_worker(query: QueryService, client: httpx.Client) -> None:
    """Only silence does, measured by a clock that does not jump; and no job waits for a clock to catch up."""
    expected = undisturbed(query, client)
    job = ask(client).json()
    settings = settings_of(query, export_part_rows=30, export_backoff_s=300)
    with Turns(query, settings, "a") as holder, Turns(query, settings, "b") as other:
        held = holder.assembled.worker._claim()
        assert held is not None
        for jump in (timedelta(days=400), timedelta(days=-800)):
            query.clock.now += jump
            assert not other.once(), "it is held"
        other.monotonic.now += settings.export_lease_s
        # An attempt fails, the clock is set back a year: the wait is over.
        hidden = query.folder / "exports"
        hidden.mkdir(exist_ok=True)
        hidden.rename(query.folder / "aside")
        hidden.write_text("no folder")
        assert other.once()
        hidden.unlink()
        (query.folder / "aside").rename(hidden)
        assert not other.once(), "it waits"
        query.clock.now -= timedelta(days=365)
        while other.once():
            query.clock.now -= timedelta(hours=1)
    job = job_of(client, job["id"])
    assert (job["state"], hashes(job)) == ("done", hashes(expected))
    assert job["attempts"] == 3
    files_of(client, job)


@pytest.fixture
def disk(query: QueryService) -> Iterator[Disk]:
    """Four mebibytes for the files of exports."""
    with mount(query.folder / "exports", "4m") as mounted:
        made = Disk(query.folder / "exports", mounted)
        yield made
        made.free()


def test_a_full_disk_leaves_no_half_file_and_is_tried_again(query: QueryService, disk: Disk) -> None:
    """The attempt is told to have failed for it; with room the job is done; without, it fails and can be retried."""
    make_key(query)
    put(query, events(3000, metadata={"text": "".join(random.Random(3).choices("0123456789abcdef", k=400))}))
    client = query.client()
    job = ask(client, format="parquet").json()
    with Turns(query, settings_of(query, export_part_rows=1000, export_tries=2)) as worker:
        assert worker.once()
        disk.fill(spare=8192)
        assert worker.once()
        found = job_of(client, job["id"])
        assert (found["state"], len(found["parts"])) == ("running", 1)
        names = {path.name for path in (disk.folder / job["id"]).iterdir()}
        assert len(names) == 1, names
        assert worker.once()
        found = job_of(client, job["id"])
        assert (found["state"], found["error"]["type"], found["rows_done"]) == ("failed", "disk-full", 1000)
        disk.free()
        assert client.post(f"/v1/exports/{job['id']}/retry").status_code == 202
        worker.all()
    found = job_of(client, job["id"])
    assert (found["state"], found["rows_done"], found["error"]) == ("done", 3000, None)
    told = client.get(f"/v1/exports/{job['id']}/manifest").json()["attempts"]
    assert [one["ended"] for one in told] == ["failed", "failed", "done"]
    assert told[0]["reason"].startswith("disk-full: ")
    files_of(client, found)


def test_a_part_that_is_gone_is_made_again(query: QueryService, client: httpx.Client) -> None:
    """With everything behind it, byte for byte; what nobody recorded is deleted."""
    expected = undisturbed(query, client)
    job = ask(client).json()
    with Turns(query, settings_of(query, export_part_rows=30)) as worker:
        for _ in range(2):
            assert worker.once()
        folder = query.folder / "exports" / job["id"]
        next(path for path in folder.iterdir() if path.name.startswith("part-00001")).unlink()
        (folder / ".part-00009-1.csv.gz.tmp").write_bytes(b"half")
        (folder / "part-00009-1.csv.gz").write_bytes(b"never recorded")
        worker.all()
    job = job_of(client, job["id"])
    assert hashes(job) == hashes(expected)
    assert len(list(folder.iterdir())) == len(job["parts"])
    files_of(client, job)


def test_a_job_begins_anew_when_the_software_is_changed(query: QueryService, client: httpx.Client) -> None:
    """Its parts would not fit together: labels and local times may be others."""
    expected = undisturbed(query, client)
    job = ask(client).json()
    with Turns(query, settings_of(query, export_part_rows=30)) as worker:
        assert worker.once()
        with query.access.engine.begin() as connection:
            connection.execute(text("UPDATE exports SET fixed = replace(fixed, :now, 'earlier')"), {"now": "2026"})
        put(query, events(1, workspace_id="w1"))
        assert worker.once()
        assert job_of(client, job["id"])["rows_done"] == 30
        worker.all()
    job = job_of(client, job["id"])
    assert hashes(job) == hashes(expected)
    assert len(list((query.folder / "exports" / job["id"]).iterdir())) == len(job["parts"])


def test_a_worker_that_lost_its_job_leaves_no_file(query: QueryService, client: httpx.Client) -> None:
    """The part was finished, and cancelled before it was recorded."""
    job = ask(client).json()
    with Turns(query, settings_of(query, export_part_rows=30)) as worker:
        leases = worker.assembled.worker._leases
        record = leases.record

        def cancelled_first(held: Held, part: Part) -> Held:
            client.post(f"/v1/exports/{job['id']}/cancel")
            found: Held = record(held, part)
            return found

        leases.record = cancelled_first
        assert worker.once()
        worker.tidy()
    assert list((query.folder / "exports" / job["id"]).iterdir()) == []
    told = client.get(f"/v1/exports/{job['id']}/manifest").json()
    assert (told["outcome"], told["parts"]) == ("cancelled", [])


def test_a_job_outlives_clickhouse(query: QueryService, client: httpx.Client, clickhouse: ClickHouseServer) -> None:
    """Attempts fail while it is away, and the job goes on when it is back."""
    expected = undisturbed(query, client)
    job = ask(client).json()
    with Turns(query, settings_of(query, export_part_rows=30)) as worker:
        assert worker.once()
        clickhouse.kill()
        try:
            assert worker.once()
            assert job_of(client, job["id"])["state"] == "running"
        finally:
            clickhouse.start()
        worker.all()
    job = job_of(client, job["id"])
    assert (job["state"], job["attempts"], hashes(job)) == ("done", 2, hashes(expected))


def test_a_worker_that_is_stopped_gives_its_job_back(query: QueryService, client: httpx.Client, tmp_path: Path) -> None:
    """At once, so that nobody has to wait for its silence; the process ends well."""
    settings = settings_of(query, export_part_rows=30, export_lease_s=600, self_audit=False)
    job = ask(client).json()
    with worker_process(settings, tmp_path / "worker.log") as process:
        eventually(lambda: job_of(client, job["id"])["parts"], 30, "the worker has begun")
        process.terminate()
        assert process.wait(20) == 0, process.end_of_log()
    with Turns(query, settings, "next") as other:
        other.all()
    assert job_of(client, job["id"])["state"] == "done"


def test_a_worker_without_a_key_does_not_start(query: QueryService, tmp_path: Path) -> None:
    """It says what to do."""
    process = WorkerProcess(settings_of(query, self_audit=False), tmp_path / "worker.log")
    process.start()
    assert process.wait(30) == 1
    assert "audit-log signing-keys create" in process.end_of_log()
