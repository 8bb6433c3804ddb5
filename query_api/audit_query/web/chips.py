"""The active filters in words, each with the address that is left without it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from audit_query.filters import META, NOT, base_of, key_of
from audit_query.web.address import Address, Pair
from audit_query.web.messages import say, say_value
from audit_query.web.panels import PRESETS
from audit_query.web.rows import named
from audit_query.web.viewer import Viewer
from audit_schemas.catalogue import Catalogue
from audit_schemas.event import ACTOR_TYPES

READS: tuple[Pair, ...] = (("not_event", "audit_log.viewed"), ("not_event", "audit_log.searched"))
"""Leaves the events out that tell of reading the log itself."""


@dataclass(frozen=True, slots=True)
class Chip:
    """An active filter."""

    text: str
    without: str


@dataclass(slots=True)
class Names:
    """What values are called, as far as the page knows by now."""

    catalogue: Catalogue
    users: dict[str, str] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)

    def learn(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """From events: whoever and whatever a filter looks for is nearly always among what it finds."""
        for row in rows:
            self.events.setdefault(row["event_type"], row["label"])
            actor = row["actor"]
            self.users.setdefault(f"{actor['type']}:{actor['id'] or ''}", named(actor))
            if actor["id"]:
                self.users.setdefault(actor["id"], named(actor))
            for one in row["targets"]:
                self.targets.setdefault(f"{one['type']}:{one['id'] or ''}", one["name"] or one["id"] or one["type"])

    def unknown(self, name: str, filters: Sequence[Pair]) -> list[str]:
        """The values of a filter whose names are not known yet."""
        known = self.users if name == "user" else self.targets
        return [value for one, value in filters if base_of(one) == name and value not in known]

    def of(self, name: str, value: str) -> str:
        """The value of a filter in words."""
        match name:
            case "user":
                kind, _, identity = value.partition(":")
                return self.users.get(value) or (identity or say_value("actor", kind) if kind in ACTOR_TYPES else value)
            case "event":
                native = self.catalogue.get(value)
                return native.label if native else self.events.get(value, value)
            case "category":
                return self.catalogue.category_labels.get(value, value)
            case "target":
                kind, _, identity = value.partition(":")
                return self.targets.get(value) or identity or say("any_target", kind=kind)
            case "actor_type":
                return say_value("actor", value)
            case "source":
                return say_value("source", value)
            case "outcome":
                return say_value("outcome", value)
        return value


def chips(address: Address, names: Names, viewer: Viewer) -> list[Chip]:
    """One chip a value; reading the log itself is one, however many event types that are."""
    found = []
    filters = address.filters
    if set(READS) <= set(filters):
        found.append(Chip(say("reads_hidden"), address.without(*READS).link()))
        filters = tuple(pair for pair in filters if pair not in READS)
    for name, value in filters:
        if name == "tz":
            continue
        found.append(Chip(_text(name, value, names, viewer), address.without((name, value)).link()))
    return found


def _text(name: str, value: str, names: Names, viewer: Viewer) -> str:
    if name in ("since", "until"):
        return _bound(name, value, viewer)
    base = base_of(name)
    title = key_of(name) if base == META else say(f"filter_{base}")
    return say("chip_not" if name.startswith(NOT) else "chip", title=title, value=names.of(base, value))


def _bound(name: str, value: str, viewer: Viewer) -> str:
    if name == "since" and value in PRESETS:
        return say(f"preset_{value}")
    try:
        at = datetime.fromisoformat(value)
        value = viewer.moment(at) if at.tzinfo else value
    except (ValueError, OverflowError):
        pass  # a span that no preset is, or a date: as it was typed
    return say(f"chip_{name}", value=value)


__all__ = ["READS", "Chip", "Names", "chips"]
