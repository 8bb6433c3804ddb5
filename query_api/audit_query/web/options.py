"""What can be ticked in a filter's panel, from the facets of the service. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from audit_query.filters import key_of
from audit_query.web.chips import Names
from audit_query.web.messages import say, say_value
from audit_query.web.panels import Panel
from audit_query.web.viewer import Viewer


@dataclass(frozen=True, slots=True)
class Option:
    """One checkbox; `count` is empty where it is not known."""

    value: str
    label: str
    note: str = ""
    count: str = ""
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Checkboxes under one title, empty where they need none."""

    title: str
    options: tuple[Option, ...]


def groups(
    name: str, facet: Sequence[Mapping[str, Any]], ticked: Sequence[str], names: Names, viewer: Viewer
) -> list[Group]:
    """The values that occur, those ticked first or, for event types, in their category; ticked ones never go away."""
    made = [_option(name, one, ticked, names, viewer) for one in facet]
    there = {one.value for one in made}
    lost = [Option(value, names.of(name, value), checked=True) for value in ticked if value not in there]
    if name != "event":
        chosen = [one for one in made if one.checked]
        return [Group("", (*lost, *chosen, *(one for one in made if not one.checked)))] if lost or made else []
    found = [Group(say("chosen"), tuple(lost))] if lost else []
    for category, label in names.catalogue.category_labels.items():
        same = tuple(option for option, one in zip(made, facet, strict=True) if one["category"] == category)
        if same:
            found.append(Group(label, same))
    return found


def closed(
    values: Sequence[str], counts: Mapping[str, int], name: str, ticked: Sequence[str], names: Names, viewer: Viewer
) -> list[Group]:
    """All values of a closed list; none has a count where there is no facet of them."""
    options = (
        Option(
            value,
            names.of(name, value),
            count=viewer.number(counts[value]) if value in counts else "",
            checked=value in ticked,
        )
        for value in values
    )
    return [Group("", tuple(options))]


def typed(panel: Panel, ticked: Sequence[str]) -> list[Group]:
    """The values of a filter that is typed: unticking one takes it away."""
    made = tuple(Option(value, _pair(value) if panel.kind == "pair" else value, checked=True) for value in ticked)
    return [Group("", made)] if made else []


def _pair(packed: str) -> str:
    return ", ".join(f"{key_of(name)} = {value}" for name, value in parse_qsl(packed, keep_blank_values=True))


def _option(name: str, one: Mapping[str, Any], ticked: Sequence[str], names: Names, viewer: Viewer) -> Option:
    value, label, note = one["value"], "", ""
    match name:
        case "user":
            label = one["name"] or one["email"] or names.of("user", value)
            kind = say_value("actor", one["actor_type"])
            note = " · ".join(part for part in (kind, one["email"] if one["email"] != label else None) if part)
        case "target":
            label, note = one["name"] or one["id"] or names.of("target", value), one["type"]
        case _:
            label, note = one["label"], f"{say('via', app=one['app_id'])}" if one["app_id"] else ""
    return Option(value, label, note, viewer.number(one["count"]), value in ticked)


__all__ = ["Group", "Option", "closed", "groups", "typed"]
