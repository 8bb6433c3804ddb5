"""What the Events API does with a request once it is known who asks: from the body's bytes to the answer's values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import prometheus_client
import structlog

from audit_infra.http.problems import Fault, ProblemError
from audit_infra.http.strict_json import parse_json
from audit_producers.events_api.custom_types import CustomType, CustomTypes
from audit_producers.events_api.decoding import items_of
from audit_producers.events_api.descriptions import Description
from audit_producers.events_api.fields import Caller
from audit_producers.events_api.identity import Identities, content_of, content_of_request
from audit_producers.events_api.intake import Intake, Prepared, TypeInfo
from audit_producers.events_api.problem_types import KEY_REUSED, NOT_TAKEN
from audit_producers.events_api.problems import foreign_workspace, not_taken, nothing_accepted
from audit_producers.events_api.rates import Rates
from audit_producers.events_api.recording import Fate, Outcome, Recorder, Recording, Request
from audit_producers.events_api.refusals import Reason, Refusals, Refused
from audit_producers.events_api.work import Work
from audit_schemas.acceptance import Acceptance
from audit_schemas.catalogue import Catalogue
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_events_api")

_REASONS = {KEY_REUSED: Reason.KEY_REUSED, NOT_TAKEN: Reason.NOT_TAKEN}


class Service:
    """Thread-safe. Raises `ProblemError` for everything that is not answered with 202."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        recording: Recording,
        types: CustomTypes,
        rates: Rates,
        refusals: Refusals,
        work: Work,
        catalogue: Catalogue,
        registry: prometheus_client.CollectorRegistry,
        clock: Callable[[], datetime],
    ) -> None:
        self._recorder, self._recording, self._types, self._rates = recorder, recording, types, rates
        self._refusals, self._work, self._clock = refusals, work, clock
        self._intake, self._acceptance = Intake(catalogue), Acceptance(catalogue)
        self._counted = prometheus_client.Counter(
            "audit_events_api_events", "Events answered, by what became of them.", ["status"], registry=registry
        )

    def admit(self, caller: Caller) -> None:
        """Counts a request before its body is read. Raises the problem 429 when there are too many."""
        try:
            self._rates.take_request(caller)
        except ProblemError:
            self._refuse(caller, Reason.RATE_LIMIT, 1)
            raise

    def refuse_body(self, caller: Caller, problem: ProblemError) -> None:
        """Counts a request whose body was not even JSON, too large, or one too many at once."""
        reasons = {413: Reason.TOO_LARGE, 503: Reason.NOT_TAKEN}
        self._refuse(caller, reasons.get(problem.status, Reason.UNREADABLE), 1)

    async def post(self, caller: Caller, raw: bytes, request_key: str, request_id: str) -> dict[str, Any]:
        """The answer to `POST /v1/events`. An empty `request_key` is none; `request_id` goes into problems."""
        async with self._work.turn(len(raw)):
            return await self._post(caller, raw, request_key, request_id)

    async def _post(self, caller: Caller, raw: bytes, request_key: str, request_id: str) -> dict[str, Any]:
        try:
            items, batch = await self._work.compute(len(raw), lambda: items_of(parse_json(raw)))
        except ProblemError as problem:
            self.refuse_body(caller, problem)
            raise
        try:
            self._rates.take_events(caller, len(items))
        except ProblemError:
            self._refuse(caller, Reason.RATE_LIMIT, len(items))
            raise
        if any(_is_foreign(item, caller) for item in items):
            await self._report_foreign_workspace(caller, len(items))
            raise foreign_workspace()
        now = self._clock()
        try:
            outcomes, durability = await self._record(caller, items, len(raw), request_key, now)
        except AuditError as error:
            reason = _reason(error)
            if reason is not None:
                self._refuse(caller, reason, len(items))
            raise
        await self._record_use(caller, outcomes, now)
        return self._answer(caller, outcomes, durability, request_id, batch=batch)

    async def _record(
        self, caller: Caller, items: Sequence[Any], size: int, request_key: str, now: datetime
    ) -> tuple[list[Outcome], str]:
        """What became of the items of a body of `size` bytes, and who keeps those that were accepted."""
        types, prepare = await self._known_types(caller, items), self._intake.prepare
        prepared = await self._work.compute(size, prepare, items, caller, request_key, types, now)
        request = None
        if request_key:
            request = await self._work.compute(size, _request, items, prepared, caller, request_key)
        return await self._recording.record(prepared, request, size, _ms(now))

    async def list_types(self, workspace_id: str) -> tuple[list[CustomType], bool]:
        """The custom types of a workspace, and whether these are all."""
        return await self._work.database(self._types.list, workspace_id)

    async def put_type(self, caller: Caller, name: str, described: Description) -> CustomType:
        """Sets what is known of a type. Raises the problem 403 when it is another app's."""
        now = _ms(self._clock())
        return await self._work.database(self._types.put, caller.workspace_id, caller.app_id, name, described, now)

    async def list_refused(self, workspace_id: str) -> list[Refused]:
        """How many events of a workspace were refused, with those that are counted but not written down yet."""
        await self._work.database(self._refusals.flush)
        return await self._work.database(self._refusals.list, workspace_id)

    def name_fault(self, name: str) -> Fault | None:
        """What is wrong with the name of a custom type in a path, None when nothing is."""
        problem = self._intake.type_fault(name)
        return None if problem is None else Fault("name", problem.code, problem.message, place="path")

    async def _known_types(self, caller: Caller, items: Sequence[Any]) -> dict[str, TypeInfo]:
        names = {item["event_type"] for item in items if _has_type(item)}
        wanted = [name for name in names if self._intake.type_fault(name) is None]
        known = self._types.remembered(caller.workspace_id, wanted)
        if known is None:
            known = await self._work.database(self._types.read, caller.workspace_id, wanted)
        return known

    async def _record_use(self, caller: Caller, outcomes: Sequence[Outcome], now: datetime) -> None:
        labels = {
            one.event.event_type: one.event.label
            for one in reversed(outcomes)
            if one.event is not None and one.fate is Fate.ACCEPTED
        }
        unused = self._types.unused(caller.workspace_id, labels)
        if unused:
            new = {name: labels[name] for name in unused}
            try:
                record = self._types.record_use
                await self._work.database(record, caller.workspace_id, caller.app_id, new, _ms(now))
            except AuditError as error:
                # The events are recorded; the next ones of these types write it down.
                log.warning("the first use of custom types was not written down", types=unused, error=str(error))

    def _answer(
        self, caller: Caller, outcomes: Sequence[Outcome], durability: str, request_id: str, *, batch: bool
    ) -> dict[str, Any]:
        in_doubt = any(one.fate is Fate.IN_DOUBT for one in outcomes)
        for one in outcomes:
            if one.fate in (Fate.NOT_TAKEN, Fate.IN_DOUBT):
                one.problem = not_taken(in_doubt=one.fate is Fate.IN_DOUBT)
        results = [_result(one, request_id) for one in outcomes]
        for status, events in Counter(result["status"] for result in results).items():
            self._counted.labels(status).inc(events)
        problems = [one.problem for one in outcomes if one.problem is not None]
        for reason, events in Counter(_REASONS.get(one.kind, Reason.INVALID) for one in problems).items():
            self._refusals.add(caller.workspace_id, caller.app_id, reason, events)
        kept = len(results) - len(problems)
        if any(one.kind == NOT_TAKEN for one in problems):
            raise not_taken(results if kept or batch else None, in_doubt=in_doubt)
        if not kept:
            raise nothing_accepted(results, () if batch else problems[0].faults)
        return {"results": results, "durability": durability}

    async def _report_foreign_workspace(self, caller: Caller, events: int) -> None:
        """The workspace whose key it is hears of it; the answer is the same when that fails, and the log says so."""
        self._refuse(caller, Reason.FOREIGN_WORKSPACE, events)
        key = {"type": "api_key", "id": caller.key_id, "name": caller.name}
        event = self._acceptance.accept(
            "api_key.rejected",
            {
                "workspace_id": caller.workspace_id,
                "actor": key,
                "targets": [key],
                "source": "api",
                "outcome": "failure",
                "outcome_reason": "foreign_workspace",
                "ip": caller.ip,
                "user_agent": caller.user_agent,
                "app_id": caller.app_id,
                "received_at": self._clock(),
                "metadata": {"events": events},
            },
            self._clock(),
        )
        try:
            await self._recorder.submit(event).durable(5.0)
        except (AuditError, TimeoutError) as error:
            log.warning("a refused key was not recorded", workspace=caller.workspace_id, error=str(error))

    def _refuse(self, caller: Caller, reason: Reason, events: int) -> None:
        self._refusals.add(caller.workspace_id, caller.app_id, reason, events)


