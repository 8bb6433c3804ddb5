"""From a request's parameters to one validated filter for pages, facets, histogram, stream and exports alike. Pure."""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from audit_infra.http.problems import Fault, invalid
from audit_query.times import instant_of, zone_of
from audit_schemas.canonical import words
from audit_schemas.event import ACTOR_TYPES, OUTCOMES, SOURCES, micros
from audit_schemas.topics import CATEGORIES

MAX_VALUES = 200
MAX_URL_BYTES = 16_384
MAX_LIMIT = 500
MAX_WORDS = 30
NOT = "not_"
"""Before the name of a filter parameter: exactly the events that the parameter does not match."""
META = "meta."
Params = Sequence[tuple[str, str]]
_TARGET = re.compile(r"[a-z][a-z0-9_]{0,63}:.{0,128}", re.DOTALL)


class Parameter(Protocol):
    """One repeatable filter parameter: its values are ORed. `audit_query.conditions` says which rows they match."""

    @property
    def name(self) -> str:
        """As it stands in the URL."""

    def faults(self, name: str, values: Sequence[str]) -> Iterator[Fault]:
        """What is wrong with the values; `name` is the whole name, with `not_` or a key."""


@dataclass(frozen=True, slots=True)
class Text:
    """Values of up to `longest` characters."""

    name: str
    longest: int

    def faults(self, name: str, values: Sequence[str]) -> Iterator[Fault]:
        for value in values:
            if not 1 <= len(value) <= self.longest:
                yield Fault(name, "length", f"must have 1 to {self.longest} characters")


@dataclass(frozen=True, slots=True)
class OneOf:
    """Values of a closed list."""

    name: str
    allowed: tuple[str, ...]

    def faults(self, name: str, values: Sequence[str]) -> Iterator[Fault]:
        for value in values:
            if value not in self.allowed:
                yield Fault(
                    name, "unknown_value", f"{value!r} is not one of them{_hint(value, self.allowed)}", self.allowed
                )


@dataclass(frozen=True, slots=True)
class Targets:
    """`<type>:<id>`, or `<type>:` for every target of a type; split at the first colon."""

    name: str = "target"

    def faults(self, name: str, values: Sequence[str]) -> Iterator[Fault]:
        for value in values:
            if not _TARGET.fullmatch(value):
                yield Fault(name, "not_a_target", f"{value!r} must be <type>:<id> or <type>:, such as file:f1")


@dataclass(frozen=True, slots=True)
class Addresses:
    """IP addresses and networks."""

    name: str = "ip"

    def faults(self, name: str, values: Sequence[str]) -> Iterator[Fault]:
        for value in values:
            try:
                network_of(value)
            except ValueError as error:
                yield Fault(name, "not_an_address", str(error))


@dataclass(frozen=True, slots=True)
class Metadata:
    """`meta.<key>`: everything after the dot is one top-level key, whatever is in it."""

    name: str = META

    def faults(self, name: str, values: Sequence[str]) -> Iterator[Fault]:
        key = key_of(name)
        if not 1 <= len(key) <= 40:
            yield Fault(name, "length", "a key has 1 to 40 characters")
        elif key.startswith("_"):
            yield Fault(name, "reserved_key", "keys that begin with _ are the log's own")
        for value in values:
            if len(value) > 500:
                yield Fault(name, "length", "must have at most 500 characters")


@dataclass(frozen=True, slots=True)
class Words:
    """Text of which every word must occur."""

    name: str = "q"

    def faults(self, name: str, values: Sequence[str]) -> Iterator[Fault]:
        for value in values:
            found = len(set(words([value])))
            if not found:
                yield Fault(name, "no_words", f"{value!r} has neither a letter nor a digit")
            elif found > MAX_WORDS:
                yield Fault(name, "too_many", f"has more than {MAX_WORDS} words")


PARAMETERS: tuple[Parameter, ...] = (
    Text("user", 160),
    Text("event", 96),
    Text("app", 64),
    Text("request_id", 128),
    OneOf("category", CATEGORIES),
    OneOf("source", SOURCES),
    OneOf("actor_type", ACTOR_TYPES),
    OneOf("outcome", OUTCOMES),
    Targets(),
    Addresses(),
    Metadata(),
    Words(),
)
PERSONAL = ("ip", "q")
"""Parameters over personal data: what is masked could be guessed with them."""
RANGE = ("since", "until", "tz")
PAGING = ("limit", "cursor", "fields", "count")
_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}
_NAMES = tuple(name for one in PARAMETERS for name in (one.name, NOT + one.name))


def base_of(name: str) -> str:
    """The name of a filter parameter without `not_` and without a key."""
    positive = name.removeprefix(NOT)
    return META if positive.startswith(META) else positive


def key_of(name: str) -> str:
    """The metadata key of `meta.<key>` or `not_meta.<key>`."""
    return name.removeprefix(NOT).removeprefix(META)


