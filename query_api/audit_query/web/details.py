"""Everything about one event: its fields in words, what changed, what else belongs to it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from audit_query.web.address import PATH, Address
from audit_query.web.messages import say, say_value
from audit_query.web.rows import named
from audit_query.web.viewer import Viewer

_AROUND: Final = timedelta(days=1)
"""How far from an event others of its request are looked for: what a request sets off is over by then."""


@dataclass(frozen=True, slots=True)
class Field:
    """One line: `name` and `text`; what stands in `code` is shown as such."""

    name: str
    text: str
    code: bool = False


@dataclass(frozen=True, slots=True)
class ChangeView:
    """One changed value, before and after; None where there was or is none."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Related:
    """A way to other events."""

    text: str
    link: str


@dataclass(frozen=True, slots=True)
class Details:
    """One event for the drawer and its own page."""

    event_id: str
    title: str
    failed: bool
    moment: str
    ago: str
    utc: str
    permalink: str
    fields: tuple[Field, ...]
    changes: tuple[ChangeView, ...]
    metadata: tuple[Field, ...]
    related: tuple[Related, ...]
    raw: str


def details(row: Mapping[str, Any], viewer: Viewer, category_labels: Mapping[str, str]) -> Details:
    """The service's answer about one event, in words."""
    at = datetime.fromisoformat(row["occurred_at"])
    return Details(
        event_id=row["event_id"],
        title=row["label"],
        failed=row["outcome"] == "failure",
        moment=f"{viewer.exact(at)} {viewer.zone.key}",
        ago=viewer.ago(at),
        utc=row["occurred_at"],
        permalink=f"{PATH}/events/{row['event_id']}",
        fields=tuple(one for one in _fields(row, viewer, category_labels) if one.text),
        changes=_changes(row["changes"]),
        metadata=_metadata(row["metadata"]),
        related=tuple(_related(row, at)),
        raw=json.dumps(row, ensure_ascii=False, indent=2),
    )


def _changes(value: Any) -> tuple[ChangeView, ...]:
    """What changed; text that is not as the SDK writes it stands in the raw JSON alone."""
    if not isinstance(value, list):
        return ()
    known = [one for one in value if isinstance(one, dict) and isinstance(one.get("path"), str)]
    return tuple(ChangeView(one["path"], _value(one.get("old")), _value(one.get("new"))) for one in known)


def _metadata(value: Any) -> tuple[Field, ...]:
    if not isinstance(value, dict):
        return ()
    return tuple(Field(key, _value(each) or say("nothing"), code=True) for key, each in value.items())


def _fields(row: Mapping[str, Any], viewer: Viewer, category_labels: Mapping[str, str]) -> list[Field]:
    accepted = viewer.exact(datetime.fromisoformat(row["accepted_at"]))
    found = [
        Field(say("field_actor"), _who(row["actor"])),
        Field(say("field_behalf"), _who(row["on_behalf_of"]) if row["on_behalf_of"] else ""),
        Field(say("field_app"), row["app_id"] or ""),
        Field(say("field_source"), say_value("source", row["source"])),
        Field(say("field_category"), category_labels.get(row["category"], row["category"])),
        Field(say("field_type"), row["event_type"], code=True),
        Field(say("field_outcome"), _joined(say_value("outcome", row["outcome"]), row["outcome_reason"])),
    ]
    found += [Field(say("field_target"), _joined(one["name"], one["type"], one["id"])) for one in row["targets"]]
    return [
        *found,
        Field(say("field_ip"), row["ip"] or "", code=True),
        Field(say("field_agent"), row["user_agent"] or ""),
        Field(say("field_request"), row["request_id"] or "", code=True),
        Field(say("field_session"), row["session_id"] or "", code=True),
        Field(say("field_producer"), _joined(row["producer"]["service"], row["producer"]["version"])),
        Field(say("field_accepted"), say("late", time=accepted) if row["late"] else accepted),
        Field(say("field_id"), row["event_id"], code=True),
    ]


def _related(row: Mapping[str, Any], at: datetime) -> list[Related]:
    found = []
    if row["request_id"]:
        around = (("since", (at - _AROUND).isoformat()), ("until", (at + _AROUND).isoformat()))
        found.append(Related(say("same_request"), Address((("request_id", row["request_id"]), *around)).link()))
    actor = row["actor"]
    if actor["id"]:
        user = ("user", f"{actor['type']}:{actor['id']}")
        found.append(Related(say("more_by", name=named(actor)), Address((user,)).link()))
    for one in row["targets"]:
        if one["id"]:
            target = ("target", f"{one['type']}:{one['id']}")
            found.append(Related(say("more_on", name=one["name"] or one["id"]), Address((target,)).link()))
    return found


def _who(actor: Mapping[str, Any]) -> str:
    return _joined(actor["name"], say_value("actor", actor["type"]), actor.get("email"), actor["id"])


def _joined(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)


def _value(value: Any) -> str | None:
    if value is None:
        return None
    if value == {"redacted": True}:
        return say("redacted")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


__all__ = ["ChangeView", "Details", "Field", "Related", "details"]