def _reason(error: AuditError) -> Reason | None:
    """Why a whole request was refused; None when its events are on their way with another attempt."""
    if isinstance(error, ProblemError):
        return _REASONS.get(error.kind)
    return Reason.NOT_TAKEN


def _is_foreign(item: Any, caller: Caller) -> bool:
    named = item.get("workspace_id") if isinstance(item, dict) else None
    return isinstance(named, str) and named != caller.workspace_id


def _has_type(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("event_type"), str)


def _request(items: Sequence[Any], prepared: Sequence[Prepared], caller: Caller, request_key: str) -> Request:
    """What an Idempotency-Key is remembered by. Retry keys are part of what came with it."""
    contents = [
        f"{one.sent or ''}\0{one.content or content_of(item if isinstance(item, dict) else {'': item})}"
        for item, one in zip(items, prepared, strict=True)
    ]
    id_ = Identities(caller.workspace_id, caller.app_id).of_request(request_key)
    return Request(id_, content_of_request(contents))


def _result(outcome: Outcome, request_id: str) -> dict[str, Any]:
    if outcome.problem is None:
        return {"status": outcome.fate.value, "event_id": outcome.id}
    return {"status": "rejected", "event_id": outcome.prepared.sent, "problem": outcome.problem.body(request_id)}


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


__all__ = ["Service"]
