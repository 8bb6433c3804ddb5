"""What happens to an event before it is accepted: defaults, the catalogue's rules, redaction, and every limit.

Whoever takes events from callers, the SDK and an Events API alike, comes through `accept`. Pure but for the new id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import uuid_utils

from audit_schemas.catalogue import Catalogue, EventType
from audit_schemas.errors import InvalidEvent, Problem
from audit_schemas.event import MAX_USER_AGENT, Event, parse_event
from audit_schemas.redaction import SECRET_FIELDS, redacted_change

OLDEST: Final = timedelta(days=3652)
NEWEST: Final = timedelta(days=1)
_HOW_TO_SAY_WHAT_CHANGED: Final = (
    "say what changed, as [{path, old, new}]; changes_between(old, new) of audit_producers makes that list, "
    "and when it is empty nothing was updated"
)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The rules that stay the same from event to event."""

    catalogue: Catalogue
    secret_fields: frozenset[str] = field(default=SECRET_FIELDS)
    newest: timedelta = NEWEST
    """How far ahead of now an event may lie."""

    def accept(self, event_type: str, fields: Mapping[str, Any], now: datetime) -> Event:
        """The event as it will be sent. Raises `InvalidEvent` with every problem; nothing is sent then.

        `fields` are those of `Event` that the caller knows. The id and the instant are made up when missing; category
        and label come from the catalogue, or from the custom app.
        """
        problems: list[Problem] = []
        data = {name: value for name, value in fields.items() if value is not None}
        data["event_type"] = event_type
        if "event_id" not in data:
            data["event_id"] = str(uuid_utils.uuid7())
        if "occurred_at" not in data:
            data["occurred_at"] = now
        known = event_type if isinstance(event_type, str) else ""
        if "outcome" not in data:
            data["outcome"] = "failure" if known.endswith(("_failed", ".failed")) else "success"
        native = self.catalogue.get(known)
        if native is not None:
            _native(native, data, problems)
        else:
            self._custom(known, data, problems)
        _metadata(data, problems)
        if data.get("changes"):
            self._changes(data, problems)
        try:
            event = parse_event(data)
        except InvalidEvent as error:
            raise InvalidEvent((*problems, *error.problems)) from None
        if event.occurred_at is not now and not now - OLDEST <= event.occurred_at <= now + self.newest:
            ahead = "one day" if self.newest == NEWEST else f"{self.newest // timedelta(minutes=1)} minutes"
            problems.append(
                Problem("/occurred_at", "out_of_range", f"must lie between ten years ago and {ahead} ahead of now")
            )
        unsaid = native is not None and native.changes_required and event.changes == "[]"
        if unsaid and not any(problem.pointer == "/changes" for problem in problems):
            why = f"{event.event_type} is an update: {_HOW_TO_SAY_WHAT_CHANGED}"
            problems.append(Problem("/changes", "required", why))
        if problems:
            raise InvalidEvent(tuple(problems))
        return event

    def _custom(self, event_type: str, data: dict[str, Any], problems: list[Problem]) -> None:
        if event_type and not data.get("app_id"):
            near = self.catalogue.nearest(event_type)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            problems.append(
                Problem(
                    "/event_type",
                    "unknown_event_type",
                    f"{event_type[:96]!r} is not in the catalogue{hint} (a custom app's own event needs its app_id)",
                    near,
                )
            )
        if data.setdefault("category", "developer") != "developer":
            problems.append(Problem("/category", "custom", "events of custom apps are in the category developer"))
            data["category"] = "developer"
        if not data.get("label"):
            data["label"] = label_of(event_type)

    def _changes(self, data: dict[str, Any], problems: list[Problem]) -> None:
        changes = data["changes"]
        if isinstance(changes, str):
            try:
                changes = json.loads(changes)
            except (ValueError, RecursionError):
                return
        if isinstance(changes, (list, tuple)):
            try:
                data["changes"] = [
                    redacted_change(change, self.secret_fields) if isinstance(change, Mapping) else change
                    for change in changes
                ]
            except ValueError as error:
                problems.append(Problem("/changes", "too_deep", str(error)))
                data["changes"] = []


def _native(native: EventType, data: dict[str, Any], problems: list[Problem]) -> None:
    data["event_type"] = native.name
    for name, value in (("category", native.category), ("label", "")):
        if data.setdefault(name, value) != value:
            problems.append(
                Problem(f"/{name}", "from_catalogue", f"{native.name} has its {name} from the catalogue; leave it out")
            )
            data[name] = value
    targets = data.get("targets", ())
    if not native.targets or not isinstance(targets, (list, tuple)):
        return
    for number, target in enumerate(targets):
        kind = target.get("type") if isinstance(target, (dict, Mapping)) else None
        if isinstance(kind, str) and kind not in native.targets:
            problems.append(
                Problem(
                    f"/targets/{number}/type",
                    "not_of_this_type",
                    f"{native.name} is not done to a {kind}",
                    native.targets,
                )
            )


def _metadata(data: dict[str, Any], problems: list[Problem]) -> None:
    metadata = data.get("metadata", {})
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except (ValueError, RecursionError):
            # Stays what it is: validation says what is wrong with it.
            metadata = None
    is_object = isinstance(metadata, (dict, Mapping))
    if metadata and is_object:
        reserved = [key for key in metadata if str(key).startswith("_")]
        why = "keys that begin with _ are the log's own"
        problems.extend(Problem(f"/metadata/{key}", "reserved", why) for key in reserved)
    agent = data.get("user_agent", "")
    if isinstance(agent, str) and len(agent) > MAX_USER_AGENT:
        data["user_agent"] = agent[:MAX_USER_AGENT]
        if is_object:
            data["metadata"] = {**metadata, "_truncated": ["user_agent"]}


def label_of(event_type: str) -> str:
    """What a custom type is called when nobody said: `deal.stage_changed` reads as "Deal Stage Changed"."""
    return " ".join(word.capitalize() for word in event_type.replace(".", " ").replace("_", " ").split())[:80]


__all__ = ["NEWEST", "OLDEST", "Acceptance", "label_of"]
