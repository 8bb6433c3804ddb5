"""The file of the durable spool: whole commits or none, in order, and damage that is found and kept."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from audit_producers.entry import Entry
from audit_producers.ports import SpoolDamaged, SpoolUnavailable
from audit_producers.spool import MAX_BATCH_EVENTS, Spool
from tests.support.spools import acknowledge, entries, flip, make_spool, read_all, read_file, rows, value_of

WAL_HEADER, FRAME = 32, 4096 + 24


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A spool that does not exist yet."""
    return tmp_path / "i.spool"


def numbers(found: list[Entry]) -> list[int]:
    return [entry.seq for entry in found]


def test_what_was_committed_comes_back_after_reopening(path: Path) -> None:
    """Number, topic, key and value of every event, in order over several commits; any bytes are a value."""
    given = [
        Entry(0, "audit.files", "w1", b""),
        Entry(1, "audit.crm", "wörkspace", bytes(range(256))),
        *entries(range(2, 50)),
    ]
    spool = Spool(path)
    for start in range(0, 50, 10):
        spool.commit(given[start : start + 10], (), 0)
    spool.close()
    found = read_file(path)
    assert [(one.seq, one.topic, one.key, one.value) for one in found] == [
        (one.seq, one.topic, one.key, one.value) for one in given
    ]


def test_batches_are_runs_of_numbers_of_a_bounded_size(path: Path) -> None:
    """A commit of any size is split: so many events, so many bytes, and where numbers are missing."""
    spool = Spool(path)
    spool.commit([*entries(range(2 * MAX_BATCH_EVENTS + 1)), *entries(range(5000, 5003), size=600_000)], (), 0)
    spool.close()
    found = rows(path, "SELECT first, length(sizes) / 4 FROM batches ORDER BY first")
    assert found == [(0, MAX_BATCH_EVENTS), (MAX_BATCH_EVENTS, MAX_BATCH_EVENTS), (2 * MAX_BATCH_EVENTS, 1)] + [
        (first, 1) for first in (5000, 5001, 5002)
    ]
    assert numbers(read_file(path)) == [*range(2 * MAX_BATCH_EVENTS + 1), 5000, 5001, 5002]


def test_strays_that_are_written_late_come_back_in_their_place(path: Path) -> None:
    """Direct events go to the spool after later ones that were spooled at once; order is that of the numbers."""
    spool = Spool(path)
    spool.commit(entries([3, 4, 10, 11]), (), 0)
    spool.commit(entries([12]), (), 0, strays=entries([0, 1, 5, 9]))
    spool.close()
    assert numbers(read_file(path)) == [0, 1, 3, 4, 5, 9, 10, 11, 12]


def test_reading_can_begin_between_strays_and_the_events_behind_them(path: Path) -> None:
    """Memory has the strays of a commit and reads on behind them: what follows without a hole is found."""
    spool = Spool(path)
    spool.commit(entries(range(10, 20)), (), 0, strays=entries(range(10)))
    assert numbers(spool.read(9)) == list(range(10, 20))
    spool.close()


def test_a_commit_removes_what_is_named_and_nothing_else(path: Path) -> None:
    """Removal and addition are one: the next commit takes away what Kafka has."""
    spool = Spool(path)
    first, second = entries(range(10)), entries(range(10, 20))
    spool.commit(first, (), 0)
    spool.commit(second, (), 0)
    assert acknowledge(first[:-1]) == []
    spool.commit(entries([20]), acknowledge(first[-1:]), 0)
    assert numbers(read_all(spool)) == list(range(10, 21))
    spool.commit((), acknowledge(read_all(spool)), 0)
    assert spool.close(), "everything was removed"


def test_batches_of_another_file_remove_nothing(path: Path, tmp_path: Path) -> None:
    """An answer from Kafka that comes after a spool was replaced is not about the new one."""
    spool, other = Spool(path), Spool(tmp_path / "other.spool")
    mine, theirs = entries(range(5)), entries(range(5))
    spool.commit(mine, (), 0)
    other.commit(theirs, (), 0)
    spool.commit((), acknowledge(theirs), 0)
    assert (spool.events, numbers(read_all(spool))) == (5, list(range(5)))
    spool.close()
    other.close()


def test_the_counts_are_those_of_the_file_also_after_reopening(path: Path) -> None:
    """Events, bytes and the oldest instant follow additions and removals; an empty spool has no oldest."""
    spool = Spool(path)
    assert (spool.events, spool.bytes, spool.oldest_ms) == (0, 0, None)
    first, second = entries(range(3)), entries(range(3, 10))
    spool.commit(first, (), 1_000)
    spool.commit(second, (), 2_000)
    held = (spool.events, spool.bytes, spool.oldest_ms)
    assert held == (10, sum(len(one.value) for one in first + second) + 10 * (16 + 11 + 2), 1_000)
    assert not spool.close()
    spool = Spool(path)
    assert (spool.events, spool.bytes, spool.oldest_ms) == held
    spool.commit((), acknowledge(spool.read(-1)[:3]), 3_000)
    assert (spool.events, spool.oldest_ms) == (7, 2_000)
    spool.commit((), acknowledge(spool.read(2)), 3_000)
    assert (spool.events, spool.bytes, spool.oldest_ms) == (0, 0, None)
    spool.close()


