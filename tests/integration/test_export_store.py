"""The contract of the tables of exports, on SQLite and on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from audit_infra.access import Access
from audit_query.exports.choosing import Candidate
from audit_query.exports.form import Form
from audit_query.exports.job import Asked, Attempt, Error, Export, Fixed, Part, Requester, Versions
from audit_query.exports.keys import KeyProblem, Keys, verify
from audit_query.exports.leases import TAKEN_OVER, Held, Leases, Lost
from audit_query.exports.part import Key, Position
from audit_query.exports.store import ExportStore, KeyReused, Proof, QueueFull, WrongState
from audit_query.filters import parse
from tests.builders import NOON

if TYPE_CHECKING:
    from pathlib import Path

KEEP = timedelta(days=7)
FIXED = Fixed((Position("audit.files", "t1", 0, 9),), None, Versions("1", "a", "b", "2026c"), 4, 0, 0, 0)


@pytest.fixture(params=["sqlite", "postgresql"])
def access(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Access]:
    """An empty control database."""
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    found = Access.open(postgres.database() if postgres else f"sqlite:///{tmp_path}/control.db")
    yield found
    found.close()


@pytest.fixture
def store(access: Access) -> ExportStore:
    return ExportStore(access.engine)


@pytest.fixture
def leases(access: Access) -> Leases:
    return Leases(access.engine)


def export(workspace: str = "w1", **changes: Any) -> Export:
    """A job that was just asked for, with texts that databases like to stumble over."""
    filter_, _, _ = parse(
        [("meta.k", "a\0b"), ("event", "ü'\""), ("since", "24h"), ("tz", "Europe/Berlin")], NOON, paging=False
    )
    asked = Asked(
        Requester("api_key", "k1", "Ada", "alk_AbCdEfGh"), "enterprise", True, Form(), (("meta.k", ("a\0b",)),), filter_
    )
    return replace(Export(uuid.uuid4().hex, workspace, "job", "queued", asked, NOON), **changes)


def part(number: int, following: bool = True) -> Part:
    first, last = Key(9 - number, str(uuid.UUID(int=1))), Key(8 - number, str(uuid.UUID(int=2)))
    return Part(number, f"p{number}", 2, 10, 20, "a" * 64, "b" * 64, 1, 3, first, last, last if following else None)


def queue(store: ExportStore, workspace: str = "w1", **changes: Any) -> Export:
    return store.create(export(workspace, **changes), uuid.uuid4().hex, "h", 20)[0]


def only(leases: Leases) -> Candidate:
    (found,), _ = leases.candidates()
    return found


def claim(leases: Leases, worker: str = "a") -> Held:
    held = leases.claim(only(leases), worker, NOON, 2)
    assert held is not None
    return held


def test_a_job_comes_back_as_it_was_asked_for(store: ExportStore) -> None:
    """For its workspace alone."""
    made = queue(store)
    assert store.get("w1", made.id) == made
    assert store.get("w2", made.id) is None
    assert store.proof("w2", made.id) is None


def test_the_same_key_makes_one_job(store: ExportStore) -> None:
    """Also of requests that come at the same time; another body is refused; another workspace's key is another one."""
    with ThreadPoolExecutor(8) as together:
        made = list(together.map(lambda _: store.create(export(), "key-1234", "h", 20), range(8)))
    assert sorted(new for _, new in made) == [False] * 7 + [True]
    assert len({one.id for one, _ in made}) == 1
    with pytest.raises(KeyReused):
        store.create(export(), "key-1234", "other", 20)
    with pytest.raises(KeyReused):
        store.asked_before("w1", "key-1234", "other")
    assert store.create(export("w2"), "key-1234", "other", 20)[1]
    assert store.asked_before("w3", "key-1234", "h") is None


def test_the_queue_of_a_workspace_has_an_end(store: ExportStore, leases: Leases) -> None:
    """What runs has left it; other workspaces have their own. Of many requests at once none goes beyond."""
    with ThreadPoolExecutor(8) as together:

        def ask(number: int) -> bool:
            try:
                return store.create(export(), f"key-{number:04}", "h", 3)[1]
            except QueueFull:
                return False

        assert sum(together.map(ask, range(8))) == 3
    with pytest.raises(QueueFull):
        store.check_room("w1", 3)
    assert store.create(export("w2"), "key-1234", "h", 3)[1]
    candidates, _ = leases.candidates()
    assert leases.claim(next(one for one in candidates if one.workspace_id == "w1"), "a", NOON, 2) is not None
    store.check_room("w1", 3)


