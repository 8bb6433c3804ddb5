"""Reads and checks the catalogue's data."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from audit_schemas.topics import CATEGORIES

_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[a-z][a-z0-9_]{0,63}")
_WORD = re.compile(r"[a-z0-9]+")
_SHORTEST, _LONGEST = 3, 96
_KEYS = {"name", "label", "category", "since", "targets", "changes_required", "ocsf", "aliases"}


class CatalogueError(ValueError):
    """The data is not a catalogue; the text lists every problem."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One thing that may happen.

    `targets`: the kinds of things it may be done to. `changes_required`: an update must say what it changed. `ocsf`:
    class and activity in the Open Cybersecurity Schema Framework. `aliases`: names it had before.
    """

    name: str
    label: str
    category: str
    since: str
    targets: tuple[str, ...]
    changes_required: bool
    ocsf: tuple[int, int]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All native types, in the order of the data, and the labels of the categories."""

    types: tuple[EventType, ...]
    category_labels: Mapping[str, str]
    _by_name: Mapping[str, EventType]

    def __iter__(self) -> Iterator[EventType]:
        return iter(self.types)

    def get(self, name: str) -> EventType | None:
        """The type of a name or alias, None for a name that is not native."""
        return self._by_name.get(name)

    def of_category(self, category: str) -> tuple[EventType, ...]:
        """The types of one category."""
        return tuple(one for one in self.types if one.category == category)

    def search(self, text: str) -> tuple[EventType, ...]:
        """The types whose label, name or category holds the text, in any case."""
        wanted = text.strip().lower()
        return tuple(
            one
            for one in self.types
            if wanted in one.label.lower() or wanted in one.name or wanted in self.category_labels[one.category].lower()
        )

    def nearest(self, name: str) -> tuple[str, ...]:
        """Up to three native names that this one may mean, the likeliest first.

        A label ("File Downloaded"), a name without its resource ("login_failed"), the beginnings of its words ("login")
        and a slip of the hand are all recognised; an alias leads to the name of today.
        """
        wanted = _words(name[:_LONGEST])
        spellings: dict[str, dict[str, None]] = {}
        for known, one in self._by_name.items():
            for spelling in (_words(known), _words(known.partition(".")[2]), _words(one.label)):
                spellings.setdefault(spelling, {})[one.name] = None
        close = [wanted] if wanted in spellings else difflib.get_close_matches(wanted, spellings, n=3, cutoff=0.7)
        found = {each: None for spelling in close for each in spellings[spelling]}
        if not found and len(wanted) >= _SHORTEST:
            found = {one.name: None for one in self.types if _begins_words(wanted, one.name)}
        return tuple(found)[:3]


def _words(text: str) -> str:
    """A name or label as words, so that only the words count: `file.downloaded` is "file downloaded"."""
    return " ".join(_WORD.findall(text.lower()))


def _begins_words(wanted: str, name: str) -> bool:
    known = _words(name).split()
    return all(any(word.startswith(part) for word in known) for part in wanted.split())


@cache
def load() -> Catalogue:
    """The shipped catalogue; read once."""
    return parse(tomllib.loads((files("audit_schemas") / "catalogue" / "types.toml").read_text("utf-8")))


def parse(data: Mapping[str, Any]) -> Catalogue:
    """Checks the data. Raises `CatalogueError` with everything that is wrong."""
    labels = {entry.get("name", ""): entry.get("label", "") for entry in data.get("category", ())}
    problems = [f"category {name!r} is not one of the twelve" for name in labels if name not in CATEGORIES]
    problems += [f"category {name!r} has no label" for name in CATEGORIES if not labels.get(name)]
    by_name: dict[str, EventType] = {}
    types = []
    for entry in data.get("type", ()):
        name = entry.get("name", "")
        found = list(_problems(entry))
        problems += [f"{name or entry}: {problem}" for problem in found]
        if found:
            continue
        one = EventType(
            name=name,
            label=entry["label"],
            category=entry["category"],
            since=entry["since"],
            targets=tuple(entry["targets"]),
            changes_required=entry.get("changes_required", False),
            ocsf=(entry["ocsf"][0], entry["ocsf"][1]),
            aliases=tuple(entry.get("aliases", ())),
        )
        types.append(one)
        for known in (one.name, *one.aliases):
            if known in by_name:
                problems.append(f"{known}: is there twice")
            by_name[known] = one
    if problems:
        raise CatalogueError("\n".join(problems))
    return Catalogue(
        tuple(types), MappingProxyType({name: labels[name] for name in CATEGORIES}), MappingProxyType(by_name)
    )


def _problems(entry: Mapping[str, Any]) -> Iterator[str]:
    for key in entry.keys() - _KEYS:
        yield f"unknown key {key!r}"
    for key in _KEYS - {"changes_required", "aliases"} - entry.keys():
        yield f"no {key}"
    for name in (entry.get("name", ""), *entry.get("aliases", ())):
        if not _NAME.fullmatch(name) or len(name) > 96:
            yield f"name {name!r} is not of the form resource.past_verb"
    if entry.get("category", CATEGORIES[0]) not in CATEGORIES:
        yield f"unknown category {entry['category']!r}"
    if not 1 <= len(entry.get("label", "-")) <= 80:
        yield "the label must have 1 to 80 characters"
    for target in entry.get("targets", ()):
        if not _TARGET.fullmatch(target):
            yield f"target type {target!r} is not lower snake case"
    ocsf = entry.get("ocsf", (0, 0))
    if len(ocsf) != 2 or not all(isinstance(number, int) for number in ocsf):
        yield "ocsf must be [class, activity]"


__all__ = ["Catalogue", "CatalogueError", "EventType", "load", "parse"]