def test_a_commit_that_fails_changes_nothing(path: Path) -> None:
    """A number that is there already is refused with the whole commit; the spool goes on as if nothing had been."""
    spool = Spool(path)
    kept = entries(range(5))
    spool.commit(kept, (), 0)
    spool.commit(entries([5]), (), 0)
    with pytest.raises(SpoolUnavailable):
        spool.commit(entries([6, 7, 5]), acknowledge(kept), 0)
    assert (spool.events, numbers(read_all(spool))) == (6, list(range(6)))
    spool.commit(entries([6]), (), 0)
    assert numbers(read_all(spool)) == list(range(7))
    spool.close()


@pytest.mark.parametrize("size", [40, 20_000], ids=["small events", "large events"])
def test_a_flipped_bit_costs_one_event_and_no_other(path: Path, size: int) -> None:
    """The CRC finds it; the event's number is told, the row is kept as it is, the others come back."""
    make_spool(path, range(10), range(10, 40), range(40, 50), size=size)
    flip(path, b"<event 00000017>")
    spool = Spool(path)
    assert numbers(read_all(spool)) == [number for number in range(50) if number != 17]
    assert (spool.take_unreadable(), spool.take_unreadable()) == ([17], [])
    assert spool.damaged == 1
    assert numbers(read_all(spool)) == [number for number in range(50) if number != 17], "read again after a restart"
    spool.commit((), acknowledge(read_all(spool)), 0)
    assert not spool.close(), "a spool that keeps damage is not empty"
    ((first, body, found),) = rows(path, "SELECT first, body, found FROM damaged")
    assert (first, found) == (10, "event 17 does not fit its CRC")
    assert isinstance(body, bytes)
    assert value_of(18, size) in body


def test_a_batch_without_one_good_event_leaves_the_way_free(path: Path) -> None:
    """Its row goes to the damaged ones; what follows is read at once."""
    make_spool(path, [0], [1], [2])
    flip(path, b"<event 00000000>")
    flip(path, b"<event 00000001>")
    spool = Spool(path)
    assert numbers(spool.read(-1)) == [2]
    assert (spool.take_unreadable(), spool.events, spool.damaged) == ([0, 1], 1, 2)
    spool.close()


@pytest.mark.parametrize(
    ("change", "readable", "found"),
    [
        ("sizes = zeroblob(40)", range(20, 30), "event 10 does not fit its CRC"),
        ("sizes = substr(sizes, 1, 36)", [*range(10, 19), *range(20, 30)], "the events of batch 10 have"),
        ("first = 12", range(20, 30), "in the place of event 12 is event 10"),
    ],
)
def test_damage_beside_the_events_is_found_too(path: Path, change: str, readable: range, found: str) -> None:
    """A wrong length, a missing one or a wrong place: nothing is taken for what it is not, nothing goes unnoticed."""
    make_spool(path, range(10, 20), range(20, 30))
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE batches SET {change} WHERE first = 10")
    connection.close()
    spool = Spool(path)
    assert numbers(read_all(spool)) == list(readable)
    spool.close()
    assert str(rows(path, "SELECT found FROM damaged")[0][0]).startswith(found)


def test_a_torn_log_gives_whole_commits(path: Path, tmp_path: Path) -> None:
    """A power cut leaves any part of the log's tail: what was committed before it is there, and no half of the next.

    Cut at each frame of the log, beside each, and inside each.
    """
    spool = Spool(path)
    wal = path.with_name(path.name + "-wal")
    ends = [(wal.stat().st_size, 0)]
    for first in range(0, 120, 15):
        spool.commit(entries(range(first, first + 15), size=500), (), 0)
        ends.append((wal.stat().st_size, first + 15))
    torn = tmp_path / "torn.spool"
    cuts = {0, 1, WAL_HEADER - 1}
    for frame in range(WAL_HEADER, ends[-1][0] + 1, FRAME):
        cuts |= {frame - 1, frame, frame + 1, frame + 23, frame + 2000}
    for cut in sorted(cut for cut in cuts if cut <= ends[-1][0]):
        shutil.copy(path, torn)
        torn.with_name(torn.name + "-wal").write_bytes(wal.read_bytes()[:cut])
        committed = max([events for end, events in ends if end <= cut], default=0)
        again = Spool(torn)
        assert numbers(read_all(again)) == list(range(committed)), f"cut at {cut}"
        assert again.broken_log is None, "a torn tail is no damage"
        again.close()
        torn.unlink()
    spool.close()
    assert len(ends) == 9
    assert ends[-1][0] > 20 * FRAME


