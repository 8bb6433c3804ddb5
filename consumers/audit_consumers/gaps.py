"""Which numbers of the producers are missing from the tables: lost events, as far as the tables can tell.

Each process numbers its events 0, 1, 2, … without holes, so a hole among the stored numbers is an event that is not
there. The numbers are folded into `audit_producers` a piece at a time, inside ClickHouse: this process sees no more of
them than how many there are. Folding is a union of runs that keeps the earliest time, hence neither order nor
repetition matters, and two that fold at the same time do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.positions import Range

MOST_ROWS = 2_000_000
"""Rows of one piece; about 0.4 s of one core, and 100 MB, in ClickHouse."""
MOST_RUNS = 100_000
"""Runs kept of one instance. One that leaves more holes than that does not number its events as agreed."""
LOOK_BACK_MS = 10_000
"""Read again at the beginning of each piece, in case the clock of the server was put back a little."""
_SPAN_MS = 24 * 3_600_000
_LONGEST_SPAN_MS = 400 * _SPAN_MS
_WITHIN = " >= fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND {0} < fromUnixTimestamp64Milli({end:Int64}, 'UTC')"
_EVENTS, _QUARANTINE = (f"{name}{_WITHIN.replace('{0}', name)}" for name in ("ingested_at", "quarantined_at"))
_ONE_THREAD = {"max_threads": "1"}

# An event has the time at which its insert began but is seen only once the insert has ended. So what counts is only
# what was stored before the oldest insert that still runs. The present is taken before the list of those is read.
_PRESENT = (
    "SELECT toUnixTimestamp64Milli(now64(3)) - toInt64(ceil(1000 * maxIf(elapsed,"
    " query_kind = 'Insert' AND current_database = currentDatabase()))) FROM system.processes"
)
_THROUGH = "SELECT toUnixTimestamp64Milli(max(through)) FROM audit_gap_progress"
_EARLIEST = (
    "SELECT min(at) FROM (SELECT minOrNull(toUnixTimestamp64Milli(ingested_at)) AS at FROM audit_events"
    " UNION ALL SELECT minOrNull(toUnixTimestamp64Milli(quarantined_at)) FROM audit_quarantine)"
)
_ROWS = (
    f"SELECT (SELECT count() FROM audit_events WHERE {_EVENTS}) + (SELECT count() FROM audit_quarantine"
    f" WHERE {_QUARANTINE}) SETTINGS max_threads = 1"
)
_NUMBERS = (
    "SELECT producer_service AS service, producer_instance AS instance, producer_seq AS seq, ingested_at AS at"
    f" FROM audit_events WHERE {_EVENTS} AND producer_instance != '' AND producer_seq >= 0"
    " UNION ALL SELECT producer_service, producer_instance, producer_seq, quarantined_at"
    f" FROM audit_quarantine WHERE {_QUARANTINE} AND producer_instance != '' AND producer_seq >= 0"
    # Only here text may be what no reader could show.
    " AND isValidUTF8(producer_service) AND isValidUTF8(producer_instance)"
)
_RUNS = (
    "SELECT service, instance, CAST(arrayMap(run -> (run[1].1, run[-1].1, arrayMin(number -> number.2, run)),"
    " arraySplit((number, step) -> step > 1, numbers, arrayDifference(numbers.1))),"
    " 'Array(Tuple(first Int64, last Int64, at DateTime64(3, \\'UTC\\')))') AS runs"
    " FROM (SELECT toString(service) AS service, toString(instance) AS instance,"
    f" arraySort(groupArray((seq, at))) AS numbers FROM ({_NUMBERS}) GROUP BY service, instance)"
)
# What is known of the instances of the piece, and what is new: in this order, so that the few new ones are what is
# kept in memory. One query reads both, or an instance could look unknown in between.
_PIECES = (
    "SELECT service, instance, known.unwatched_from AS unwatched_from,"
    " arrayJoin(arrayConcat(known.runs, found.runs)) AS run"
    " FROM (SELECT service, instance, runs, unwatched_from FROM audit_producers FINAL) AS known"
    f" RIGHT JOIN ({_RUNS}) AS found USING (service, instance)"
)
_OF_INSTANCE = "OVER (PARTITION BY service, instance ORDER BY run.first, run.last ROWS BETWEEN UNBOUNDED PRECEDING AND"
_UNION = (
    "SELECT service, instance, any(unwatched_from) AS unwatched, (min(run.first), max(run.last), min(run.at)) AS run"
    f" FROM (SELECT *, sum(begins) {_OF_INSTANCE} CURRENT ROW) AS number"
    f" FROM (SELECT *, run.first - 1 > max(run.last) {_OF_INSTANCE} 1 PRECEDING) AS begins FROM ({_PIECES})"
    " WHERE unwatched_from = 0 OR run.first < unwatched_from)) GROUP BY service, instance, number"
)
_FOLD = (
    "INSERT INTO audit_producers (service, instance, runs, unwatched_from, through)"
    " SELECT service, instance, arraySlice(all, 1, {most:UInt32}) AS runs,"
    " if(length(all) > {most:UInt32}, runs[-1].2 + 1, unwatched),"
    " fromUnixTimestamp64Milli({end:Int64}, 'UTC') FROM (SELECT service, instance, any(unwatched) AS unwatched,"
    f" arraySort(groupArray(run)) AS all FROM ({_UNION}) GROUP BY service, instance)"
)
_PROGRESS = "INSERT INTO audit_gap_progress (through) SELECT fromUnixTimestamp64Milli({end:Int64}, 'UTC')"
_OLD = "since <= fromUnixTimestamp64Milli({before:Int64}, 'UTC')"


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """The numbers from `first` to `last` of one instance are not stored; `since_ms` says when that was first so."""

    service: str
    instance: str
    first: int
    last: int
    since_ms: int

    @property
    def events(self) -> int:
        """How many events are missing."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return f"{self.service} {self.instance}  {Range(self.first, self.last)}  {self.events} missing since {since}"