def test_jobs_are_listed_newest_first_page_by_page(store: ExportStore) -> None:
    """Those of the same instant too, each once, with their parts."""
    made = [queue(store, requested_at=NOON + timedelta(seconds=number // 2)) for number in range(5)]
    queue(store, "w2")
    store.begin_stream(export(kind="stream", state="running"))
    expected = sorted(made, key=lambda one: (one.requested_at, one.id), reverse=True)
    first = store.jobs("w1", None, 2)
    assert first + store.jobs("w1", first[-1], 10) == expected


def test_one_of_two_workers_gets_the_job(store: ExportStore, leases: Leases) -> None:
    """Whoever saw it as it was before the other's claim gets nothing, however many try."""
    queue(store)
    seen = only(leases)
    with ThreadPoolExecutor(8) as together:
        claims = list(together.map(lambda number: leases.claim(seen, f"w{number}", NOON, 2), range(8)))
    assert sum(one is not None for one in claims) == 1
    assert leases.claim(only(leases), "late", NOON, 2) is not None, "it may be taken over as it is seen now"


def test_no_more_jobs_of_a_workspace_run_than_may(store: ExportStore, leases: Leases) -> None:
    """Also when several workers claim different ones at once."""
    for _ in range(5):
        queue(store)
    candidates, _ = leases.candidates()
    with ThreadPoolExecutor(5) as together:
        claims = list(together.map(lambda one: leases.claim(one, one.id, NOON, 2), candidates))
    assert sum(one is not None for one in claims) == 2


def test_who_was_taken_over_writes_nothing_more(store: ExportStore, leases: Leases) -> None:
    """No part, no end, no beat; the attempt is told to have been interrupted."""
    made = queue(store)
    late = leases.fix(claim(leases, "late"), FIXED)
    assert leases.beat(late)
    now = claim(leases, "next")
    assert not leases.beat(late)
    for write in (
        lambda: leases.record(late, part(1)),
        lambda: leases.fix(late, FIXED),
        lambda: leases.forget_parts(late, 1),
        lambda: leases.try_again(late, "x", NOON, KEEP),
        lambda: leases.end(replace(late.export, state="done", finished_at=NOON), late, Proof(b"m", b"s"), KEEP),
    ):
        with pytest.raises(Lost):
            write()
    leases.release(late, NOON, "x")
    found = store.get("w1", made.id)
    assert found is not None
    assert (found.state, found.parts) == ("running", ())
    assert [(one.ended, one.reason) for one in found.attempts] == [("interrupted", TAKEN_OVER), (None, "")]
    assert now.failures == 1
    assert leases.record(now, part(1)).failures == 0


def test_an_attempt_goes_on_where_a_job_was_given_back(store: ExportStore, leases: Leases) -> None:
    """Between parts it belongs to nobody; turns are counted over all claims."""
    made = queue(store)
    held = leases.record(leases.fix(claim(leases), FIXED), part(1))
    leases.release(held, NOON)
    assert only(leases).worker is None
    again = claim(leases, "b")
    assert again.export.parts == (part(1),)
    assert again.export.fixed == FIXED
    assert len(again.export.attempts) == 1
    assert leases.candidates()[1] == {"w1": 2}
    leases.release(again, NOON, "stopped")
    assert len(claim(leases).export.attempts) == 2
    assert store.get("w1", made.id) is not None


def test_a_failed_attempt_waits_and_is_told(store: ExportStore, leases: Leases) -> None:
    """The next claim is another attempt."""
    queue(store)
    leases.try_again(claim(leases), "disk-full: no room", NOON, timedelta(seconds=9))
    assert only(leases).not_before == int(NOON.timestamp() * 1000) + 9000
    again = claim(leases)
    assert (again.failures, [one.ended for one in again.export.attempts]) == (1, ["failed", None])


def test_an_end_is_one_step(store: ExportStore, leases: Leases) -> None:
    """State, manifest and what is left to do appear together; then the job is no candidate any more."""
    made = queue(store)
    held = leases.record(claim(leases), part(1, following=False))
    error = Error("disk-full", "no room")
    leases.end(replace(held.export, state="failed", finished_at=NOON, error=error), held, Proof(b"m", b"s"), KEEP)
    found = store.get("w1", made.id)
    assert found is not None
    assert (found.state, found.error, found.expires_at, found.signed) == ("failed", error, NOON + KEEP, True)
    assert store.proof("w1", made.id) == Proof(b"m", b"s")
    assert leases.candidates() == ([], {})
    assert [one.id for one in leases.untold()] == [made.id]
    leases.told(found)
    assert leases.untold() == []
    assert leases.outdated(NOON + KEEP - timedelta(seconds=1)) == []
    assert [one.id for one in leases.outdated(NOON + KEEP)] == [made.id]
    leases.cleared(found)
    assert leases.outdated(NOON + KEEP) == []


def test_a_cancelled_job_is_lost_to_its_worker_and_signed_later(store: ExportStore, leases: Leases) -> None:
    """Its parts stay; one that never started needs no manifest; what has ended can't be cancelled."""
    made = queue(store)
    held = leases.record(claim(leases), part(1))
    assert store.cancel("w2", made.id, NOON) is None
    cancelled = store.cancel("w1", made.id, NOON)
    assert cancelled is not None
    assert (cancelled.state, cancelled.attempts[-1].ended) == ("cancelled", "cancelled")
    assert store.cancel("w1", made.id, NOON + KEEP) == cancelled
    assert not leases.beat(held)
    with pytest.raises(Lost):
        leases.record(held, part(2))
    assert [one.id for one in leases.unsigned()] == [made.id]
    assert leases.sign(cancelled, Proof(b"m", b"s"), KEEP)
    assert leases.unsigned() == []
    assert not leases.sign(cancelled, Proof(b"other", b"s"), KEEP)
    waiting = queue(store)
    assert store.cancel("w1", waiting.id, NOON) is not None
    assert leases.unsigned() == []
    done = queue(store)
    held = claim(leases)
    leases.end(replace(held.export, state="done", finished_at=NOON), held, Proof(b"m", b"s"), KEEP)
    with pytest.raises(WrongState, match="the export is done"):
        store.cancel("w1", done.id, NOON)
    with pytest.raises(WrongState, match="the export is done"):
        store.retry("w1", done.id, 20)


def test_a_retried_job_keeps_its_parts(store: ExportStore, leases: Leases) -> None:
    """And what was fixed when it started; its manifest comes anew when it ends anew."""
    made = queue(store)
    held = leases.record(leases.fix(claim(leases), FIXED), part(1))
    error = Error("unavailable", "x")
    leases.end(replace(held.export, state="failed", finished_at=NOON, error=error), held, Proof(b"m", b"s"), KEEP)
    assert store.retry("w2", made.id, 20) is None
    again = store.retry("w1", made.id, 20)
    assert again is not None
    assert (again.state, again.error, again.finished_at, again.signed) == ("queued", None, None, False)
    assert store.retry("w1", made.id, 20) == again
    held = claim(leases)
    assert (held.export.parts, held.export.fixed, held.failures) == ((part(1),), FIXED, 0)
    leases.forget_parts(held, 1)
    assert claim(leases).export.parts == ()


def test_a_stream_ends_once(store: ExportStore, leases: Leases) -> None:
    """Whoever comes second changes nothing; one whose process went is aborted after a while."""
    stream = export(kind="stream", state="running", started_at=NOON)
    store.begin_stream(stream)
    attempt = Attempt(1, NOON, NOON, "done")
    store.end_stream(stream.id, part(1, following=False), attempt, "done", NOON)
    store.end_stream(stream.id, part(1, following=False), attempt, "aborted", NOON + KEEP)
    found = store.get("w1", stream.id)
    assert found is not None
    assert (found.state, found.finished_at, len(found.parts)) == ("done", NOON, 1)
    lost = export(kind="stream", state="running", requested_at=NOON - timedelta(hours=3))
    store.begin_stream(lost)
    leases.abandoned_streams(NOON - timedelta(hours=2), NOON)
    assert {one.id: one.state for one in leases.unsigned()} == {stream.id: "done", lost.id: "aborted"}


def test_keys_rotate_and_stay_known(access: Access, tmp_path: Path) -> None:
    """The newest signs; a retired one is gone from the folder, its public half is there for ever; the last one stays."""
    keys, folder = Keys(access.engine), tmp_path / "keys"
    with pytest.raises(KeyProblem, match="signing-keys create"):
        keys.signing(folder)
    first = keys.create(folder, NOON)
    assert (folder.stat().st_mode & 0o777, (folder / f"{first.key_id}.pem").stat().st_mode & 0o777) == (0o700, 0o600)
    signature = keys.signing(folder).sign(b"content")
    with pytest.raises(KeyProblem, match="no other key"):
        keys.retire(folder, first.key_id, NOON)
    second, retired = keys.rotate(folder, NOON + KEEP)
    assert [one.key_id for one in retired] == [first.key_id]
    assert keys.signing(folder).key_id == second.key_id
    assert [(one.key_id, one.retired_at) for one in keys.all()] == [
        (second.key_id, None),
        (first.key_id, NOON + KEEP),
    ]
    assert not (folder / f"{first.key_id}.pem").exists()
    assert keys.retire(folder, first.key_id, NOON + 2 * KEEP).retired_at == NOON + KEEP
    assert verify(first.public_key_pem, b"content", signature)
    assert not verify(second.public_key_pem, b"content", signature)
    assert not verify(first.public_key_pem, b"contents", signature)
    with pytest.raises(KeyProblem, match="no signing key 'nobody'"):
        keys.retire(folder, "nobody", NOON)
