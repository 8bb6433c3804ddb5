"""The stream of events in order of arrival: what comes after a position, each event once, for as long as it may be seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from audit_infra.access import Principal, Signer
from audit_infra.http.answers import problem_of
from audit_query import positions as places
from audit_query import sql
from audit_query.asking import Asking, Question
from audit_query.filters import Params
from audit_query.ledger import Ledger, Snapshot
from audit_query.ports import Clock, Reading
from audit_query.positions import Log, Span, arrived, shares
from audit_query.problems import too_many_streams, unavailable
from audit_query.rows import Row, answer
from audit_schemas.catalogue import Catalogue
from audit_schemas.errors import AuditError, Transient

log = structlog.get_logger("audit_query.following")

PARAMETERS: Mapping[str, Sequence[str]] = {"after": ()}
HEADERS = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)
MOST = 2_000
"""Events read at a time, at most."""
BLOCK = 100
"""Events made into one piece of the answer: between two pieces a slow reader is waited for."""
OFFSETS = (5_000, 1_000_000)
"""Offsets looked through at a time: to begin with, and where next to nothing matches."""
REMEMBERED = 5_000
PATIENCE_S = 10.0
"""How long one look may take; heartbeats wait for it."""
FRESHNESS_S = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a stream looks for events, says that it is there, and has its credential and plan checked."""

    poll_s: float
    heartbeat_s: float
    check_s: float


@dataclass(slots=True)
class _Stream:
    """Where one connection stands. `pending` are events read but not given; with the last one, `target` is reached."""

    positions: dict[Log, int]
    since_ms: dict[Log, int]
    pending: deque[Row] = field(default_factory=deque)
    target: dict[Log, int] = field(default_factory=dict)
    snapshot: Snapshot = field(default_factory=Snapshot)
    given: OrderedDict[tuple[int, str], None] = field(default_factory=OrderedDict)
    width: int = OFFSETS[0]
    more: bool = True
    told: tuple[Any, ...] = ()
    told_at: float = 0.0

    def take(self) -> Row | None:
        """The next event to give, if there is one."""
        while self.pending:
            row = self.pending.popleft()
            self.positions[log_of(row)] = row.offset + 1
            if row.identity not in self.given:
                self.given[row.identity] = None
                if len(self.given) > REMEMBERED:
                    self.given.popitem(last=False)
                return row
        return None

    def reach(self) -> None:
        """All that was read has been given."""
        self.positions |= self.target
        for one, end in self.target.items():
            if end == self.snapshot.ends[one]:
                self.since_ms[one] = self.snapshot.since_ms.get(one, 0)
        self.target = {}


