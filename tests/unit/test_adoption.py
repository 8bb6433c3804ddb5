"""Spools of dead processes: all of them arrive, once, by whoever finds them, and what is damaged is kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from audit_producers import folder
from audit_producers.adoption import Adopter
from audit_producers.entry import Batch
from audit_producers.own_spool import OwnSpool
from audit_producers.spool import Spool
from tests.support.emitting import Emitters, refuse
from tests.support.spools import entries, flip, make_spool, read_file, rows, value_of
from tests.support.transport import MemoryBroker
from tests.support.waiting import eventually


@pytest.fixture
def emitters(tmp_path: Path) -> Iterator[Emitters]:
    """What makes adopters for the folder."""
    made = Emitters(tmp_path)
    yield made
    made.close()


@pytest.fixture
def broker(emitters: Emitters) -> MemoryBroker:
    """What they send to."""
    return emitters.broker


def values(broker: MemoryBroker) -> list[bytes]:
    return [record.value for record in broker.records]


def names(where: Path) -> list[str]:
    return sorted(path.name for path in where.iterdir())


def test_dead_spools_are_emptied_and_living_ones_left_alone(
    emitters: Emitters, broker: MemoryBroker, tmp_path: Path
) -> None:
    """Every event of the dead comes as it was written, in order; a living process's spool is not read."""
    for number, name in enumerate("abc"):
        make_spool(tmp_path / f"{name}.spool", range(1000 * number, 1000 * number + 150), [1000 * number + 150])
    living = OwnSpool(tmp_path, "living")
    living.commit(entries(range(5000, 5010)), (), 0)
    adopter = emitters.adopter(in_flight_events=40)
    assert adopter.look() == 453
    assert values(broker) == [value_of(1000 * number + seq) for number in range(3) for seq in range(151)]
    assert {(record.topic, record.key) for record in broker.records} == {("audit.files", f"w{n}") for n in range(3)}
    assert names(tmp_path) == ["living.lock", "living.spool", "living.spool-wal"]
    living.close()
    assert (adopter.look(), adopter.adopted, names(tmp_path)) == (10, 463, [])


def test_an_empty_spool_is_removed_without_asking_kafka(
    emitters: Emitters, broker: MemoryBroker, tmp_path: Path
) -> None:
    """A process that died before its first event leaves nothing to send."""
    make_spool(tmp_path / "a.spool")
    assert (emitters.adopter().look(), names(tmp_path), broker.transports) == (0, [], [])


def test_a_file_that_cannot_be_read_is_set_aside_and_the_others_go_on(
    emitters: Emitters, broker: MemoryBroker, tmp_path: Path
) -> None:
    """It is kept as it was, counted, and not looked at again."""
    (tmp_path / "a.spool").write_bytes(b"no database" * 500)
    make_spool(tmp_path / "b.spool", range(10))
    adopter = emitters.adopter()
    assert (adopter.look(), adopter.damaged) == (10, 1)
    assert (adopter.look(), adopter.damaged) == (0, 1)
    assert (tmp_path / "a.damaged").read_bytes() == b"no database" * 500
    assert names(tmp_path) == ["a.damaged"]


def test_what_can_be_read_of_a_damaged_spool_is_sent_once(
    emitters: Emitters, broker: MemoryBroker, tmp_path: Path
) -> None:
    """The row of the bad event is kept in the file that is set aside; the good ones do not come again and again."""
    make_spool(tmp_path / "a.spool", range(10), range(10, 20))
    flip(tmp_path / "a.spool", b"<event 00000013>")
    adopter = emitters.adopter()
    assert (adopter.look(), adopter.look(), adopter.damaged) == (19, 0, 1)
    assert values(broker) == [value_of(seq) for seq in range(20) if seq != 13]
    assert rows(tmp_path / "a.damaged", "SELECT first FROM damaged") == [(10,)]


