"""Rows of the table as they are shown: people, things and devices in words, times on the viewer's clock. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from ua_parser import parse as parse_user_agent

from audit_query.web.address import place_text
from audit_query.web.messages import say, say_value
from audit_query.web.viewer import Viewer
from audit_schemas.event import micros

_SYSTEMS = {"Mac OS X": "macOS"}
_LONGEST_WORD = 40
_SAID_BY_THE_DEVICE = ("Mobile", "iOS", "WebView")


@dataclass(frozen=True, slots=True)
class RowView:
    """One event. `place` is its own in the log, as addresses have it."""

    event_id: str
    place: str
    actor: str
    actor_kind: str
    via: str
    behalf: str
    source: str
    event: str
    event_type: str
    target: str
    more_targets: int
    failed: bool
    ip: str
    agent: str
    agent_full: str
    utc: str
    date: str
    clock: str
    offset: str
    ago: str


@dataclass(frozen=True, slots=True)
class Day:
    """The events of one of the viewer's days."""

    key: str
    title: str
    rows: tuple[RowView, ...]


@lru_cache(maxsize=4096)
def short_agent(text: str) -> str:
    """`Chrome on macOS` for a browser, `Safari on iPhone` where a device says more, else the first word."""
    found = parse_user_agent(text)
    family = found.user_agent.family.split() if found.user_agent else []
    browser = " ".join(word for word in family if word not in _SAID_BY_THE_DEVICE)
    system = found.os.family if found.os else ""
    device = found.device.family if found.device else ""
    where = device if device in ("iPhone", "iPad") else _SYSTEMS.get(system, system)
    if browser and where and browser != where:
        return say("agent", browser=browser, where=where)
    return browser or next(iter(text.split()), "")[:_LONGEST_WORD]


def named(actor: Mapping[str, Any]) -> str:
    """The name people know somebody by; what kind of actor it is where nothing else is known."""
    return actor["name"] or actor.get("email") or actor["id"] or say_value("actor", actor["type"])


def row_view(row: Mapping[str, Any], viewer: Viewer) -> RowView:
    """A row of the service's answer as it is shown."""
    actor, behalf, targets = row["actor"], row["on_behalf_of"], row["targets"]
    at = datetime.fromisoformat(row["occurred_at"])
    name, kind = named(actor), say_value("actor", actor["type"])
    first = targets[0] if targets else {}
    return RowView(
        event_id=row["event_id"],
        place=place_text((micros(at), row["event_id"])),
        actor=name,
        actor_kind="" if name == kind else kind,
        via=row["app_id"] or "",
        behalf=named(behalf) if behalf and behalf["id"] != actor["id"] else "",
        source=say_value("source", row["source"]),
        event=row["label"],
        event_type=row["event_type"],
        target=first.get("name") or first.get("id") or "",
        more_targets=max(0, len(targets) - 1),
        failed=row["outcome"] == "failure",
        ip=row["ip"] or "",
        agent=short_agent(row["user_agent"]) if row["user_agent"] else "",
        agent_full=row["user_agent"] or "",
        utc=row["occurred_at"],
        date=viewer.date(at),
        clock=viewer.clock(at),
        offset=viewer.offset(at),
        ago=viewer.ago(at),
    )


def days(rows: Sequence[Mapping[str, Any]], viewer: Viewer) -> list[Day]:
    """The rows by the viewer's days, newest first."""

    def day_of(row: Mapping[str, Any]) -> date:
        return viewer.local(datetime.fromisoformat(row["occurred_at"])).date()

    found = []
    for day, same in groupby(rows, key=day_of):
        together = list(same)
        title = viewer.day(datetime.fromisoformat(together[0]["occurred_at"]))
        found.append(Day(day.isoformat(), title, tuple(row_view(row, viewer) for row in together)))
    return found


def crosses_clock_change(moments: Sequence[datetime], viewer: Viewer) -> bool:
    """Whether the viewer's clock was changed between these moments: then each time needs its offset."""
    return len({viewer.local(at).utcoffset() for at in moments}) > 1


__all__ = ["Day", "RowView", "crosses_clock_change", "days", "named", "row_view", "short_agent"]
