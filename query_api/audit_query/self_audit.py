"""Records what is done with the log in the log itself, through the SDK, as any product service does.

Reading goes on whatever becomes of its events: one that can't be recorded is logged and counted. An export is different:
what nobody recorded is not handed out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Any, Final, Self, Unpack

import structlog
from prometheus_client import CollectorRegistry, Counter

from audit_infra.access import Principal
from audit_producers import AuditLog, EventFields, ProducerSettings, Receipt, carried
from audit_producers.ports import Transport
from audit_query.exports.tally import Tally
from audit_query.filters import Params
from audit_query.lately import Lately
from audit_query.ports import Clock
from audit_query.problems import not_recorded
from audit_query.self_audit_events import (
    NOT_FILTERS,
    RANGE,
    Change,
    actor_of,
    asked,
    change_event,
    filter_metadata,
    the_log,
)
from audit_query.settings import QuerySettings
from audit_schemas.errors import AuditError

SERVICE: Final = "audit-query"
_BROKE_OFF, _INTERRUPTED = "broke_off", "interrupted"
log = structlog.get_logger("audit_query.self_audit")


class SelfAudit:
    """Belongs to one event loop. Who asks comes from the principal; address, user agent, session and request id come
    from the surrounding `audit_context`.

    `audit_log` is closed with this; None records nothing.
    """

    def __init__(
        self, audit_log: AuditLog | None, clock: Clock, lost: Counter, *, every: timedelta, remembered: int
    ) -> None:
        self._log, self._clock, self._lost = audit_log, clock, lost
        self._views, self._searches = Lately(remembered, every), Lately(remembered, every)

    @classmethod
    def of(
        cls,
        settings: QuerySettings,
        clock: Clock,
        registry: CollectorRegistry,
        transport: Callable[[ProducerSettings], Transport] | None = None,
    ) -> Self:
        """As the settings say; `transport` is given by tests."""
        lost = Counter(
            "audit_query_self_audit_lost", "Events about the log's own use that were not recorded.", registry=registry
        )

        def given_back(receipt: Receipt, error: AuditError) -> None:
            lost.inc()
            log.error("an event about the log's own use was given back", event_id=receipt.event_id, error=str(error))

        audit_log = None
        if settings.self_audit:
            release = version("workspace-audit-log")
            make = partial(AuditLog, SERVICE, version=release, settings=settings, on_delivery_failure=given_back)
            audit_log = make() if transport is None else make(transport=transport)
        every = timedelta(seconds=settings.self_audit_every_s)
        return cls(audit_log, clock, lost, every=every, remembered=settings.self_audit_remembered)

    def viewed(self, principal: Principal) -> None:
        """Somebody reads: told once per session and hour. A page's session is its cookie, an API's its credential."""
        key = _who(principal)
        if self._views.is_news(key, None, self._clock()) and not self._emit("audit_log.viewed", principal):
            self._views.forget(key)

    def listed(self, principal: Principal, params: Params) -> None:
        """Somebody was shown a page of events: a view, and, when it is the first page of a filter, a search.

        On the web a search is told when the session's filter becomes another one: not when the page is loaded again,
        and not when somebody pages back to its beginning. Programs ask the same thing again and again, for later and
        later times: of them a search is told once per credential, filter (ranges aside) and hour.
        """
        self.viewed(principal)
        if any(name == "cursor" for name, _ in params):
            return
        filter_, who = asked(params), _who(principal)
        web = carried().get("source") == "web"
        chosen = tuple((name, *values) for name, values in sorted(filter_.items()) if web or name not in RANGE | {"tz"})
        key, value = (who, chosen) if web else ((who, chosen), None)
        news = self._searches.is_news(key, value, self._clock())
        if filter_ and news and not self._emit("audit_log.searched", principal, metadata=filter_metadata(filter_)):
            self._searches.forget(key)

    async def export(
        self,
        principal: Principal,
        params: Params,
        options: Mapping[str, str],
        export_id: str,
        body: AsyncGenerator[bytes],
        tally: Tally,
    ) -> AsyncGenerator[bytes]:
        """The same bytes, which `tally` counts; the export's beginning is recorded before this returns, its end when
        they end.

        Raises the problem 503 when the beginning can't be recorded, having closed `body`.
        """
        if self._log is None:
            return body
        targets = [{"type": "export", "id": export_id}, the_log(principal.workspace_id)]
        about = filter_metadata(asked(params, NOT_FILTERS | options.keys())) | dict(options)
        fields = EventFields(
            workspace_id=principal.workspace_id, actor=actor_of(principal), targets=targets, metadata=about
        )
        try:
            await self._log.aemit("audit_log.export_requested", mode="durable", **fields)
        except AuditError as error:
            log.error("an export is refused, since it can't be recorded", error=str(error))  # noqa: TRY400 - as below
            await body.aclose()
            raise not_recorded() from None
        return self._followed(body, tally, principal, targets, about)

    async def _followed(
        self,
        body: AsyncGenerator[bytes],
        tally: Tally,
        principal: Principal,
        targets: list[Mapping[str, str]],
        about: dict[str, Any],
    ) -> AsyncGenerator[bytes]:
        def ended(event_type: str, reason: str = "") -> None:
            metadata = about | ({} if tally.rows is None else {"rows": tally.rows}) | {"bytes": tally.bytes}
            self._emit(event_type, principal, targets=targets, metadata=metadata, outcome_reason=reason)

        try:
            async with contextlib.aclosing(body):
                async for chunk in body:
                    yield chunk
        except (GeneratorExit, asyncio.CancelledError):
            ended("audit_log.export_failed", _INTERRUPTED)
            raise
        except Exception:
            ended("audit_log.export_failed", _BROKE_OFF)
            raise
        ended("audit_log.export_completed")

    async def changed(self, change: Change) -> None:
        """A workspace, a plan or a key was changed. It has happened, so it is no error when it can't be recorded."""
        event = change_event(change.kind, change.workspace_id, change.old, change.new)
        if event is not None:
            event_type, fields = event
            self._take(event_type, fields | EventFields(actor=actor_of(change.principal)))

    async def must(self, event_type: str, principal: Principal, **fields: Unpack[EventFields]) -> None:
        """Returns once the event is durable. Raises the problem 503 when it can't be: then it must not happen."""
        if self._log is None:
            return
        common = EventFields(workspace_id=principal.workspace_id, actor=actor_of(principal))
        try:
            await self._log.aemit(event_type, mode="durable", **(common | fields))
        except AuditError as error:
            log.error("refused, since it can't be recorded", event_type=event_type, error=str(error))  # noqa: TRY400 - as below
            raise not_recorded() from None

    def note(self, event_type: str, principal: Principal, **fields: Unpack[EventFields]) -> None:
        """It has happened, so it is no error when it can't be recorded."""
        self._emit(event_type, principal, **fields)

    async def close(self, timeout_s: float) -> None:
        """Everything taken becomes durable; Kafka gets `timeout_s` seconds, the rest waits in the spool."""
        if self._log is not None:
            await asyncio.to_thread(self._log.close, timeout_s)

    def _emit(self, event_type: str, principal: Principal, **fields: Unpack[EventFields]) -> bool:
        common = EventFields(
            workspace_id=principal.workspace_id, actor=actor_of(principal), targets=[the_log(principal.workspace_id)]
        )
        return self._take(event_type, common | fields)

    def _take(self, event_type: str, fields: EventFields) -> bool:
        """Hands the event over, which never waits: not for room, not for the disk, not for Kafka; whether it was taken."""
        if self._log is None:
            return True
        try:
            self._log.emit(event_type, mode="durable", **fields)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with recording, reading goes on
            self._lost.inc()
            workspace = fields.get("workspace_id")
            # No stack trace: its variables hold what people wrote.
            log.error("not recorded", event_type=event_type, workspace=workspace, error=str(error))  # noqa: TRY400
            return False
        return True


def _who(principal: Principal) -> Hashable:
    session = carried().get("session_id")
    return principal.workspace_id, session or (principal.kind, principal.subject)


__all__ = ["SERVICE", "SelfAudit"]
