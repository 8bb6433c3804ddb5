"""Who looks for gaps, when, and what a worker tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from audit_consumers.gap_watch import GapWatch, Watched
from audit_consumers.gaps import Folded, Missing
from audit_consumers.limits import BadRecordLimits, BadRecords
from audit_consumers.metrics import WorkerMetrics
from audit_consumers.partition import Assigned, Status
from audit_consumers.positions import TopicPartition
from audit_consumers.progress import Progress
from audit_consumers.tasks import Tasks
from audit_schemas.errors import AuditError, ClickHouseUnavailable, ContractBroken
from tests.fakes import FakeClock, InlineExecutor

OWNER, OTHER = TopicPartition("t.authentication", 0), TopicPartition("t.authentication", 1)
NAMES = ("audit_producer_gaps", "audit_producer_missing_events", "audit_producer_unwatched_instances")


def assigned(partition: TopicPartition, status: Status = Status.RUNNING) -> Assigned:
    return Assigned(partition, 1, BadRecords(BadRecordLimits()), Progress(0), status)


@dataclass
class Worker:
    """A polling thread that owns some partitions; `answers` come one per look, the last again and again."""

    answers: list[tuple[Folded, Missing] | AuditError]
    clock: FakeClock = field(default_factory=FakeClock)
    looks: list[tuple[float, int]] = field(default_factory=list)
    owned: list[Assigned] = field(default_factory=lambda: [assigned(OWNER), assigned(OTHER)])

    def __post_init__(self) -> None:
        self.metrics = WorkerMetrics()
        self.tasks = Tasks(InlineExecutor(), InlineExecutor())
        watched = Watched(OWNER, self.look, every_s=15, after_s=60)
        self.watch = GapWatch(watched, clock=self.clock, tasks=self.tasks, metrics=self.metrics)

    def look(self, before_ms: int) -> tuple[Folded, Missing]:
        self.looks.append((self.clock.seconds, before_ms))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, AuditError):
            raise answer
        return answer

    def turns(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.watch.advance(self.owned)
            self.tasks.harvest()
            self.clock.advance(0.1)

    def told(self, *names: str) -> list[float | None]:
        return [self.metrics.registry.get_sample_value(name) for name in names or NAMES]


FOUND = (Folded(5000, behind=False), Missing(gaps=2, events=9, unwatched=1))


def test_the_owner_looks_regularly_and_tells() -> None:
    """Every 15 s, for gaps that are 60 s old by its own clock."""
    worker = Worker([FOUND])
    begun = worker.clock.seconds
    worker.turns(40)
    assert [round(at - begun) for at, _ in worker.looks] == [0, 15, 30]
    assert [round(at - before / 1000) for at, before in worker.looks] == [60, 60, 60]
    assert worker.told() == [2, 9, 1]
    assert worker.told("audit_producer_gaps_through_seconds") == [5]


@pytest.mark.parametrize("owned", [[], [assigned(OTHER)], [assigned(OWNER, Status.RESOLVING)]])
def test_others_do_not_look(owned: list[Assigned]) -> None:
    """Nor does the owner before it knows where its partition goes on."""
    worker = Worker([FOUND], owned=owned)
    worker.turns(40)
    assert worker.looks == []
    assert worker.told() == [0, 0, 0]


def test_a_former_owner_tells_nothing_any_more() -> None:
    """Also when a look that it began ends later; it begins again when the partition comes back."""
    worker = Worker([FOUND])
    worker.turns(1)
    worker.clock.advance(15)
    worker.watch.advance(worker.owned)
    owned, worker.owned = worker.owned, []
    worker.watch.advance(worker.owned)
    worker.tasks.harvest()
    assert worker.told() == [0, 0, 0]
    worker.owned = owned
    worker.turns(16)
    assert worker.told() == [2, 9, 1]


@pytest.mark.parametrize("error", [ClickHouseUnavailable("away"), ContractBroken("no such table")])
def test_a_look_that_fails_is_tried_again(error: AuditError) -> None:
    """The worker goes on, whatever was wrong, and what was told before stays until there is an answer."""
    worker = Worker([FOUND, error, (Folded(6000, behind=False), Missing(0, 0, 0))])
    worker.turns(29)
    assert len(worker.looks) == 2
    assert worker.told() == [2, 9, 1]
    worker.turns(10)
    assert len(worker.looks) == 3
    assert worker.told() == [0, 0, 0]


def test_what_is_behind_goes_on_soon() -> None:
    """A large table is folded piece after piece, a second apart."""
    behind = (Folded(1000, behind=True), Missing(0, 0, 0))
    worker = Worker([behind, behind, behind, FOUND])
    worker.turns(14)
    assert len(worker.looks) == 4
