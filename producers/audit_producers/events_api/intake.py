"""From what a caller sends to events: ids, types, labels, schemas, sizes, and every problem of an item at once.

Pure but for new ids. The rules that hold for all events are `audit_schemas.acceptance`'s; these are the Events API's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from audit_infra.http.problems import Fault, ProblemError
from audit_producers.events_api.fields import Caller, add_actor, fields_of
from audit_producers.events_api.identity import Identities, content_of
from audit_producers.events_api.problems import invalid_event
from audit_producers.events_api.schemas import MetadataSchema
from audit_schemas.acceptance import Acceptance
from audit_schemas.canonical import canonical_json
from audit_schemas.catalogue import Catalogue
from audit_schemas.datum import head_of
from audit_schemas.errors import InvalidEvent, Problem
from audit_schemas.event import MAX_EVENT_BYTES, Event

AHEAD: Final = timedelta(minutes=5)
"""How far an event may lie ahead of the server's clock."""
MAX_KEY: Final = 128
MAX_TYPE: Final = 96
TYPE_PATTERN: Final = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}$"
_TYPE: Final = re.compile(TYPE_PATTERN.strip("^$"))
_MOST_FAULTS: Final = 100
_STAMP_BYTES: Final = 300
"""Room for the producer's stamp, which is added when the event is handed over."""


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """What is known of a custom type. `rejects`: an event that does not match the schema is not accepted."""

    label: str = ""
    schema: MetadataSchema | None = None
    rejects: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """One item: an event, or why there is none.

    `sent` is the retry key of the item as it was sent. `id` is what the event is stored under, "" when it has no retry
    key of any kind; then `content` is empty too. `dated` says whether the item had an instant of its own.
    """

    sent: str | None
    id: str = ""
    content: str = ""
    dated: bool = False
    event: Event | None = None
    problem: ProblemError | None = None


class Intake:
    """The rules. Thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue, self._acceptance = catalogue, Acceptance(catalogue, newest=AHEAD)

    def prepare(
        self, items: Sequence[Any], caller: Caller, request_key: str, types: Mapping[str, TypeInfo], now: datetime
    ) -> list[Prepared]:
        """The events of a request's items, in their order. An empty `request_key` is none."""
        request = _Request(self._catalogue, self._acceptance, caller, request_key, types, now)
        return [request.prepared(item, index) for index, item in enumerate(items)]

    def type_fault(self, name: str) -> Problem | None:
        """What is wrong with the name of a custom type, None when nothing is."""
        return _type_fault(name, self._catalogue)


