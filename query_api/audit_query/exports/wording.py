"""A filter in words, for people who read a manifest years later. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from audit_query.filters import META, NOT, Filter, base_of, key_of
from audit_query.rows import time_text
from audit_schemas.catalogue import Catalogue

_NAMES: Final[Mapping[str, str]] = {
    "user": "User",
    "event": "Event",
    "app": "Custom app",
    "category": "Category",
    "source": "Source",
    "actor_type": "Kind of actor",
    "request_id": "Request",
    "outcome": "Outcome",
    "target": "Target",
    "ip": "IP address",
    "q": "Text",
}


def words(filter_: Filter, catalogue: Catalogue) -> str:
    """Such as "Event is Login Failed or Logout; from 2026-03-01T00:00:00.000000Z (inclusive)"."""
    parts = [_condition(name, values, catalogue) for name, values in filter_.values]
    if filter_.since is not None:
        parts.append(f"from {time_text(filter_.since)} (inclusive)")
    if filter_.until is not None:
        parts.append(f"to {time_text(filter_.until)} (exclusive)")
    return "; ".join(parts) or "Everything"


def _condition(name: str, values: tuple[str, ...], catalogue: Catalogue) -> str:
    base = base_of(name)
    what = f"Metadata {key_of(name)!r}" if base == META else _NAMES[base]
    verb = {"q": "contains", "ip": "is in"}.get(base, "is")
    negated = {"contains": "does not contain", "is in": "is not in", "is": "is not"}
    labels = [_label(base, value, catalogue) for value in values]
    return f"{what} {negated[verb] if name.startswith(NOT) else verb} {' or '.join(labels)}"


def _label(base: str, value: str, catalogue: Catalogue) -> str:
    if base == "event" and (known := catalogue.get(value)) is not None:
        return known.label
    return catalogue.category_labels.get(value, value) if base == "category" else value


def canonical(filter_: Filter) -> dict[str, list[str]]:
    """The parameters with which the same events are asked for, at any time and in any zone."""
    found = {name: list(values) for name, values in filter_.values}
    bounds = {"since": filter_.since, "until": filter_.until}
    return found | {name: [time_text(at)] for name, at in bounds.items() if at is not None}


__all__ = ["canonical", "words"]
