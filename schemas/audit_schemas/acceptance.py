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

OLDEST: Final = timedelta(days=3652)
NEWEST: Final = timedelta(days=1)
REDACTED: Final[Mapping[str, bool]] = {"redacted": True}
SECRET_FIELDS: Final[frozenset[str]] = frozenset(
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "client_secret",
        "token",
        "access_token",
        "refresh_token",
        "id_token",
        "api_key",
        "apikey",
        "private_key",
        "signing_key",
        "credential",
        "credentials",
        "authorization",
        "cookie",
        "session_token",
        "mfa_secret",
        "recovery_codes",
        "card_number",
        "cvc",
        "cvv",
        "iban",
        "account_number",
        "ssn",
    ]
)
"""Values of changes at these fields, at any depth of the path, never leave the caller's process."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The rules that stay the same from event to event."""

    catalogue: Catalogue
    secret_fields: frozenset[str] = field(default=SECRET_FIELDS)

    def accept(self, event_type: str, fields: Mapping[str, Any], now: datetime) -> Event:
        """The event as it will be sent. Raises `InvalidEvent` with every problem; nothing is sent then.

        `fields` are those of `Event` that the caller knows. The id and the instant are made up when missing; category
        and label come from the catalogue, or from the custom app.
        """
        problems: list[Problem] = []
        data = {name: value for name, value in fields.items() if value is not None}
        data["event_type"] = event_type
        data.setdefault("event_id", str(uuid_utils.uuid7()))
        data.setdefault("occurred_at", now)
        data.setdefault("outcome", "failure" if event_type.endswith("_failed") else "success")
        native = self.catalogue.get(event_type) if isinstance(event_type, str) else None
        if native is not None:
            self._native(native, data, problems)
        else:
            self._custom(event_type, data, problems)
        self._metadata(data, problems)
        self._changes(data)
        try:
            event = parse_event(data)
        except InvalidEvent as error:
            raise InvalidEvent((*problems, *error.problems)) from None
        if not now - OLDEST <= event.occurred_at <= now + NEWEST:
            problems.append(
                Problem("/occurred_at", "out_of_range", "must lie between ten years ago and one day ahead of now")
            )
        if native is not None and native.changes_required and event.changes == "[]":
            problems.append(
                Problem("/changes", "required", f"{native.name} is an update: say what changed (path, old, new)")
            )
        if problems:
            raise InvalidEvent(tuple(problems))
        return event

    def _native(self, native: EventType, data: dict[str, Any], problems: list[Problem]) -> None:
        data["event_type"] = native.name
        for name, value in (("category", native.category), ("label", "")):
            if data.setdefault(name, value) != value:
                problems.append(
                    Problem(
                        f"/{name}", "from_catalogue", f"{native.name} has its {name} from the catalogue; leave it out"
                    )
                )
                data[name] = value
        if native.targets:
            for number, target in enumerate(data.get("targets", ())):
                kind = target.get("type") if isinstance(target, Mapping) else None
                if isinstance(kind, str) and kind not in native.targets:
                    problems.append(
                        Problem(
                            f"/targets/{number}/type",
                            "not_of_this_type",
                            f"{native.name} is not done to a {kind}",
                            native.targets,
                        )
                    )

    def _custom(self, event_type: str, data: dict[str, Any], problems: list[Problem]) -> None:
        if not data.get("app_id"):
            near = self.catalogue.nearest(event_type) if isinstance(event_type, str) else ()
            hint = f"; did you mean {' or '.join(near)}?" if near else "; a custom app's event needs its app_id"
            problems.append(
                Problem("/event_type", "unknown_event_type", f"{event_type!r} is not in the catalogue{hint}", near)
            )
        if data.setdefault("category", "developer") != "developer":
            problems.append(Problem("/category", "custom", "events of custom apps are in the category developer"))
            data["category"] = "developer"
        if not data.get("label"):
            data["label"] = _label(str(event_type))

    def _metadata(self, data: dict[str, Any], problems: list[Problem]) -> None:
        metadata = data.get("metadata", {})
        agent = data.get("user_agent", "")
        if isinstance(metadata, Mapping):
            reserved = [str(key) for key in metadata if str(key).startswith("_")]
            problems += [
                Problem(f"/metadata/{key}", "reserved", "keys that begin with _ are the log's own") for key in reserved
            ]
        if isinstance(agent, str) and len(agent) > MAX_USER_AGENT:
            data["user_agent"] = agent[:MAX_USER_AGENT]
            if isinstance(metadata, Mapping):
                data["metadata"] = {**metadata, "_truncated": ["user_agent"]}

    def _changes(self, data: dict[str, Any]) -> None:
        changes = data.get("changes")
        if isinstance(changes, str):
            try:
                changes = json.loads(changes)
            except (ValueError, RecursionError):
                return
        if isinstance(changes, (list, tuple)):
            data["changes"] = [self._redacted(change) for change in changes]

    def _redacted(self, change: Any) -> Any:
        if not isinstance(change, Mapping):
            return change
        path = str(change.get("path", ""))
        secret = any(part.lower() in self.secret_fields for part in path.replace("/", ".").replace("[", ".").split("."))
        return {
            key: value if key == "path" or value is None else dict(REDACTED) if secret else self._without_secrets(value)
            for key, value in change.items()
        }

    def _without_secrets(self, value: Any, depth: int = 0) -> Any:
        """Secrets also hide inside the objects that changed."""
        if depth > 100:
            return value
        if isinstance(value, Mapping):
            return {
                key: dict(REDACTED)
                if isinstance(key, str) and key.lower() in self.secret_fields
                else self._without_secrets(inner, depth + 1)
                for key, inner in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._without_secrets(inner, depth + 1) for inner in value]
        return value


def _label(event_type: str) -> str:
    """`deal.stage_changed` reads as "Deal Stage Changed"."""
    return " ".join(word.capitalize() for word in event_type.replace(".", " ").replace("_", " ").split())[:80]


__all__ = ["NEWEST", "OLDEST", "REDACTED", "SECRET_FIELDS", "Acceptance"]