class _Request:
    """What the items of one request share."""

    def __init__(
        self,
        catalogue: Catalogue,
        acceptance: Acceptance,
        caller: Caller,
        request_key: str,
        types: Mapping[str, TypeInfo],
        now: datetime,
    ) -> None:
        self._catalogue, self._acceptance, self._caller = catalogue, acceptance, caller
        self._request_key, self._types, self._now = request_key, types, now
        self._identities = Identities(caller.workspace_id, caller.app_id)
        self._repeated = caller.repeated()

    def prepared(self, item: Any, index: int) -> Prepared:
        if not isinstance(item, dict):
            return Prepared(None, problem=_rejection([Problem("", "wrong_type", "must be an event object")]))
        problems: list[Problem] = []
        sent, id_ = self._identity(item.get("event_id"), index, problems)
        event: Event | None = None
        try:
            event = self._event(item, id_, problems)
        except InvalidEvent as error:
            # What the server copied from the actor has the actor's faults.
            problems += [one for one in error.problems if not one.pointer.startswith("/on_behalf_of")]
        return Prepared(
            sent=sent,
            id=id_,
            content=content_of(item) if id_ else "",
            dated=item.get("occurred_at") is not None,
            event=None if problems else event,
            problem=_rejection(problems) if problems else None,
        )

    def _identity(self, key: Any, index: int, problems: list[Problem]) -> tuple[str | None, str]:
        """The retry key as it was sent, and the id the event is stored under when it has one."""
        if key is None:
            return None, self._identities.of_position(self._request_key, index) if self._request_key else ""
        sent = key if isinstance(key, str) else None
        if sent is None or not 1 <= len(sent) <= MAX_KEY or "\0" in sent:
            problems.append(Problem("/event_id", "retry_key", f"must be text of 1 to {MAX_KEY} characters without NUL"))
            return sent, ""
        return sent, self._identities.of_event(sent)

    def _event(self, item: Mapping[str, Any], id_: str, problems: list[Problem]) -> Event:
        """The event; of no value when there are problems beside. Raises `InvalidEvent` for what all events must be."""
        event_type = self._type(item.get("event_type"), problems)
        info = self._types.get(event_type, _UNKNOWN)
        caller, own = self._caller, dict[str, Any]()
        fields = fields_of(item, self._repeated, problems)
        add_actor(item, caller, fields, own, problems)
        if info.schema is not None:
            found = info.schema.problems(fields.get("metadata") or {})
            if info.rejects:
                problems += found
            elif found:
                own["_schema_violations"] = [str(one)[:200] for one in found[:10]]
        fields.update(workspace_id=caller.workspace_id, app_id=caller.app_id, source="api", received_at=self._now)
        if id_:
            fields["event_id"] = id_
        if not fields.get("label"):
            fields["label"] = info.label
        event = self._acceptance.accept(event_type, fields, self._now)
        if own:
            # The log's own keys, which a body may not have.
            event = event.model_copy(update={"metadata": canonical_json({**json.loads(event.metadata), **own})})
        if (size := _size(event)) > MAX_EVENT_BYTES:
            raise InvalidEvent((Problem("", "too_large", f"has {size} bytes, at most {MAX_EVENT_BYTES} are kept"),))
        return event

    def _type(self, value: Any, problems: list[Problem]) -> str:
        """The type's name, or one that stands in for it, so that everything else is checked too."""
        if value is None:
            problems.append(Problem("/event_type", "required", "is required"))
        elif not isinstance(value, str):
            problems.append(Problem("/event_type", "wrong_type", "must be text"))
        elif fault := _type_fault(value, self._catalogue):
            problems.append(fault)
        else:
            return value
        return "app.event"


def _type_fault(name: str, catalogue: Catalogue) -> Problem | None:
    if catalogue.get(name) is not None:
        text = "is a native type: native events are emitted by the product (GET /v1/catalogue lists them)"
        return Problem("/event_type", "native_event_type", text)
    if len(name) > MAX_TYPE or not _TYPE.fullmatch(name):
        text = f"must be 2 to 4 words of a-z 0-9 _ with dots between, up to {MAX_TYPE} characters: {TYPE_PATTERN}"
        return Problem("/event_type", "custom_event_type", text)
    return None


def _size(event: Event) -> int:
    """The bytes of the event, or a number that is small enough: counting exactly costs as much as encoding."""
    texts = len(event.metadata) + len(event.changes) + sum(len(one.id) + len(one.name) for one in event.targets)
    # A character has up to four bytes; 16 KiB hold everything else at its longest.
    return 0 if 4 * texts + 16_384 <= MAX_EVENT_BYTES else len(head_of(event)) + _STAMP_BYTES


def _rejection(problems: Sequence[Problem]) -> ProblemError:
    faults = [Fault.of(one) for one in problems[:_MOST_FAULTS]]
    if len(problems) > _MOST_FAULTS:
        left = f"there are {len(problems) - _MOST_FAULTS} problems more"
        faults.append(Fault("", "more", left, place="body"))
    return invalid_event(tuple(faults))


_UNKNOWN = TypeInfo()

__all__ = ["AHEAD", "MAX_KEY", "MAX_TYPE", "TYPE_PATTERN", "Intake", "Prepared", "TypeInfo"]
