"""Records prepared items: claims their keys, hands their events over, and waits until they are durable.

The order is what keeps the promises. A key is claimed before its event is handed over, so that no second attempt can
hand it over meanwhile; it is marked accepted only once the event is durable; the answer comes last.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

import structlog

from audit_infra.http.problems import Fault, ProblemError
from audit_producers.events_api.intake import Prepared
from audit_producers.events_api.keys import Claim, Keys, Known
from audit_producers.events_api.problems import invalid_event, key_reused
from audit_producers.events_api.work import Work
from audit_producers.receipt import Receipt
from audit_producers.stats import Stats
from audit_schemas.errors import AuditError, InvalidEvent
from audit_schemas.event import Event, instant_of, micros

log = structlog.get_logger("audit_events_api")


class Recorder(Protocol):
    """What events are handed over to: `audit_producers.AuditLog`."""

    def submit(self, event: Event) -> Receipt:
        """Takes the event at once, without blocking; raises an `AuditError` when it does not. Thread-safe."""

    def stats(self) -> Stats:
        """How it goes. Thread-safe."""

    def close(self, timeout: float) -> object:
        """Takes no more, makes everything durable, and waits at most `timeout` seconds for Kafka."""


class Fate(Enum):
    """What became of an item."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    NOT_TAKEN = "not taken"
    """The log could not take it; it is certainly not recorded."""
    IN_DOUBT = "in doubt"
    """It was handed over, and nobody said in time that it is durable."""


@dataclass(slots=True)
class Outcome:
    """One item's way. `id` is the stored event's; `problem` says why it was rejected."""

    prepared: Prepared
    fate: Fate
    id: str = ""
    event: Event | None = None
    problem: ProblemError | None = None
    receipt: Receipt | None = None
    failed: bool = False
    """The receipt failed; the event may be repeated at once."""
    twin: Outcome | None = None
    """The same event, further up in the same request."""


@dataclass(frozen=True, slots=True)
class Request:
    """An Idempotency-Key: what it is remembered by, and the hash of everything that came with it."""

    id: str
    content: str


class Recording:
    """Records the items of requests. `timeout_s`: how long one waits to become durable."""

    def __init__(self, recorder: Recorder, keys: Keys, work: Work, timeout_s: float) -> None:
        self._recorder, self._keys, self._work, self._timeout_s = recorder, keys, work, timeout_s

    async def record(
        self, items: Sequence[Prepared], request: Request | None, size: int, now_ms: int
    ) -> tuple[list[Outcome], Literal["spooled", "kafka"]]:
        """What became of each item, in order, and who keeps those that were accepted.

        Raises problems that concern the whole request (409, 422); nothing was handed over then.
        """
        outcomes, attempt = _outcomes(items), secrets.token_hex(8)
        claims, repeats = _claims(outcomes, request)
        known = dict[str, Known]()
        if claims or repeats:
            key = "" if request is None else request.id
            known = await self._work.database(self._keys.claim, attempt, claims, repeats, now_ms, key)
        fresh = _fresh(outcomes, known)
        await self._work.compute(size, self._hand_over, fresh)
        await self._settle(fresh)
        for outcome in outcomes:
            if outcome.twin is not None:
                _follow(outcome, outcome.twin)
        if claims:
            await self._end(attempt, outcomes, request)
        kept = {one.receipt.durability for one in fresh if one.receipt is not None and one.fate is Fate.ACCEPTED}
        return outcomes, "kafka" if kept == {"kafka"} else "spooled"

    def _hand_over(self, fresh: Iterable[Outcome]) -> None:
        full = False
        for one in fresh:
            if full or one.event is None:
                one.fate = Fate.NOT_TAKEN
                continue
            try:
                one.receipt = self._recorder.submit(one.event)
            except InvalidEvent as error:
                one.fate, one.problem = Fate.REJECTED, invalid_event(tuple(Fault.of(each) for each in error.problems))
            except AuditError as error:
                # What comes behind is not tried: the order of a request's events is kept.
                log.warning("an event was not taken", error=str(error))
                one.fate, full = Fate.NOT_TAKEN, True

    async def _settle(self, fresh: Sequence[Outcome]) -> None:
        deadline = time.monotonic() + self._timeout_s
        # The last is the one to wait for: those before it are durable when it is.
        for one in reversed(fresh):
            if one.receipt is not None and one.receipt.durability is None:
                try:
                    await one.receipt.durable(max(deadline - time.monotonic(), 0.0))
                except TimeoutError:
                    one.fate = Fate.IN_DOUBT
                except AuditError as error:
                    log.warning("an event was given back", error=str(error))
                    one.fate, one.failed = Fate.IN_DOUBT, True

    async def _end(self, attempt: str, outcomes: Sequence[Outcome], request: Request | None) -> None:
        own = [one for one in outcomes if one.prepared.id and one.twin is None and one.event is not None]
        accepted = [one.prepared.id for one in own if one.fate is Fate.ACCEPTED]
        free = [one.prepared.id for one in own if one.fate in (Fate.NOT_TAKEN, Fate.REJECTED)]
        lost = [one.prepared.id for one in own if one.fate is Fate.IN_DOUBT and one.failed]
        if request is not None:
            fates = {one.fate for one in outcomes}
            if fates & {Fate.ACCEPTED, Fate.DUPLICATE}:
                accepted.append(request.id)
            elif Fate.IN_DOUBT not in fates:
                free.append(request.id)
            elif all(one.failed for one in outcomes if one.fate is Fate.IN_DOUBT):
                lost.append(request.id)
        try:
            await self._work.database(self._keys.end, attempt, accepted, free, lost)
        except AuditError as error:
            # The events are where they are: the keys are free after the lease, and a repeat collapses at the readers.
            log.warning("retry keys stay claimed until their lease ends", attempt=attempt, error=str(error))


