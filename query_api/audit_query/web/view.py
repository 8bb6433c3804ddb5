"""What the page shows, worked out before the template: labels, local times, filters as lists and chips. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from ua_parser import parse as parse_user_agent

KINDS = {
    "internal_user": "Internal user",
    "client": "Client",
    "automation": "Automation",
    "api_key": "API key",
    "custom_app": "Custom app",
    "system": "System",
    "anonymous": "Not signed in",
}
SOURCES = {"web": "Web", "automation": "Automation", "api": "API"}
FILTERS = ("user", "event", "category", "since", "until", "tz")
Params = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RowView:
    """One row of the table."""

    event_id: str
    actor: str
    actor_kind: str
    actor_title: str
    source: str
    event: str
    event_type: str
    target: str
    failed: bool
    ip: str
    agent: str
    agent_full: str
    utc: str
    day: str
    clock: str


@dataclass(frozen=True, slots=True)
class Option:
    """One checkbox of a filter."""

    value: str
    label: str
    note: str
    checked: bool
    group: str = ""


@dataclass(frozen=True, slots=True)
class Chip:
    """An active filter, and the address of the page without it."""

    name: str
    label: str
    without: str


@lru_cache(maxsize=4096)
def short_agent(text: str) -> str:
    """`Chrome on Mac OS X` for a browser, the first word for anything else."""
    found = parse_user_agent(text)
    browser = found.user_agent.family if found.user_agent else ""
    system = found.os.family if found.os else ""
    system = {"Mac OS X": "macOS"}.get(system, system)
    if browser and system:
        return f"{browser} on {system}"
    return browser or text.split(" ")[0][:40]


def row_view(row: Mapping[str, Any], zone: ZoneInfo) -> RowView:
    """A row of the service's answer as it is shown."""
    actor = row["actor"]
    local = datetime.fromisoformat(row["occurred_at"]).astimezone(zone)
    target = row["targets"][0] if row["targets"] else {}
    kind = KINDS.get(actor["type"], actor["type"])
    name = actor["name"] or actor["email"] or actor["id"] or kind
    via = f"via {row['app_id']}" if row["app_id"] and actor["type"] != "custom_app" else ""
    return RowView(
        event_id=row["event_id"],
        actor=name,
        actor_kind=" ".join(filter(None, ("" if name == kind else kind, via))),
        actor_title=" · ".join(filter(None, (kind, actor["name"], actor["email"], actor["id"]))),
        source=SOURCES.get(row["source"], row["source"]),
        event=row["label"],
        event_type=row["event_type"],
        target=target.get("name") or target.get("id") or "",
        failed=row["outcome"] == "failure" and "failed" not in row["label"].lower(),
        ip=row["ip"] or "",
        agent=short_agent(row["user_agent"]) if row["user_agent"] else "",
        agent_full=row["user_agent"] or "",
        utc=row["occurred_at"],
        day=f"{local:%b} {local.day}, {local.year}",
        clock=f"{local:%H:%M:%S}",
    )


def user_options(facet: Sequence[Mapping[str, Any]], chosen: Sequence[str]) -> list[Option]:
    """The users to tick, those already chosen first."""
    known = {one["value"]: one for one in facet}
    options = []
    for value in [*chosen, *(value for value in known if value not in chosen)]:
        one = known.get(value)
        label = (one["name"] or one["email"] or one["id"] or value) if one else value.partition(":")[2] or value
        kind = KINDS.get(value.partition(":")[0], "")
        note = " · ".join(filter(None, (kind, one["email"] if one and one["email"] != label else "")))
        options.append(Option(value, label, note, value in chosen))
    return options


def event_options(
    facet: Sequence[Mapping[str, Any]], chosen: Sequence[str], category_labels: Mapping[str, str]
) -> list[Option]:
    """The event types to tick, by category; of those chosen also what is not in the facet."""
    known = {one["value"] for one in facet}
    options = [Option(value, value, "", checked=True, group="Chosen") for value in chosen if value not in known]
    options += [
        Option(one["value"], one["label"], one["value"], one["value"] in chosen, category_labels[one["category"]])
        for one in facet
    ]
    return options


def matching(options: Sequence[Option], search: str) -> list[Option]:
    """The options whose label, value or group holds the text; chosen ones always."""
    wanted = search.strip().lower()
    return [one for one in options if one.checked or wanted in f"{one.label}\n{one.value}\n{one.group}".lower()]


def chips(params: Params, users: Sequence[Option], events: Sequence[Option], path: str) -> list[Chip]:
    """The active filters, each with the way to remove it."""
    labels = {("user", one.value): one.label for one in users} | {("event", one.value): one.label for one in events}
    titles = {"user": "User", "event": "Event", "category": "Category", "since": "Since", "until": "Until"}
    found = []
    for name, value in params:
        if name in titles:
            rest = [pair for pair in params if pair != (name, value)]
            found.append(Chip(titles[name], labels.get((name, value), value), address(path, rest)))
    return found


def address(path: str, params: Params) -> str:
    """A path with its query."""
    return f"{path}?{urlencode(params)}" if params else path


def freshness(complete_through: Mapping[str, str | None], zone: ZoneInfo) -> str:
    """How far the log is complete, in a sentence."""
    moment = complete_through["all"]
    if moment is None:
        return "It is not known yet up to when all received events are shown"
    return f"All events received before {datetime.fromisoformat(moment).astimezone(zone):%H:%M:%S} are shown"


def details(row: Mapping[str, Any], zone: ZoneInfo, category_labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Everything that is known about one event, by name; absent fields are left out."""
    local = datetime.fromisoformat(row["occurred_at"]).astimezone(zone)
    found: list[tuple[str, Any]] = [
        ("Event", f"{row['label']} ({row['event_type']})"),
        ("Category", category_labels.get(row["category"], row["category"])),
        (f"Time ({zone.key})", "" if zone.key == "UTC" else local.isoformat(sep=" ", timespec="microseconds")),
        ("Time (UTC)", row["occurred_at"]),
        ("Accepted (UTC)", row["accepted_at"]),
        ("Outcome", " · ".join(filter(None, (row["outcome"], row["outcome_reason"])))),
        ("Actor", _who(row["actor"])),
        ("On behalf of", _who(row["on_behalf_of"]) if row["on_behalf_of"] else ""),
        ("Source", SOURCES.get(row["source"], row["source"])),
        ("IP address", row["ip"]),
        ("User agent", row["user_agent"]),
    ]
    found += [("Target", " · ".join(filter(None, (one["type"], one["name"], one["id"])))) for one in row["targets"]]
    found += [(f"Changed {one['path']}", f"{_value(one['old'])} → {_value(one['new'])}") for one in row["changes"]]
    found += [(f"Metadata {key}", _value(value)) for key, value in row["metadata"].items()]
    found += [
        ("App", row["app_id"]),
        ("Request", row["request_id"]),
        ("Session", row["session_id"]),
        ("Event ID", row["event_id"]),
    ]
    return [(name, str(value)) for name, value in found if value]


def _who(actor: Mapping[str, Any]) -> str:
    kind = KINDS.get(actor["type"], actor["type"])
    return " · ".join(filter(None, (kind, actor["name"], actor.get("email"), actor["id"])))


def _value(value: Any) -> str:
    if value == {"redacted": True}:
        return "(hidden)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


__all__ = [
    "FILTERS",
    "KINDS",
    "Chip",
    "Option",
    "RowView",
    "address",
    "chips",
    "details",
    "event_options",
    "freshness",
    "matching",
    "row_view",
    "short_agent",
    "user_options",
]
