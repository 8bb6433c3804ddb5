"""The folder of spools: one owner per file, orphans at once, and nothing asked of process ids."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audit_producers import folder
from audit_producers.entry import Batch
from audit_producers.forks import unforked
from audit_producers.own_spool import OwnSpool
from audit_producers.ports import SpoolUnavailable
from audit_producers.spool import Spool
from tests.support.spools import entries, flip, make_spool, read_file


@contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """A forked process that has done `work` and lives until the block ends, when it is killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(writing, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"!", "the child failed"
        yield pid
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def claimed(where: Path, name: str) -> folder.Claim:
    claim = folder.claim(where, name)
    assert claim is not None
    return claim


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def names(where: Path) -> list[str]:
    return sorted(path.name for path in where.iterdir())


def test_a_spool_has_one_owner_within_a_process(tmp_path: Path) -> None:
    """Two logs of one process never share a file; what was released can be had again; nothing stays open."""
    before = open_files()
    claim = claimed(tmp_path, "a")
    assert folder.claim(tmp_path, "a") is None
    claimed(tmp_path, "b").release(remove=True)
    claim.release(remove=False)
    claimed(tmp_path, "a").release(remove=True)
    assert (names(tmp_path), open_files()) == ([], before)


def test_a_spool_has_one_owner_among_processes_and_none_after_its_death(tmp_path: Path) -> None:
    """The claim ends with the process, SIGKILL or not, and the spool is an orphan at once."""
    make_spool(tmp_path / "a.spool", range(3))
    with child(lambda: claimed(tmp_path, "a")):
        assert folder.claim(tmp_path, "a") is None
        assert list(folder.orphans(tmp_path)) == []
    (orphan,) = folder.orphans(tmp_path)
    assert (orphan.name, orphan.spool) == ("a", tmp_path / "a.spool")
    orphan.release(remove=False)
    assert names(tmp_path) == ["a.lock", "a.spool"]


def test_a_forked_child_does_not_inherit_the_claim(tmp_path: Path) -> None:
    """A child that outlives its parent's claim does not keep the spool from the next process."""
    claim = claimed(tmp_path, "a")
    with child(lambda: None):
        assert folder.claim(tmp_path, "a") is None, "the fork has not ended the parent's claim"
        claim.release(remove=False)
        claimed(tmp_path, "a").release(remove=True)


def test_no_fork_comes_between_the_opening_of_a_lock_file_and_its_being_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that is forked by another thread at that instant would carry the file on without knowing it."""
    opened = os.open
    forks: list[bool] = []

    def fork_could_begin() -> bool:
        found: list[bool] = []

        def fork() -> None:
            # What `os.fork` does first on any thread.
            found.append(unforked.acquire(blocking=False))
            if found[0]:
                unforked.release()

        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        return found[0]

    def watched(path: Path, *rest: int) -> int:
        number = opened(path, *rest)
        forks.append(fork_could_begin())
        return number

    monkeypatch.setattr(os, "open", watched)
    claimed(tmp_path, "a").release(remove=True)
    assert (forks, fork_could_begin()) == ([False], True)


def test_a_lock_that_was_removed_meanwhile_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening a lock file and locking it, its owner may have removed it: the lock is then on nothing."""
    owner = claimed(tmp_path, "a")
    locked = fcntl.flock
    before = open_files()

    def removed_before(number: int, how: int) -> None:
        if owner is not None:
            owner.release(remove=True)
            monkeypatch.setattr(fcntl, "flock", locked)
        locked(number, how)

    monkeypatch.setattr(fcntl, "flock", removed_before)
    assert folder.claim(tmp_path, "a") is None
    assert open_files() == before - 1, "the owner's file and no other was closed"
    claimed(tmp_path, "a").release(remove=True)


def test_a_lock_that_was_made_anew_meanwhile_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is in use again, under another file: two processes never both believe that they have it."""
    owner = claimed(tmp_path, "a")
    locked = fcntl.flock
    new: list[folder.Claim] = []

    def replaced_before(number: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", locked)
        owner.release(remove=True)
        new.append(claimed(tmp_path, "a"))
        locked(number, how)

    monkeypatch.setattr(fcntl, "flock", replaced_before)
    assert folder.claim(tmp_path, "a") is None
    assert folder.claim(tmp_path, "a") is None, "the new owner has it"
    new[0].release(remove=True)


def test_a_lock_that_the_file_system_refuses_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems know no locks: nobody may take that for a free spool; nothing stays open."""
    before = open_files()

    def refused(number: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(SpoolUnavailable, match="No locks available"):
        folder.claim(tmp_path, "a")
    assert open_files() == before


def test_what_a_process_left_before_it_had_a_spool_is_tidied(tmp_path: Path) -> None:
    """A lock without a spool, also with the log of a spool that was removed half; a lock that is held stays."""
    (tmp_path / "died.lock").touch()
    (tmp_path / "half.lock").touch()
    (tmp_path / "half.spool-wal").touch()
    starting = claimed(tmp_path, "starting")
    assert list(folder.orphans(tmp_path)) == []
    assert names(tmp_path) == ["starting.lock"]
    starting.release(remove=True)


def test_an_orphan_that_its_owner_removes_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look into the folder and the lock, a process may end in order."""
    make_spool(tmp_path / "a.spool", [0])
    make_spool(tmp_path / "b.spool", [0])
    found = folder.orphans(tmp_path)
    first = next(found)
    (tmp_path / "b.spool").unlink()
    assert list(found) == []
    assert names(tmp_path) == ["a.lock", "a.spool"]
    first.release(remove=True)
    assert names(tmp_path) == []


def test_setting_aside_keeps_the_spool_with_its_log(tmp_path: Path) -> None:
    """The log may hold what the file does not have yet; a second one of the same name replaces nothing."""
    for content in ("one", "two"):
        claim = claimed(tmp_path, "a")
        claim.spool.write_text(content)
        claim.spool.with_name("a.spool-wal").write_text(content + " log")
        aside = claim.set_aside()
        assert (aside.read_text(), aside.with_name(aside.name + "-wal").read_text()) == (content, content + " log")
    assert names(tmp_path) == ["a.damaged", "a.damaged-wal", "a.damaged1", "a.damaged1-wal"]
    assert list(folder.orphans(tmp_path)) == []


def test_a_spool_that_was_set_aside_can_still_be_opened(tmp_path: Path) -> None:
    """Who mends it finds every event, also those that only the log has."""
    claim = claimed(tmp_path, "a")
    with child(lambda: Spool(claim.spool).commit(entries(range(5)), (), 0)):
        pass
    assert (tmp_path / "a.spool-wal").stat().st_size
    assert [entry.seq for entry in read_file(claim.set_aside())] == [0, 1, 2, 3, 4]


def test_names_and_ages_of_processes_mean_nothing(tmp_path: Path) -> None:
    """A name that is this process's id, or that of no process, is an orphan when nobody holds it, and only then."""
    for name in (str(os.getpid()), "1", "999999999"):
        make_spool(tmp_path / f"{name}.spool", [0])
    held = claimed(tmp_path, "999999999")
    found = [claim.name for claim in folder.orphans(tmp_path)]
    assert sorted(found) == sorted([str(os.getpid()), "1"])
    held.release(remove=True)


def test_the_folder_is_made_with_its_parents_for_its_owner(tmp_path: Path) -> None:
    """It may be there already; what can't be one is an error."""
    made = tmp_path / "x" / "spool"
    folder.prepare(made)
    folder.prepare(made)
    assert made.stat().st_mode & 0o077 == 0
    (tmp_path / "file").touch()
    for impossible in (tmp_path / "file", tmp_path / "file" / "spool"):
        with pytest.raises(SpoolUnavailable):
            folder.prepare(impossible)
        with pytest.raises(SpoolUnavailable):
            folder.claim(impossible, "a")


def test_an_empty_spool_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither before the first event nor after the last one was removed."""
    own = OwnSpool(tmp_path, "a")
    own.close()
    given = entries(range(3))
    own.commit(given, (), 0)
    assert (own.events, own.oldest_ms) == (3, 0)
    own.commit((), batches(own), 0)
    own.close()
    assert names(tmp_path) == []


def test_a_spool_that_holds_events_is_left_for_the_next(tmp_path: Path) -> None:
    """Its file can be claimed at once."""
    own = OwnSpool(tmp_path, "a")
    own.commit(entries(range(3)), (), 0)
    assert list(folder.orphans(tmp_path)) == []
    own.close()
    (orphan,) = folder.orphans(tmp_path)
    assert [entry.seq for entry in read_file(orphan.spool)] == [0, 1, 2]
    orphan.release(remove=True)


def test_a_spool_that_holds_damage_is_set_aside(tmp_path: Path) -> None:
    """Damage is kept for people; while good events are beside it, the next process sends those first."""
    make_spool(tmp_path / "a.spool", range(3), range(3, 6))
    flip(tmp_path / "a.spool", b"<event 00000001>")
    own = OwnSpool(tmp_path, "a")
    own.commit((), (), 0)
    assert own.read(-1)[1] == [1]
    own.close()
    assert "a.spool" in names(tmp_path)
    own = OwnSpool(tmp_path, "a")
    own.commit((), (), 0)
    own.commit((), batches(own), 0)
    own.close()
    assert names(tmp_path) == ["a.damaged"]


def test_a_file_of_which_nothing_is_needed_can_be_dropped(tmp_path: Path) -> None:
    """Whatever else waits in it, it stays."""
    own = OwnSpool(tmp_path, "a")
    own.commit(entries(range(3)), (), 0)
    first = batches(own)
    own.commit(entries(range(3, 6)), (), 0)
    assert not own.discard_when_only(first)
    assert own.discard_when_only(batches(own))
    assert (names(tmp_path), own.events) == ([], 0)
    own.commit(entries(range(6, 9)), (), 0)
    assert not own.discard_when_only(first), "batches of the file before"
    own.close()


def test_a_lock_that_is_held_for_an_instant_does_not_disturb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tidies the folder may have a lock file that is just being made; a lasting owner is an error."""
    own = OwnSpool(tmp_path, "a")
    held = claimed(tmp_path, "a")
    with pytest.raises(SpoolUnavailable, match="another process has the spool a"):
        own.commit(entries([0]), (), 0)
    locked = fcntl.flock

    def released_after(number: int, how: int) -> None:
        try:
            locked(number, how)
        except BlockingIOError:
            held.release(remove=True)
            raise

    monkeypatch.setattr(fcntl, "flock", released_after)
    own.commit(entries([0]), (), 0)
    own.close()


def batches(own: OwnSpool) -> list[Batch]:
    """All that are in it."""
    found = {id(entry.batch): entry.batch for entry in own.read(-1)[0]}
    return [batch for batch in found.values() if batch is not None]