def _outcomes(items: Sequence[Prepared]) -> list[Outcome]:
    """Items as they stand before anything was asked; the same key further down is a twin of the first."""
    outcomes: list[Outcome] = []
    firsts: dict[str, Outcome] = {}
    for prepared in items:
        if prepared.event is None:
            outcomes.append(Outcome(prepared, Fate.REJECTED, problem=prepared.problem))
            continue
        outcome = Outcome(prepared, Fate.ACCEPTED, id=prepared.event.event_id, event=prepared.event)
        if prepared.id:
            first = firsts.setdefault(prepared.id, outcome)
            outcome.twin = None if first is outcome else first
        outcomes.append(outcome)
    return outcomes


def _claims(outcomes: Sequence[Outcome], request: Request | None) -> tuple[list[Claim], set[str]]:
    """The keys to claim, and those only to look up: what is not valid now may have been when it was accepted, since a
    schema came meanwhile, or time went by."""
    claims = [
        Claim(one.prepared.id, one.prepared.content, micros(one.event.occurred_at))
        for one in outcomes
        if one.event is not None and one.prepared.id and one.twin is None
    ]
    repeats = {one.prepared.id for one in outcomes if one.event is None and one.prepared.id}
    if repeats:
        repeats -= {claim.id for claim in claims}
    if request is not None:
        claims.append(Claim(request.id, request.content, 0))
    return claims, repeats


def _fresh(outcomes: Sequence[Outcome], known: dict[str, Known]) -> list[Outcome]:
    """Those to hand over, with the instants of their first attempts; what was settled before gets its fate."""
    fresh = []
    for one in outcomes:
        key = known.get(one.prepared.id)
        if key is not None and key.accepted:
            if one.prepared.content == key.accepted:
                one.fate, one.id, one.problem = Fate.DUPLICATE, one.prepared.id, None
            elif one.event is not None:
                one.fate, one.problem = Fate.REJECTED, key_reused()
            one.twin = None
        elif one.event is not None and one.twin is None:
            if key is not None and not key.mine:
                one.fate, one.problem = Fate.REJECTED, key_reused()
                continue
            if key is not None and not one.prepared.dated:
                one.event = one.event.model_copy(update={"occurred_at": instant_of(key.occurred_at)})
            fresh.append(one)
    return fresh


def _follow(outcome: Outcome, first: Outcome) -> None:
    """What became of a repeat inside one request follows from what became of the first."""
    if outcome.prepared.content != first.prepared.content:
        outcome.fate, outcome.problem = Fate.REJECTED, key_reused()
    elif first.fate is Fate.ACCEPTED:
        outcome.fate = Fate.DUPLICATE
    else:
        outcome.fate, outcome.problem, outcome.failed = first.fate, first.problem, first.failed


__all__ = ["Fate", "Outcome", "Recorder", "Recording", "Request"]