def test_rubbish_behind_the_log_is_no_event(path: Path, tmp_path: Path) -> None:
    """What a torn write left behind the last commit is skipped."""
    spool = Spool(path)
    spool.commit(entries(range(5)), (), 0)
    copy = tmp_path / "copy.spool"
    shutil.copy(path, copy)
    tail = b"\xff" * 3000 + value_of(5)
    copy.with_name(copy.name + "-wal").write_bytes(path.with_name(path.name + "-wal").read_bytes() + tail)
    spool.close()
    assert numbers(read_file(copy)) == list(range(5))


@pytest.mark.parametrize("where", ["header", "first frame", "middle", "body"])
def test_a_log_that_is_damaged_in_its_middle_is_kept_and_said(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """SQLite takes the first bad frame for the log's end; the commits behind it are not gone without a word."""
    spool = Spool(path)
    wal = path.with_name(path.name + "-wal")
    for first in range(0, 50, 5):
        spool.commit(entries(range(first, first + 5)), (), 0)
    log = bytearray(wal.read_bytes())
    middle = len(log) // FRAME // 2 * FRAME + WAL_HEADER
    log[{"header": 17, "first frame": WAL_HEADER + 9, "middle": middle + 5, "body": middle + 3000}[where]] ^= 1
    copy = tmp_path / "copy.spool"
    shutil.copy(path, copy)
    copy.with_name("copy.spool-wal").write_bytes(log)
    spool.close()
    spool = Spool(copy)
    found = numbers(read_all(spool))
    assert found == list(range(len(found)))
    assert len(found) < 50
    assert spool.broken_log == tmp_path / "copy.damaged-wal"
    assert spool.broken_log.read_bytes() == log
    assert "is damaged behind frame" in caplog.text
    spool.close()


def test_a_log_that_begins_again_is_not_damaged(path: Path, tmp_path: Path) -> None:
    """After a checkpoint SQLite writes over its log from the front: what is behind is old, and in the file already."""
    spool = Spool(path)
    spool.commit(entries(range(10), size=500_000), (), 0)
    spool.commit(entries(range(10, 13)), (), 0)
    copy = tmp_path / "copy.spool"
    shutil.copy(path, copy)
    shutil.copy(path.with_name("i.spool-wal"), copy.with_name("copy.spool-wal"))
    spool.close()
    spool = Spool(copy)
    assert (numbers(read_all(spool)), spool.broken_log) == (list(range(13)), None)
    spool.close()


@pytest.mark.parametrize("content", [b"this is no database at all" * 200, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_spool_is_damaged_and_stays(path: Path, content: bytes) -> None:
    """Nothing of it is overwritten."""
    path.write_bytes(content)
    with pytest.raises(SpoolDamaged):
        Spool(path)
    assert path.read_bytes() == content


def test_a_broken_table_is_damage(path: Path) -> None:
    """Where the file's own structure is gone, reading says so instead of giving a part as the whole."""
    make_spool(path, range(2000), range(2000, 4000), size=500)
    content = bytearray(path.read_bytes())
    (page,) = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'batches'")[0]
    assert isinstance(page, int)
    content[(page - 1) * 4096 : (page - 1) * 4096 + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(SpoolDamaged):
        read_file(path)


def test_a_batch_that_holds_no_bytes_is_damage(path: Path) -> None:
    """A header that says text or nothing where bytes belong does not stop a thread, it is reported."""
    make_spool(path, range(10))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE batches SET body = 'text'")
    connection.close()
    with pytest.raises(SpoolDamaged, match="batch 0 holds no bytes"):
        read_file(path)


def test_another_format_is_left_alone(path: Path) -> None:
    """A newer version's spool waits for that version: it is refused, and nothing is added to it."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE about (format INTEGER)")
        connection.execute("INSERT INTO about VALUES (2)")
    connection.close()
    with pytest.raises(SpoolUnavailable, match="format 2, this version reads 1") as raised:
        Spool(path)
    assert not isinstance(raised.value, SpoolDamaged)
    assert rows(path, "SELECT name FROM sqlite_master") == [("about",)]


def test_a_process_that_died_while_it_made_its_spool_leaves_one_that_opens(path: Path) -> None:
    """An empty file becomes a spool."""
    path.touch()
    spool = Spool(path)
    spool.commit(entries(range(3)), (), 0)
    spool.close()
    assert numbers(read_file(path)) == [0, 1, 2]


def test_a_folder_that_is_missing_makes_the_spool_unavailable(tmp_path: Path) -> None:
    """Whatever the system says becomes the spool's own error."""
    with pytest.raises(SpoolUnavailable, match="No such file"):
        Spool(tmp_path / "nowhere" / "i.spool")


def test_the_files_are_their_owners_alone(path: Path) -> None:
    """Events speak of people: nobody else may read the spool or its log, whatever the folder allows."""
    spool = Spool(path)
    spool.commit(entries([0]), (), 0)
    for file in (path, path.with_name(path.name + "-wal")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    spool.close()