@dataclass(frozen=True, slots=True)
class Unwatched:
    """An instance whose numbers from `first` on are not looked at, because it left too many holes before."""

    service: str
    instance: str
    first: int

    def __str__(self) -> str:
        return f"{self.service} {self.instance}  from {self.first} on nothing is known: it left too many holes before"


@dataclass(frozen=True, slots=True)
class Folded:
    """Everything stored before `through_ms` is folded; `behind` when more could be at once."""

    through_ms: int
    behind: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """How many gaps there are, how many events are missing in them, and how many instances are `Unwatched`."""

    gaps: int
    events: int
    unwatched: int


class Gaps:
    """Folds numbers and tells the holes. Every call blocks; one thread at a time.

    It relies on one server that knows all inserts into the tables, as `Store.running` does.
    """

    def __init__(
        self,
        store: ClickHouseStore,
        *,
        most_rows: int = MOST_ROWS,
        most_runs: int = MOST_RUNS,
        look_back_ms: int = LOOK_BACK_MS,
    ) -> None:
        self._store, self._most_rows, self._most_runs, self._look_back_ms = store, most_rows, most_runs, look_back_ms
        self._span_ms = _SPAN_MS

    def fold(self) -> Folded:
        """Folds the next piece. Safe to repeat and to interrupt: the progress is written last."""
        # The progress is read before anything else: what an instance's row then holds is at least as new.
        through = int(self._store.rows(_THROUGH, {})[0][0])
        present = int(self._store.rows(_PRESENT, {})[0][0])
        if present <= through:
            return Folded(through, behind=False)
        start = through or min(present, self._store.rows(_EARLIEST, {})[0][0] or present)
        end = self._end(start, present)
        if start < end:
            window = {"start": start - self._look_back_ms, "end": end, "most": self._most_runs}
            self._store.command(_FOLD, parameters=window, settings={**_ONE_THREAD, "async_insert": "0"})
        self._store.command(_PROGRESS, parameters={"end": end}, settings={"async_insert": "0"})
        return Folded(end, behind=end < present)

    def fold_all(self) -> int:
        """Folds everything there is; returns up to when, in milliseconds since 1970."""
        while (folded := self.fold()).behind:
            pass
        return folded.through_ms

    def _end(self, start: int, present: int) -> int:
        """The end of a piece of at most so many rows, or of one millisecond."""
        while self._span_ms > 1:
            end = min(present, start + self._span_ms)
            if int(self._store.rows(_ROWS, {"start": start, "end": end})[0][0]) <= self._most_rows:
                break
            self._span_ms //= 2
        end = min(present, start + self._span_ms)
        self._span_ms = min(2 * self._span_ms, _LONGEST_SPAN_MS)
        return end

    def missing(self, before_ms: int) -> Missing:
        """What has been missing since this moment or longer."""
        row = self._store.rows(
            "SELECT count(), sum(toFloat64(events)), (SELECT count() FROM audit_producers FINAL WHERE"
            f" unwatched_from > 0) FROM audit_gaps WHERE {_OLD}",
            {"before": before_ms},
        )[0]
        return Missing(gaps=int(row[0]), events=int(row[1]), unwatched=int(row[2]))

    def gaps(self, before_ms: int) -> list[Gap]:
        """The gaps that are open since this moment or longer, oldest first."""
        rows = self._store.rows(
            "SELECT service, instance, first_seq, last_seq, toUnixTimestamp64Milli(since) AS at FROM audit_gaps"
            f" WHERE {_OLD} ORDER BY at, service, instance, first_seq",
            {"before": before_ms},
        )
        return [Gap(*row) for row in rows]

    def unwatched(self) -> list[Unwatched]:
        """The instances that left too many holes."""
        rows = self._store.rows(
            "SELECT service, instance, unwatched_from FROM audit_producers FINAL WHERE unwatched_from > 0 ORDER BY ALL",
            {},
        )
        return [Unwatched(*row) for row in rows]


__all__ = ["LOOK_BACK_MS", "MOST_ROWS", "MOST_RUNS", "Folded", "Gap", "Gaps", "Missing", "Unwatched"]
