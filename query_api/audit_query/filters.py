"""What a request asks for: one frozen filter for pages, facets and exports, and a table of its parameters. Pure."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from audit_infra.http.problems import Fault, invalid
from audit_query.times import instant_of, zone_of
from audit_schemas.event import ACTOR_TYPES, micros
from audit_schemas.topics import CATEGORIES

MAX_VALUES = 200
MAX_URL_BYTES = 16_384
Params = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Condition:
    """Part of a WHERE clause: text with bound parameters, and their values."""

    sql: str
    values: Mapping[str, Any]


class Parameter(Protocol):
    """One repeatable filter parameter: its values are ORed."""

    @property
    def name(self) -> str:
        """As it stands in the URL."""

    def faults(self, values: Sequence[str]) -> list[Fault]:
        """What is wrong with the values."""

    def condition(self, values: Sequence[str]) -> Condition:
        """The rows that match any of the values; called only when there are no faults."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """Values of a column; of a closed list where `allowed` is given."""

    name: str
    column: str
    allowed: tuple[str, ...] = ()
    longest: int = 96

    def faults(self, values: Sequence[str]) -> list[Fault]:
        found = []
        for value in values:
            if self.allowed and value not in self.allowed:
                near = difflib.get_close_matches(value, self.allowed, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]}?" if near else ""
                found.append(Fault(self.name, "unknown_value", f"{value!r} is not one of them{hint}", self.allowed))
            elif not 1 <= len(value) <= self.longest:
                found.append(Fault(self.name, "length", f"must have 1 to {self.longest} characters"))
        return found

    def condition(self, values: Sequence[str]) -> Condition:
        if len(values) == 1:
            # `=` is answered from the index; a list of one would read the column.
            return Condition(f"{self.column} = {{{self.name}:String}}", {self.name: values[0]})
        return Condition(f"{self.column} IN {{{self.name}:Array(String)}}", {self.name: list(values)})


@dataclass(frozen=True, slots=True)
class Users:
    """`<actor type>:<id>`, or a bare id of any type. Split at the first colon only when an actor type precedes it."""

    name: str = "user"

    def faults(self, values: Sequence[str]) -> list[Fault]:
        return [
            Fault(self.name, "length", "must have 1 to 160 characters")
            for value in values
            if not 1 <= len(value) <= 160
        ]

    def condition(self, values: Sequence[str]) -> Condition:
        sql, bound = [], {}
        for number, value in enumerate(values):
            kind, colon, identity = value.partition(":")
            typed = bool(colon) and kind in ACTOR_TYPES
            bound[f"user{number}"] = identity if typed else value
            text = f"actor_id = {{user{number}:String}}"
            if typed:
                bound[f"kind{number}"] = kind
                text = f"({text} AND actor_type = {{kind{number}:String}})"
            sql.append(text)
        return Condition(f"({' OR '.join(sql)})" if len(sql) > 1 else sql[0], bound)


PARAMETERS: tuple[Parameter, ...] = (Users(), OneOf("event", "event_type"), OneOf("category", "category", CATEGORIES))
_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}
RANGE = ("since", "until", "tz")
PAGING = ("limit", "cursor")


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show. `since` ≤ occurred_at < `until`, in microseconds since 1970, None where unbounded."""

    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    since: int | None = None
    until: int | None = None
    zone: ZoneInfo | None = None
    asked: tuple[tuple[str, str], ...] = field(default=())

    def conditions(self) -> list[Condition]:
        """The conditions of all parameters; they are ANDed."""
        return [_BY_NAME[name].condition(values) for name, values in self.values]

    def within(self, since: int | None, until: int | None) -> Filter:
        """The same filter with other bounds."""
        return replace(self, since=since, until=until)

    def fingerprint(self) -> str:
        """What a cursor is bound to: the filter as it was asked for, spans unresolved."""
        text = json.dumps([self.values, sorted(self.asked)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of the matching events."""

    limit: int = 50
    cursor: str = ""


def parse(
    params: Params, now: datetime, *, paging: bool = True, further: Mapping[str, Sequence[str]] | None = None
) -> tuple[Filter, Paging, dict[str, str]]:
    """Reads a request's parameters. Raises a 400 `ProblemError` listing everything that is wrong.

    `further` names single-valued parameters of one endpoint with their allowed values (none: any); they are returned
    as they are.
    """
    further = further or {}
    given: dict[str, list[str]] = defaultdict(list)
    for name, value in params:
        given[name].append(value)
    known = [*_BY_NAME, *RANGE, *(PAGING if paging else ()), *further]
    faults: list[Fault] = []
    if sum(len(name) + len(value) + 2 for name, value in params) > MAX_URL_BYTES:
        faults.append(Fault("", "too_long", f"the query has more than {MAX_URL_BYTES} bytes"))
    for name, values in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(Fault(name, "unknown_parameter", f"is not a parameter of this request{hint}", tuple(known)))
        elif name not in _BY_NAME and len(values) > 1:
            faults.append(Fault(name, "repeated", "may be given only once"))
        elif len(values) > MAX_VALUES:
            faults.append(Fault(name, "too_many", f"has more than {MAX_VALUES} values"))
        elif name in _BY_NAME:
            faults += _BY_NAME[name].faults(values)
        elif name in further and further[name] and values[0] not in further[name]:
            faults.append(Fault(name, "unknown_value", f"{values[0]!r} is not one of them", tuple(further[name])))
    zone, since, until = _range(given, now, faults)
    limit = _limit(given.get("limit", ["50"])[0], faults) if paging else 0
    if faults:
        raise invalid(tuple(faults))
    found = Filter(
        values=tuple((name, tuple(sorted(set(given[name])))) for name in _BY_NAME if given[name]),
        since=since,
        until=until,
        zone=zone,
        asked=tuple((name, given[name][0]) for name in RANGE if given[name]),
    )
    cursor = given["cursor"][0] if given["cursor"] and paging else ""
    return found, Paging(limit, cursor), {name: given[name][0] for name in further if given[name]}


def _range(
    given: Mapping[str, Sequence[str]], now: datetime, faults: list[Fault]
) -> tuple[ZoneInfo | None, int | None, int | None]:
    zone = None
    if given.get("tz"):
        try:
            zone = zone_of(given["tz"][0])
        except ValueError as error:
            faults.append(Fault("tz", "unknown_zone", str(error)))
    bounds: list[int | None] = []
    for name, end in (("since", False), ("until", True)):
        try:
            bounds.append(micros(instant_of(given[name][0], zone, now, end=end)) if given.get(name) else None)
        except (ValueError, OverflowError) as error:
            bounds.append(None)
            # A bad zone was named already; a date that lacks it because of that is no second fault.
            if not (given.get("tz") and zone is None):
                faults.append(Fault(name, "not_a_time", str(error)))
    since, until = bounds
    if since is not None and until is not None and since >= until:
        faults.append(Fault("until", "empty_range", "must be later than since"))
    return zone, since, until


def _limit(text: str, faults: list[Fault]) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 200:
        return int(text)
    faults.append(Fault("limit", "out_of_range", "must be a whole number from 1 to 200"))
    return 0


__all__ = [
    "MAX_VALUES",
    "PARAMETERS",
    "Condition",
    "Filter",
    "OneOf",
    "Paging",
    "Parameter",
    "Params",
    "Users",
    "parse",
]
