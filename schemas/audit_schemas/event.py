"""The event: what may be said about one action, with every limit in one place.

The model is the canonical form. What is built by `parse_event` encodes to the bytes that are sent, and a stored row
decodes to an equal model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from audit_schemas.canonical import canonical_ip, canonical_json, canonical_uuid
from audit_schemas.errors import InvalidEvent, Problem
from audit_schemas.topics import CATEGORIES, Category

ActorType = Literal["internal_user", "client", "automation", "api_key", "custom_app", "system", "anonymous"]
Source = Literal["web", "automation", "api"]
Outcome = Literal["success", "failure", "unknown"]

ACTOR_TYPES: Final[tuple[str, ...]] = get_args(ActorType)
SOURCES: Final[tuple[str, ...]] = get_args(Source)
OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)

MAX_EVENT_BYTES: Final = 65_536
"""Largest encoded event, framing included."""
MAX_USER_AGENT: Final = 1024
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_TARGET_TYPE: Final = r"^[a-z][a-z0-9_]{0,63}$"
_NUMBER: Final = re.compile(r"\s*[-+]?[0-9]*\.?[0-9]*(e[-+]?[0-9]+)?\s*", re.IGNORECASE)
_LEAP_SECOND: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d):60((?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)?)")
_NO_NUL: Final = r"^[^\x00]*$"
_NUL_FOUND: Final = "must not hold NUL characters"
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_METADATA_KEYS, _KEY_LENGTH, _TEXT_LENGTH, _CHANGES = 50, 40, 500, 64


def _instant(value: Any) -> Any:
    """Numbers, also as text, are refused: pydantic would guess seconds or milliseconds from their size.

    A leap second, 23:59:60, is the second after it: no clock of ours can show it.
    """
    if isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise ValueError("must be a datetime or RFC 3339 text, not a number")
    leap = _LEAP_SECOND.fullmatch(value) if isinstance(value, str) else None
    if leap is None:
        return value
    before = datetime.fromisoformat(f"{leap[1]}:59{leap[2].upper()}")
    if before.tzinfo is None or _in_utc(before).strftime("%H:%M:%S") != "23:59:59":
        raise ValueError("has a second 60 where no leap second can be")
    return _in_utc(before) + timedelta(seconds=1)


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must carry its offset from UTC")
    value = _in_utc(value)
    if not EPOCH <= value < _LATEST:
        raise ValueError("must lie between 1970 and 2200")
    return value


def _in_utc(value: datetime) -> datetime:
    """In UTC, and never so late that a second more would overflow."""
    try:
        return min(value.astimezone(UTC), _LATEST)
    except OverflowError:
        raise ValueError("must lie between 1970 and 2200") from None


def _parsed(value: Any, kind: type, name: str) -> Any:
    """The JSON value of a field that callers give as a Python value or as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"is not JSON; send a JSON {name}") from None
    if not isinstance(value, kind):
        raise ValueError(f"must be a JSON {name}")  # noqa: TRY004 - pydantic wants ValueError
    return value


def _within_limits(value: dict[Any, Any]) -> bool:
    """Whether there is nothing to look into: few keys, short texts and numbers. Spares the usual event the long look."""
    if len(value) > _METADATA_KEYS:
        return False
    for key, inner in value.items():
        kind = type(inner)
        if type(key) is not str or len(key) > _KEY_LENGTH:
            return False
        if (len(inner) > _TEXT_LENGTH) if kind is str else (kind is not int):
            return False
    return True


def _metadata(value: Any) -> str:
    if value == {} or value == "{}":
        return "{}"
    if type(value) is dict and _within_limits(value):
        return _without_nul(canonical_json(value))
    value = _parsed(value, Mapping, "object")
    faults = [f"key {key!r} is longer than {_KEY_LENGTH}" for key in value if len(str(key)) > _KEY_LENGTH]
    if len(value) > _METADATA_KEYS:
        # Keys that begin with _ are the log's own and come on top.
        keys = sum(not str(key).startswith("_") for key in value)
        if keys > _METADATA_KEYS:
            faults.append(f"has {keys} keys, at most {_METADATA_KEYS} are kept")
    pending = [(str(key), inner) for key, inner in value.items()]
    while pending:
        path, inner = pending.pop()
        if isinstance(inner, str):
            if len(inner) > _TEXT_LENGTH:
                faults.append(f"text at {path!r} is longer than {_TEXT_LENGTH}")
        elif isinstance(inner, Mapping):
            pending.extend((f"{path}.{key}", deeper) for key, deeper in inner.items())
        elif isinstance(inner, (list, tuple)):
            pending.extend((f"{path}.{index}", deeper) for index, deeper in enumerate(inner))
    if faults:
        raise ValueError("; ".join(faults))
    return _without_nul(canonical_json(dict(value)))


def _changes(value: Any) -> str:
    if value == [] or value == () or value == "[]":
        return "[]"
    value = _parsed(value, Sequence, "array")
    faults = [f"has {len(value)} entries, at most {_CHANGES} are kept"] if len(value) > _CHANGES else []
    for index, change in enumerate(value):
        if not isinstance(change, Mapping) or set(change) != {"path", "old", "new"}:
            faults.append(f"entry {index} must have exactly path, old and new")
        elif not isinstance(change["path"], str) or not 1 <= len(change["path"]) <= 256:
            faults.append(f"entry {index}: path must be text of 1 to 256 characters")
    if faults:
        raise ValueError("; ".join(faults))
    return _without_nul(canonical_json([dict(change) for change in value]))


