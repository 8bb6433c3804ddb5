"""From a validated filter to SQL: text with bound parameters, one condition per filter parameter. Pure.

No value ever becomes part of the text. Each condition is written so that the table's index on its column can answer it.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from audit_query.filters import META, NOT, Filter, base_of, key_of, network_of
from audit_schemas.canonical import canonical_json, words
from audit_schemas.catalogue import load
from audit_schemas.event import ACTOR_TYPES

_FEW = 16
"""Up to so many values each is compared on its own, which the text index answers without reading the column."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_FIRST_MAPPED, _LAST_MAPPED = "toIPv6('0.0.0.0')", "toIPv6('255.255.255.255')"
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,19}")


@dataclass(frozen=True, slots=True)
class Condition:
    """Part of a WHERE clause: text with bound parameters, and their values."""

    sql: str
    values: Mapping[str, Any]


class _Bound:
    """Gives each value of one filter parameter a name of its own in the statement."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self.values = prefix, dict[str, Any]()

    def text(self, value: str) -> str:
        """A bound text."""
        return self._of(value, "String")

    def texts(self, values: Sequence[str]) -> str:
        """A bound list of texts."""
        return self._of(list(values), "Array(String)")

    def _of(self, value: Any, kind: str) -> str:
        name = f"{self._prefix}_{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{kind}}}"


def conditions(filter_: Filter) -> list[Condition]:
    """The conditions of all parameters; they are ANDed."""
    found = []
    for number, (name, values) in enumerate(filter_.values):
        bound = _Bound(f"f{number}")
        if base_of(name) == META:
            sql = _metadata(key_of(name), values, bound, masked=filter_.masked)
        else:
            sql = _MATCHES[base_of(name)](values, bound)
        found.append(Condition(f"NOT ({sql})" if name.startswith(NOT) else sql, bound.values))
    return found


def _any(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"


def _column(column: str) -> Callable[[Sequence[str], _Bound], str]:
    def matches(values: Sequence[str], bound: _Bound) -> str:
        # `=` is answered from the index; a list of one would read the column.
        return f"{column} = {bound.text(values[0])}" if len(values) == 1 else f"{column} IN {bound.texts(values)}"

    return matches


def _users(values: Sequence[str], bound: _Bound) -> str:
    """Split at the first colon only when an actor type precedes it."""
    bare: list[str] = []
    typed: dict[str, list[str]] = defaultdict(list)
    for value in values:
        kind, colon, identity = value.partition(":")
        if colon and kind in ACTOR_TYPES:
            typed[kind].append(identity)
        else:
            bare.append(value)
    parts = [_ids(bare, bound)] if bare else []
    parts += [f"({_ids(ids, bound)} AND actor_type = {bound.text(kind)})" for kind, ids in typed.items()]
    return _any(parts)


def _ids(ids: Sequence[str], bound: _Bound) -> str:
    if len(ids) > _FEW:
        return f"actor_id IN {bound.texts(ids)}"
    return _any([f"actor_id = {bound.text(one)}" for one in ids])


def _targets(values: Sequence[str], bound: _Bound) -> str:
    parts = []
    for value in values:
        kind, _, identity = value.partition(":")
        type_ = bound.text(kind)
        if not identity:
            parts.append(f"has(`targets.type`, {type_})")
            continue
        # The first half is implied by the second, but only it can use the index.
        id_ = bound.text(identity)
        pair = f"arrayExists((t, i) -> t = {type_} AND i = {id_}, `targets.type`, `targets.id`)"
        parts.append(f"(has(`targets.id`, {id_}) AND {pair})")
    return _any(parts)


def _addresses(values: Sequence[str], bound: _Bound) -> str:
    """Rows without an address hold `::`, which no filter matches; IPv4 is stored mapped into IPv6."""
    parts = []
    for value in values:
        network = network_of(value)
        if network.num_addresses == 1:
            parts.append(f"ip = toIPv6({bound.text(str(network[0]))})")
            continue
        first, last = (bound.text(str(one)) for one in (network[0], network[-1]))
        between = f"ip BETWEEN toIPv6({first}) AND toIPv6({last})"
        around = isinstance(network, ipaddress.IPv6Network) and _MAPPED.subnet_of(network)
        parts.append(f"({between} AND NOT ip BETWEEN {_FIRST_MAPPED} AND {_LAST_MAPPED})" if around else f"({between})")
    return f"({_any(parts)} AND ip != toIPv6('::'))"


def _metadata(key: str, values: Sequence[str], bound: _Bound, *, masked: bool) -> str:
    """Strings by their content, whole numbers, numbers and booleans by their JSON text.

    Whole numbers beyond 64 bits are strings to ClickHouse, with their digits as content.
    """
    key_ = bound.text(key)
    content = f"JSONExtractString(metadata, {key_})"
    texts = f"{content} = {bound.text(values[0])}" if len(values) == 1 else f"{content} IN {bound.texts(values)}"
    parts = [f"(JSONType(metadata, {key_}) = 'String' AND {texts})"]
    for kinds, raw in _scalars(values):
        parts.append(
            f"(JSONType(metadata, {key_}) IN ({kinds}) AND JSONExtractRaw(metadata, {key_}) IN"
            f" arrayMap(v -> JSONExtractRaw(v, 'v'), {bound.texts(raw)}))"
        )
    sql = f"(JSONHas(metadata, {key_}) AND {_any(parts)})"
    if not any(map(_is_float, values)):
        # JSON without a backslash holds every text and whole number as it is written; most rows hold none of these, and
        # need not be parsed. Floats have several spellings.
        written = " OR ".join(f"position(metadata, {bound.text(value)}) > 0" for value in values)
        sql = f"(({written} OR position(metadata, '\\\\') > 0) AND {sql})"
    if not masked:
        return sql
    secrets = "[toString(actor_email), toString(user_agent), replaceRegexpOne(IPv6NumToString(ip), '^::ffff:', '')]"
    return f"({sql} AND NOT multiSearchAny({content}, arrayFilter(x -> x != '' AND x != '::', {secrets})))"


def _scalars(values: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The values that are the canonical text of a number or boolean, by what ClickHouse calls their type.

    Each as a document: ClickHouse writes floats its own way, so both sides are written by it.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for value in values:
        if _WHOLE.fullmatch(value):
            found["'Int64', 'UInt64'"].append(f'{{"v":{value}}}')
        elif value in ("true", "false"):
            found["'Bool'"].append(f'{{"v":{value}}}')
        elif _is_float(value):
            found["'Double'"].append(f'{{"v":{value}}}')
    return list(found.items())


def _is_float(text: str) -> bool:
    try:
        value = json.loads(text)
        return isinstance(value, float) and canonical_json(value) == text
    except ValueError:
        return False


def _words(values: Sequence[str], bound: _Bound) -> str:
    """Every word among the row's words or, for native types, among those of the label people know them by."""
    parts = []
    for value in values:
        each = []
        for word in dict.fromkeys(words([value])):
            found = f"has(words, {bound.text(word)})"
            named = _labelled().get(word)
            each.append(f"({found} OR event_type IN {bound.texts(named)})" if named else found)
        parts.append(f"({' AND '.join(each)})" if len(each) > 1 else each[0])
    return _any(parts)


@cache
def _labelled() -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for one in load():
        for word in set(words([one.label])):
            found[word] += [one.name, *one.aliases]
    return found


_MATCHES: Mapping[str, Callable[[Sequence[str], _Bound], str]] = {
    "user": _users,
    "event": _column("event_type"),
    "app": _column("app_id"),
    "request_id": _column("request_id"),
    "category": _column("category"),
    "source": _column("source"),
    "actor_type": _column("actor_type"),
    "outcome": _column("outcome"),
    "target": _targets,
    "ip": _addresses,
    "q": _words,
}

__all__ = ["Condition", "conditions"]
