"""Turns a service's objects into values that JSON has a form for, so that they can be compared and written down."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from pydantic import AnyUrl, BaseModel, RootModel, Secret, SecretBytes, SecretStr

from audit_schemas.canonical import canonical_json
from audit_schemas.redaction import DEEPEST, REDACTED

MOST_VALUES: Final = 100_000
"""Values one object may consist of; more would keep the caller waiting, and shared parts can make very many of few."""

_AS_TEXT: Final = (UUID, PurePath, IPv4Address, IPv4Network, IPv6Address, IPv6Network, AnyUrl)
_BEYOND: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_SECRET: Final = (Secret, SecretBytes, SecretStr)


@dataclass(frozen=True, slots=True, repr=False)
class Hidden:
    """A value its own type calls a secret: it can be compared, and is never written down."""

    value: Any


class Whole(list[Any]):
    """A list without places of its own, made from a set: it is compared as a whole."""


class Plain:
    """One conversion. Raises `ValueError` for what refers to itself, is too deep or too large, and `TypeError` for what
    has no form."""

    def __init__(self, ignore: AbstractSet[str] = frozenset()) -> None:
        self._ignore = ignore
        self._open: set[int] = set()
        self._count = 0

    def of(self, value: Any, path: str = "") -> Any:
        """The plain form of a value that stands at a path."""
        self._count += 1
        if self._count > MOST_VALUES:
            raise ValueError(
                f"there are more than {MOST_VALUES} values to compare; leave large fields out with `ignore`"
            )
        leaf = _leaf(value)
        if leaf is not None or value is None:
            return leaf
        if id(value) in self._open:
            raise ValueError(f"{path or 'the object'} refers to itself")
        if len(self._open) >= DEEPEST:
            raise ValueError(f"the values are nested deeper than {DEEPEST} levels")
        self._open.add(id(value))
        try:
            if isinstance(value, _SECRET):
                return Hidden(self.of(value.get_secret_value(), path))
            if isinstance(value, (Enum, RootModel)):
                return self.of(value.value if isinstance(value, Enum) else value.root, path)
            return self._container(value, path)
        finally:
            self._open.discard(id(value))

    def _container(self, value: Any, path: str) -> Any:
        members = _members(value)
        if members is not None:
            found: dict[str, Any] = {}
            for key, inner in members:
                name = self._name(key, path)
                if name in found:
                    raise ValueError(f"{join(path, name)} is there twice, under keys that read the same")
                if join(path, name) not in self._ignore:
                    found[name] = self.of(inner, join(path, name))
            return found
        if isinstance(value, AbstractSet):
            return Whole(sorted((self.of(inner, path) for inner in value), key=_order))
        if isinstance(value, Sequence):
            places = ((f"{path}[{place}]", inner) for place, inner in enumerate(value))
            # None, not left out: the places behind it stay what they are.
            return [None if where in self._ignore else self.of(inner, where) for where, inner in places]
        raise TypeError(
            f"{path or 'the object'} is of the type {type(value).__name__}, for which there is no form; "
            "give its text or leave it out with `ignore`"
        )

    def _name(self, key: Any, path: str) -> str:
        name = self.of(key, path)
        return name if isinstance(name, str) else canonical_json(written(name))


def join(path: str, name: str) -> str:
    """The path of a member: names are joined by dots, an empty one is written as two quotation marks."""
    return f"{path}.{name or _EMPTY}" if path else name or _EMPTY


_EMPTY: Final = '""'


def hidden_alike(old: Any, new: Any) -> tuple[Any, Any]:
    """Both values with hidden in each what is hidden in the other: a row of a table may not say what a model says."""
    if isinstance(old, Hidden) or isinstance(new, Hidden):
        return tuple(one if one is None or isinstance(one, Hidden) else Hidden(one) for one in (old, new))  # type: ignore[return-value] # two
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = {name: hidden_alike(old.get(name), new.get(name)) for name in {*old, *new}}
        return {name: pairs[name][0] for name in old}, {name: pairs[name][1] for name in new}
    if isinstance(old, Whole) or isinstance(new, Whole):
        members = [*(old if isinstance(old, list) else ()), *(new if isinstance(new, list) else ())]
        return hidden_alike(Hidden(old), new) if any(isinstance(one, Hidden) for one in members) else (old, new)
    if isinstance(old, list) and isinstance(new, list):
        both = [hidden_alike(one, other) for one, other in zip(old, new, strict=False)]
        return [one for one, _ in both] + old[len(both) :], [other for _, other in both] + new[len(both) :]
    return old, new


def written(value: Any) -> Any:
    """A plain value as JSON takes it: without the secrets its types name, exact decimals as text."""
    if isinstance(value, Hidden):
        return dict(REDACTED)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {name: written(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [written(inner) for inner in value]
    return value


def _members(value: Any) -> Iterator[tuple[Any, Any]] | None:
    """Keys and values of what is compared member by member, None for everything else."""
    if isinstance(value, Mapping):
        return iter(value.items())
    if isinstance(value, BaseModel):
        names = [*type(value).model_fields, *(value.model_extra or ())]
    elif is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in fields(value)]
    else:
        return None
    return ((name, getattr(value, name)) for name in names)


def _leaf(value: Any) -> Any:
    """The plain form of what has no parts, None for the rest. Decimals stay numbers, so that 1.0 and 1.00 are equal."""
    if isinstance(value, Enum):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _BEYOND[str(float(value))]
    if isinstance(value, Decimal):
        return value if value.is_finite() else "NaN" if value.is_nan() else str(value)
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    return str(value) if isinstance(value, _AS_TEXT) else None


def _instant(value: datetime) -> str:
    """In UTC, so that the same instant in two zones is no change; a local time without offset stays as it is."""
    if value.tzinfo is None:
        return value.isoformat()
    try:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return value.isoformat()


def _order(value: Any) -> str:
    return canonical_json(written(value))


__all__ = ["MOST_VALUES", "Hidden", "Plain", "Whole", "join", "written"]