def _without_nul(text: str) -> str:
    if "\\u0000" in text and _NUL_IN_JSON.search(text):
        raise ValueError(_NUL_FOUND)
    return text


def _text(most: int, least: int = 0, pattern: str = _NO_NUL) -> Any:
    return StringConstraints(strict=True, min_length=least, max_length=most, pattern=pattern)


Instant = Annotated[datetime, BeforeValidator(_instant), AfterValidator(_utc)]
EventId = Annotated[str, BeforeValidator(lambda value: canonical_uuid(value))]
WorkspaceId = Annotated[str, _text(64, 1, r"^[A-Za-z0-9_.:-]+$")]
IpAddress = Annotated[str, StringConstraints(strict=True), AfterValidator(canonical_ip)]
Text64 = Annotated[str, _text(64)]
Text80 = Annotated[str, _text(80)]
Text128 = Annotated[str, _text(128)]
Text256 = Annotated[str, _text(256)]

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Actor(BaseModel):
    """Who did it. `id` is the host product's; anonymous and system actors may have none."""

    model_config = _FROZEN
    type: ActorType
    id: Text128 = ""
    name: Text256 = ""
    email: Annotated[str, _text(320)] = ""


class OnBehalfOf(BaseModel):
    """The person behind a key, automation, app or assistant; all empty when there is none."""

    model_config = _FROZEN
    type: ActorType | Literal[""] = ""
    id: Text128 = ""
    name: Text256 = ""


class Target(BaseModel):
    """One thing that was acted on."""

    model_config = _FROZEN
    type: Annotated[str, _text(64, 1, _TARGET_TYPE)]
    id: Text128 = ""
    name: Text256 = ""


class ProducerStamp(BaseModel):
    """Who sent the event. `seq` counts up by one per instance, so a hole is a lost event."""

    model_config = _FROZEN
    service: Text128 = ""
    instance: Text64 = ""
    version: Text64 = ""
    seq: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0


class Event(BaseModel):
    """One action taken in a workspace, in canonical form. Field order is the Avro contract's."""

    model_config = _FROZEN
    event_id: EventId
    workspace_id: WorkspaceId
    category: Category
    event_type: Annotated[str, _text(96, 1)]
    label: Text80 = ""
    occurred_at: Instant
    received_at: Instant = EPOCH
    actor: Actor
    on_behalf_of: OnBehalfOf = OnBehalfOf()
    source: Source
    ip: IpAddress = ""
    user_agent: Annotated[str, _text(MAX_USER_AGENT)] = ""
    targets: Annotated[tuple[Target, ...], Field(max_length=16)] = ()
    outcome: Outcome = "success"
    outcome_reason: Text64 = ""
    changes: Annotated[str, BeforeValidator(_changes)] = "[]"
    metadata: Annotated[str, BeforeValidator(_metadata)] = "{}"
    request_id: Text128 = ""
    session_id: Text128 = ""
    app_id: Text64 = ""
    producer: ProducerStamp = ProducerStamp()


def parse_event(data: Mapping[str, Any]) -> Event:
    """Validates and brings to canonical form. Raises `InvalidEvent` with every problem there is."""
    try:
        return Event.model_validate(data)
    except ValidationError as error:
        raise InvalidEvent(problems_of(error)) from None


def problems_of(error: ValidationError) -> tuple[Problem, ...]:
    """What pydantic found, in our words: a JSON pointer, a stable code, a sentence and the allowed values."""
    return tuple(
        Problem(
            pointer="".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in fault["loc"]),
            code="nul" if _has_nul(fault) else fault["type"],
            message=_NUL_FOUND if _has_nul(fault) else fault["msg"].removeprefix("Value error, "),
            allowed=_allowed(fault),
        )
        for fault in error.errors(include_url=False)
    )


def _has_nul(fault: Any) -> bool:
    return bool(fault["type"] == "string_pattern_mismatch" and fault["ctx"]["pattern"] == _NO_NUL)


def _allowed(fault: Any) -> tuple[str, ...]:
    if fault["type"] != "literal_error":
        return ()
    return tuple(re.findall(r"'([^']*)'", fault["ctx"]["expected"]))


def refuse_too_large(size: int, most: int = MAX_EVENT_BYTES) -> None:
    """Raises `InvalidEvent` when an event of so many encoded bytes is too large."""
    if size > most:
        fault = f"the event has {size} bytes, at most {most} are taken"
        raise InvalidEvent((Problem("", "too_large", fault),))


def micros(instant: datetime) -> int:
    """Microseconds since 1970, exactly (`datetime.timestamp` goes through a float)."""
    since = instant - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def instant_of(value: int) -> datetime:
    """The UTC instant of microseconds since 1970. Raises `OverflowError` beyond the years 1 to 9999."""
    return EPOCH + timedelta(microseconds=value)


__all__ = [
    "ACTOR_TYPES",
    "CATEGORIES",
    "EPOCH",
    "MAX_EVENT_BYTES",
    "MAX_USER_AGENT",
    "OUTCOMES",
    "SOURCES",
    "Actor",
    "ActorType",
    "Category",
    "Event",
    "OnBehalfOf",
    "Outcome",
    "ProducerStamp",
    "Source",
    "Target",
    "instant_of",
    "micros",
    "parse_event",
    "problems_of",
    "refuse_too_large",
]