class Following:
    """Makes streams. `monotonic` gives seconds that only grow; at most `most` streams per workspace are open at once."""

    def __init__(
        self,
        *,
        reader: Reading,
        asking: Asking,
        ledger: Ledger,
        catalogue: Catalogue,
        signing_keys: Sequence[str],
        pace: Pace,
        most: int,
        late_after_s: float,
        clock: Clock,
        monotonic: Callable[[], float],
    ) -> None:
        self._reader, self._asking, self._ledger, self._catalogue = reader, asking, ledger, catalogue
        self._signer, self._pace, self._most = Signer(signing_keys, "position"), pace, most
        self._late_after_s, self._clock, self._monotonic = late_after_s, clock, monotonic
        self._open: Counter[str] = Counter()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends all streams: the service shuts down."""
        self._stopping.set()

    def open(self, workspace_id: str) -> int:
        """How many streams of a workspace are open."""
        return self._open[workspace_id]

    async def stream(
        self, authenticate: Callable[[], Awaitable[Principal]], params: Params, last_event_id: str, request_id: str
    ) -> AsyncGenerator[bytes]:
        """Server-sent events from the position on, or from now on without one.

        Everything that can be refused is raised before the first bytes: `AccessError`, and `ProblemError` for bad
        parameters, a position of another filter, or too many streams. Later it becomes a last event `problem`.
        """

        async def ask() -> Question:
            return await self._asking.question(await authenticate(), params, further=PARAMETERS)

        question = await ask()
        start = self._start(question, last_event_id)
        snapshot = await self._ledger.snapshot()
        stream = _Stream(dict(snapshot.ends), dict(snapshot.since_ms)) if start is None else _Stream(*start)
        with self._place(question.workspace_id):
            now = self._monotonic()
            check_at, beat_at = now + self._pace.check_s, now + self._pace.heartbeat_s
            yield f"retry: 2000\nid: {self._token(stream, question)}\n\n".encode()
            while not self._stopping.is_set():
                block, failed = b"", False
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        if self._monotonic() >= check_at:
                            question = await ask()
                            check_at = self._monotonic() + self._pace.check_s
                        if not stream.pending:
                            await self._read(stream, question)
                    block = self._block(stream, question)
                except (Transient, TimeoutError) as error:
                    # The connection stays: what is missed now is read when ClickHouse is back.
                    log.warning("a stream waits", error=str(error))
                    failed = True
                except AuditError as error:
                    problem = problem_of(error, unavailable())
                    yield _message("problem", problem.body(request_id))
                    return
                now = self._monotonic()
                if block or now >= beat_at:
                    beat_at = now + self._pace.heartbeat_s
                    yield block or b": still here\n\n"
                if failed or not (stream.pending or stream.more):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), self._pace.poll_s)

    def _start(self, question: Question, last_event_id: str) -> tuple[dict[Log, int], dict[Log, int]] | None:
        """The header goes first: a browser that reconnects sends it to the address it began with."""
        name, place = ("Last-Event-ID", "header") if last_event_id else ("after", "query")
        text = last_event_id or question.further.get("after", "")
        if not text:
            return None
        fingerprint = question.filter.fingerprint()
        return places.read(text, self._signer, question.workspace_id, fingerprint, name=name, place=place)

    @contextlib.contextmanager
    def _place(self, workspace_id: str) -> Iterator[None]:
        if self._open[workspace_id] >= self._most:
            raise too_many_streams(self._most)
        self._open[workspace_id] += 1
        try:
            yield
        finally:
            self._open[workspace_id] -= 1
            if not self._open[workspace_id]:
                del self._open[workspace_id]

    async def _read(self, stream: _Stream, question: Question) -> None:
        """Fills `pending` with the next events; nothing has changed when it raises."""
        snapshot = await self._ledger.snapshot()
        found = [Span(one, stream.positions.get(one, 0), end) for one, end in snapshot.ends.items()]
        spans = [span for span in found if len(span) > 0]
        rows: list[Row] = []
        part = spans
        if spans:
            part, rows = await self._matching(stream, question, spans)
        stream.pending, stream.snapshot = deque(_in_order(rows)), snapshot
        stream.target = {span.log: span.end for span in part}
        stream.more = part != spans

    async def _matching(self, stream: _Stream, question: Question, spans: list[Span]) -> tuple[list[Span], list[Row]]:
        """The beginnings of the spans that were looked through, and the first copies in them that match."""
        since_ms = min(stream.since_ms.get(span.log, 0) for span in spans)
        shown, _ = question.visibility.at(self._clock()).clamp(question.filter)
        while True:
            part = shares(spans, stream.width)
            query = arrived(question.workspace_id, shown, part, since_ms, MOST + 1)
            rows = [Row.of(values) for values in await self._reader.rows(query)]
            if len(rows) <= MOST or stream.width <= 1:
                break
            stream.width //= 8
        if len(rows) < MOST // 8:
            stream.width = min(stream.width * 4, OFFSETS[1])
        return part, await self._first_copies(question.workspace_id, rows)

    async def _first_copies(self, workspace_id: str, rows: list[Row]) -> list[Row]:
        """Without later copies of events, wherever the first one is, and without rows that were stored twice."""
        first: dict[tuple[int, str], tuple[int, str, int, int]] = {}
        if rows:
            copies = sql.copies(workspace_id, sorted({row.identity for row in rows}))
            for occurred_at, event_id, at, topic_id, partition, offset in await self._reader.rows(copies):
                known, found = first.get((occurred_at, event_id)), (at, topic_id, partition, offset)
                first[occurred_at, event_id] = found if known is None else min(known, found)
        kept = {row.position: row for row in rows if first.get(row.identity, row.position) == row.position}
        return list(kept.values())

    def _block(self, stream: _Stream, question: Question) -> bytes:
        """The next events as text, and how complete the stream is when it has given all."""
        pieces: list[bytes] = []
        seen = question.visibility.at(self._clock())
        while len(pieces) < BLOCK and (row := stream.take()) is not None:
            # It may have been read before the plan became a preview.
            if seen.since is None or row.identity[0] >= seen.since:
                event = answer(row, self._catalogue, pii=question.pii, late_after_s=self._late_after_s)
                pieces.append(_message("audit_event", event, self._token(stream, question)))
        if not stream.pending:
            stream.reach()
        if not (stream.pending or stream.more):
            _, clamped = seen.clamp(question.filter)
            told = (stream.snapshot.complete_through, seen.plan, clamped)
            now = self._monotonic()
            if told != stream.told and (now >= stream.told_at + FRESHNESS_S or told[1:] != stream.told[1:]):
                stream.told, stream.told_at = told, now
                body = {"complete_through": told[0], "preview": seen.preview(clamped)}
                pieces.append(_message("freshness", body, self._token(stream, question)))
        return b"".join(pieces)

    def _token(self, stream: _Stream, question: Question) -> str:
        fingerprint = question.filter.fingerprint()
        return places.token(stream.positions, stream.since_ms, self._signer, question.workspace_id, fingerprint)


def log_of(row: Row) -> Log:
    """Where the row came in."""
    return Log(row.topic_id, row.partition)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """By acceptance, but each log in order of offset, which is what its position stands for."""
    latest: dict[Log, int] = {}
    keys = []
    for row in rows:
        one = log_of(row)
        latest[one] = max(latest.get(one, 0), row.accepted_ms)
        keys.append((latest[one], one, row.offset))
    return [rows[number] for number in sorted(range(len(rows)), key=keys.__getitem__)]


def _message(name: str, body: Mapping[str, Any], id_: str = "") -> bytes:
    head = f"id: {id_}\n" if id_ else ""
    return f"event: {name}\n{head}data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


__all__ = ["HEADERS", "PARAMETERS", "Following", "Pace"]