def network_of(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The address, as a network of one, or the network; of IPv4 mapped into IPv6 the IPv4 one, as events have it.

    Raises `ValueError` saying what is wrong.
    """
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address such as 203.0.113.7 or a network such as 10.0.0.0/8") from None
    if "/" in text and ipaddress.ip_interface(text).ip != found.network_address:
        raise ValueError(f"{text!r} has bits set behind its prefix; did you mean {found}?")
    if getattr(found.network_address, "scope_id", None) is not None:
        raise ValueError(f"{text!r} has a zone; send the address without it")
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is not None and found.prefixlen >= 96:
        return ipaddress.ip_network((mapped, found.prefixlen - 96))
    return found


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show. `since` ≤ occurred_at < `until`, in microseconds since 1970, None where unbounded.

    `values` are the filter parameters by their whole name, sorted. `masked` is set for principals without audit:pii:
    metadata that repeats personal data then matches nothing.
    """

    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    since: int | None = None
    until: int | None = None
    zone: ZoneInfo | None = None
    asked: tuple[tuple[str, str], ...] = field(default=())
    masked: bool = False

    def within(self, since: int | None, until: int | None) -> Filter:
        """The same filter with other bounds."""
        return replace(self, since=since, until=until)

    def without(self, *names: str) -> Filter:
        """The same filter without some parameters and their complements."""
        return replace(self, values=tuple(pair for pair in self.values if base_of(pair[0]) not in names))

    def personal(self) -> list[str]:
        """The parameters that need the scope audit:pii."""
        return [name for name, _ in self.values if base_of(name) in PERSONAL]

    def fingerprint(self) -> str:
        """What a cursor is bound to: the filter as it was asked for, spans unresolved."""
        text = json.dumps([self.values, sorted(self.asked)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of the matching events, and what of each: `fields` is empty for everything."""

    limit: int = 50
    cursor: str = ""
    fields: tuple[str, ...] = ()
    count: bool = False


def parse(
    params: Params,
    now: datetime,
    *,
    paging: bool = True,
    further: Mapping[str, Sequence[str]] | None = None,
    fields: Sequence[str] = (),
    lists: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Filter, Paging, dict[str, str]]:
    """Reads a request's parameters. Raises a 400 `ProblemError` listing everything that is wrong.

    `further` names single-valued parameters of one endpoint with their allowed values (none: any); they are returned
    as they are. `fields` are the names that the parameter of this name may have. `lists` names further parameters that
    hold names, repeated or with commas between them, with the names there are; they are returned with commas.
    """
    further, lists = further or {}, dict(lists or {})
    if paging:
        lists["fields"] = fields
    given: dict[str, list[str]] = defaultdict(list)
    for name, value in params:
        given[name].append(value)
    single = [*RANGE, *(name for name in PAGING if paging and name != "fields"), *further]
    faults: list[Fault] = []
    if sum(len(name.encode()) + len(value.encode()) + 2 for name, value in params) > MAX_URL_BYTES:
        faults.append(Fault("", "too_long", f"the query has more than {MAX_URL_BYTES} bytes"))
    for name, values in given.items():
        parameter = _BY_NAME.get(base_of(name))
        if name in single:
            if len(values) > 1:
                faults.append(Fault(name, "repeated", "may be given only once"))
            elif further.get(name) and values[0] not in further[name]:
                hint = _hint(values[0], further[name])
                faults.append(
                    Fault(name, "unknown_value", f"{values[0]!r} is not one of them{hint}", tuple(further[name]))
                )
        elif name in lists:
            faults += OneOf(name, tuple(lists[name])).faults(name, _listed(values))
        elif parameter is None:
            known = (*_NAMES, *single, *lists)
            faults.append(
                Fault(name, "unknown_parameter", f"is not a parameter of this request{_hint(name, known)}", known)
            )
        elif len(values) > MAX_VALUES:
            faults.append(Fault(name, "too_many", f"has more than {MAX_VALUES} values"))
        else:
            faults += parameter.faults(name, values)
            faults += [
                Fault(name, "conflict", f"{value!r} is also in {name.removeprefix(NOT)}")
                for value in sorted({*values} & {*given.get(name.removeprefix(NOT), ())})
                if name.startswith(NOT)
            ]
    zone, since, until = _range(given, now, faults)
    page = _paging(given, faults) if paging else Paging()
    if faults:
        raise invalid(tuple(faults))
    found = Filter(
        values=tuple(sorted((name, tuple(sorted({*given[name]}))) for name in given if base_of(name) in _BY_NAME)),
        since=since,
        until=until,
        zone=zone,
        asked=tuple((name, given[name][0]) for name in RANGE if given[name]),
    )
    own = {name: given[name][0] for name in further if given[name]}
    return found, page, own | {name: ",".join(given[name]) for name in lists if name != "fields" and given[name]}


def _hint(value: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, allowed, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _listed(values: Sequence[str]) -> list[str]:
    """Names of fields hold no comma, so that several may stand in one value."""
    return [name for value in values for name in value.split(",")]


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


def _paging(given: Mapping[str, Sequence[str]], faults: list[Fault]) -> Paging:
    limit, count = (given.get(name, [usual])[0] for name, usual in (("limit", "50"), ("count", "0")))
    whole = limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_LIMIT
    if not whole:
        faults.append(Fault("limit", "out_of_range", f"must be a whole number from 1 to {MAX_LIMIT}"))
    if count not in ("0", "1"):
        faults.append(Fault("count", "unknown_value", f"{count!r} is not one of them", ("0", "1")))
    cursor = given.get("cursor", [""])[0]
    return Paging(int(limit) if whole else 0, cursor, tuple(_listed(given.get("fields", ()))), count == "1")


__all__ = [
    "MAX_LIMIT",
    "MAX_VALUES",
    "META",
    "NOT",
    "PAGING",
    "PARAMETERS",
    "PERSONAL",
    "RANGE",
    "Filter",
    "Paging",
    "Parameter",
    "Params",
    "base_of",
    "key_of",
    "network_of",
    "parse",
]
