"""`changes_between`: what an update changed, as the list an event carries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from audit_producers.plain import Hidden, Plain, hidden_alike, join, written
from audit_schemas.redaction import SECRET_FIELDS, redacted_change

MOST_CHANGES: Final = 64
_LONGEST_PATH: Final = 256
_FORMS: Final = "a mapping, a pydantic model, a dataclass or None"


@dataclass(frozen=True, slots=True)
class _Difference:
    field: str
    path: str
    old: Any
    new: Any


def changes_between(
    old: Any, new: Any, *, secret_fields: Collection[str] = SECRET_FIELDS, ignore: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """The differences of two mappings, pydantic models or dataclasses, as `changes` of an event: `{path, old, new}`.

    Paths lead through objects by dots and through lists by places: `address.city`, `members[0].role`. A side on
    which there is nothing is None; absent and None are the same, so that `old=None` describes something created and
    `new=None` something deleted. Lists are compared place by place, sets as a whole. The order is that of the names
    and places, whatever the order of the fields.

    Values that JSON has no form for are written as: instants in RFC 3339 (UTC when they have an offset), dates and
    times in ISO 8601, durations as Python prints them, decimals, UUIDs, addresses, paths and URLs as their text,
    enumerations as their value, bytes in base64, sets as sorted lists, NaN and infinities by name. Numbers are
    compared by value: 1, 1.0 and Decimal("1.00") are equal.

    Secrets are replaced here already, by `{"redacted": true}`: what stands at a secret field or inside one, and
    what pydantic's secret types hold.

    At most 64 changes fit an event. When there are more, the fields of the top level with the most changes become one
    change each, from the whole old value to the whole new one, until the rest fits. A path longer than 256 characters
    ends at the object it would have led into.

    Args:
        old: how it was.
        new: how it is.
        secret_fields: names, in any case, whose values are secret.
        ignore: paths to leave out with all that is below them, as they would stand in the result.

    Raises:
        TypeError: one side is none of these, or holds something without a form; the message names its path.
        ValueError: a value refers to itself, is nested deeper than 100 levels or has more than 100 000 parts, or more
            than 64 fields of the top level changed.
    """
    if isinstance(ignore, str):
        raise TypeError("`ignore` is a list of paths, not one text")
    left_out = frozenset(ignore)
    before, after = hidden_alike(_object(old, left_out), _object(new, left_out))
    secrets = frozenset(name.lower() for name in secret_fields)
    found = [
        difference
        for name in sorted({*before, *after})
        for difference in _of_field(name, before.get(name), after.get(name))
    ]
    return [
        redacted_change({"path": one.path, "old": written(one.old), "new": written(one.new)}, secrets)
        for one in _folded(found, before, after)
    ]


def _object(value: Any, ignore: frozenset[str]) -> dict[str, Any]:
    if value is None:
        return {}
    plain = Plain(ignore).of(value)
    if not isinstance(plain, dict):
        raise TypeError(f"{type(value).__name__} can't be compared field by field; give {_FORMS}")
    return plain


def _of_field(name: str, old: Any, new: Any) -> Iterator[_Difference]:
    path = join("", name)
    if len(path) > _LONGEST_PATH:
        raise ValueError(f"the field {path[:40]}… has a name of more than {_LONGEST_PATH} characters")
    return (_Difference(name, *each) for each in _differences(path, old, new))


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    inner = _pairs(path, old, new)
    if inner is None:
        if not _same(old, new):
            yield path, old, new
    elif any(len(one) > _LONGEST_PATH for one, _, _ in inner):
        if any(True for one in inner for _ in _differences(*one)):
            yield path, old, new
    else:
        for one in inner:
            yield from _differences(*one)


def _pairs(path: str, old: Any, new: Any) -> list[tuple[str, Any, Any]] | None:
    """The parts of two values that can be compared part by part, None when only the whole can."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [(join(path, name), old.get(name), new.get(name)) for name in sorted({*old, *new})]
    if type(old) is list and type(new) is list:
        places = range(max(len(old), len(new)))
        return [
            (f"{path}[{place}]", old[place] if place < len(old) else None, new[place] if place < len(new) else None)
            for place in places
        ]
    return None


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON: True is not 1, which Python thinks, and a set equals the list of its members."""
    if isinstance(old, Hidden) and isinstance(new, Hidden):
        return _same(old.value, new.value)
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(inner, new[name]) for name, inner in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_same(one, other) for one, other in zip(old, new, strict=True))
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


def _folded(found: list[_Difference], before: dict[str, Any], after: dict[str, Any]) -> list[_Difference]:
    """No more than an event takes: the fields with the most differences are told as a whole."""
    per_field: dict[str, list[_Difference]] = {}
    for one in found:
        per_field.setdefault(one.field, []).append(one)
    if len(per_field) > MOST_CHANGES:
        raise ValueError(
            f"{len(per_field)} fields changed, an event tells at most {MOST_CHANGES}; "
            "leave some out with `ignore` or emit several events"
        )
    left = len(found)
    for name in sorted(per_field, key=lambda one: (-len(per_field[one]), one)):
        if left <= MOST_CHANGES:
            break
        left -= len(per_field[name]) - 1
        per_field[name] = [_Difference(name, join("", name), before.get(name), after.get(name))]
    return [one for several in per_field.values() for one in several]


__all__ = ["MOST_CHANGES", "changes_between"]