def test_a_spool_with_a_damaged_log_counts_and_its_log_is_kept(
    emitters: Emitters, broker: MemoryBroker, tmp_path: Path
) -> None:
    """What SQLite still finds is sent and its file removed; the log stays for people."""
    living = OwnSpool(tmp_path / "living", "a")
    for number in range(10):
        living.commit(entries([number]), (), 0)
    log = bytearray((tmp_path / "living" / "a.spool-wal").read_bytes())
    log[len(log) // 2] ^= 1
    folder.prepare(tmp_path / "dead")
    (tmp_path / "dead" / "a.spool").write_bytes((tmp_path / "living" / "a.spool").read_bytes())
    (tmp_path / "dead" / "a.spool-wal").write_bytes(log)
    living.close()
    adopter = emitters.adopter(spool_dir=tmp_path / "dead")
    assert 0 < adopter.look() < 10
    assert (adopter.look(), adopter.damaged, names(tmp_path / "dead")) == (0, 1, ["a.damaged-wal"])


def test_a_spool_that_breaks_in_the_middle_is_sent_as_far_as_it_goes(
    emitters: Emitters, broker: MemoryBroker, tmp_path: Path
) -> None:
    """Reading fails at a broken page: what is before it arrives once, and the file is kept."""
    path = make_spool(tmp_path / "a.spool", *(range(n, n + 100) for n in range(0, 4000, 100)), size=300)
    content = bytearray(path.read_bytes())
    at = content.index(b"<event 00003050>") // 4096 * 4096
    content[at : at + 4] = b"\xff" * 4  # the page that follows in the chain is none
    path.write_bytes(content)
    adopter = emitters.adopter()
    adopter.look()
    adopter.look()
    assert values(broker)[:2000] == [value_of(seq, 300) for seq in range(2000)]
    assert max(Counter(values(broker)).values()) == 1
    assert (adopter.damaged, names(tmp_path)) == (1, ["a.damaged"])


def test_a_spool_of_a_newer_version_waits_for_that_version(
    emitters: Emitters, broker: MemoryBroker, tmp_path: Path
) -> None:
    """It is neither read nor set aside."""
    from sqlite3 import connect

    make_spool(tmp_path / "a.spool", range(3))
    with connect(tmp_path / "a.spool") as connection:
        connection.execute("UPDATE about SET format = 2")
    connection.close()
    adopter = emitters.adopter()
    assert (adopter.look(), adopter.damaged) == (0, 0)
    assert "a.spool" in names(tmp_path)
    claim = folder.claim(tmp_path, "a")
    assert claim is not None, "it is free for another"
    claim.release(remove=False)


def test_a_refused_delivery_costs_nothing(emitters: Emitters, broker: MemoryBroker, tmp_path: Path) -> None:
    """As for a living process: the producer is replaced and begins with the first unacknowledged event."""
    make_spool(tmp_path / "a.spool", range(100))
    refuse(broker, lambda value: value == value_of(50))
    assert emitters.adopter().look() == 100
    assert values(broker) == [value_of(seq) for seq in range(100)]


def test_stopping_in_the_middle_keeps_the_rest(emitters: Emitters, broker: MemoryBroker, tmp_path: Path) -> None:
    """`run` ends at once although Kafka does not answer; what it had acknowledged is removed, the rest stays."""
    make_spool(tmp_path / "a.spool", range(50), range(50, 100))
    make_spool(tmp_path / "b.spool", range(100, 110))

    def refuses(value: bytes) -> str | None:
        if value == value_of(70):
            broker.up = False
        return None

    broker.refuses = refuses
    adopter = emitters.adopter()
    running = threading.Thread(target=adopter.run)
    running.start()
    eventually(lambda: not broker.up, 10, "it is in the middle")
    adopter.stop()
    running.join(10)
    assert not running.is_alive()
    assert adopter.adopted == 71
    assert [entry.seq for entry in read_file(tmp_path / "a.spool")] == list(range(50, 100))
    assert [entry.seq for entry in read_file(tmp_path / "b.spool")] == list(range(100, 110))
    broker.refuses = lambda _: None
    broker.set(up=True)
    assert emitters.adopter().look() == 60
    assert (list(dict.fromkeys(values(broker))), names(tmp_path)) == ([value_of(seq) for seq in range(110)], [])


def test_adopters_at_the_same_time_share_the_work(emitters: Emitters, broker: MemoryBroker, tmp_path: Path) -> None:
    """Every service looks after the folder: a spool is emptied by one of them, no event comes twice."""
    for number in range(12):
        make_spool(tmp_path / f"{number:02}.spool", range(100 * number, 100 * number + 100))
    broker.set(up=False)
    adopters = [emitters.adopter() for _ in range(3)]
    threads = [threading.Thread(target=adopter.look) for adopter in adopters]
    for thread in threads:
        thread.start()
    eventually(lambda: len(broker.transports) == 3, 10, "each has one")
    broker.set(up=True)
    for thread in threads:
        thread.join(20)
    assert sorted(values(broker)) == [value_of(seq) for seq in range(1200)]
    assert min(adopter.adopted for adopter in adopters) >= 100
    assert (sum(adopter.adopted for adopter in adopters), names(tmp_path)) == (1200, [])


def test_an_adopter_looks_again_and_again(emitters: Emitters, broker: MemoryBroker, tmp_path: Path) -> None:
    """Whatever dies while it runs is found, also after a look that failed."""
    adopter = emitters.adopter(adopt_interval_s=0.05)
    running = threading.Thread(target=adopter.run)
    running.start()
    try:
        make_spool(tmp_path / "made.part", range(10)).rename(tmp_path / "a.spool")
        eventually(lambda: adopter.adopted == 10, 10, "it is found")
        broken = tmp_path / "b.spool"
        broken.mkdir()
        make_spool(tmp_path / "made.part", range(10, 20)).rename(tmp_path / "c.spool")
        eventually(lambda: adopter.adopted == 20, 10, "the one behind it is found")
    finally:
        adopter.stop()
        running.join(10)
    assert not running.is_alive()


def test_what_nobody_foresaw_stops_neither_the_adopter_nor_the_other_spools(
    emitters: Emitters, broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal that fails in no known way, for one: that spool stays for the next look, free for others too."""
    make_spool(tmp_path / "a.spool", range(10))
    make_spool(tmp_path / "b.spool", range(10, 20))
    failing, remove = [True], Spool.remove

    def fails_once(spool: Spool, batches: Sequence[Batch]) -> None:
        if failing and failing.pop():
            raise RuntimeError("unforeseen")
        remove(spool, batches)

    monkeypatch.setattr(Spool, "remove", fails_once)
    adopter = Adopter(emitters.settings(), lambda: broker.transport(emitters.settings()))
    adopter.look()
    assert [path.name for path in tmp_path.glob("*.spool")] == ["a.spool"]
    adopter.look()
    assert (set(values(broker)), names(tmp_path)) == ({value_of(seq) for seq in range(20)}, [])
