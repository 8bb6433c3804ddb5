"""What a filter means, worked out over plain events without any of the service's code: the oracle of reading."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

from audit_query.rows import label_of
from audit_schemas.canonical import words
from audit_schemas.catalogue import load
from audit_schemas.event import ACTOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from audit_schemas.event import Event


def matches(event: Event, params: Sequence[tuple[str, str]]) -> bool:
    """Whether the event is among those that the filter parameters ask for."""
    names = dict.fromkeys(name for name, _ in params)
    return all(_holds(event, name, [value for other, value in params if other == name]) for name in names)


def _holds(event: Event, name: str, values: Sequence[str]) -> bool:
    if name.startswith("not_"):
        return not _holds(event, name.removeprefix("not_"), values)
    return any(_is(event, name, value) for value in values)


def _is(event: Event, name: str, value: str) -> bool:
    if name.startswith("meta."):
        return _metadata(event, name.removeprefix("meta."), value)
    match name:
        case "user":
            kind, colon, identity = value.partition(":")
            if colon and kind in ACTOR_TYPES:
                return (event.actor.type, event.actor.id) == (kind, identity)
            return event.actor.id == value
        case "target":
            kind, _, identity = value.partition(":")
            return any(one.type == kind and identity in ("", one.id) for one in event.targets)
        case "ip":
            if value.startswith("::ffff:"):
                address, _, length = value.removeprefix("::ffff:").partition("/")
                value = f"{address}/{int(length or 128) - 96}"
            return event.ip != "" and ipaddress.ip_address(event.ip) in ipaddress.ip_network(value)
        case "q":
            return set(words([value])) <= words_of(event)
    fields = {
        "event": event.event_type,
        "app": event.app_id,
        "request_id": event.request_id,
        "actor_type": event.actor.type,
    }
    return bool(fields[name] == value if name in fields else getattr(event, name) == value)


def words_of(event: Event) -> set[str]:
    """Every word a search finds the event by."""
    texts = [event.event_type, event.label, label_of(event.model_dump(), load()), event.actor.name, event.actor.email]
    texts += [text for one in event.targets for text in (one.id, one.name)]
    return set(words([*texts, *_texts(json.loads(event.metadata))]))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def _metadata(event: Event, key: str, wanted: str) -> bool:
    found = json.loads(event.metadata).get(key)
    if found is None or isinstance(found, dict | list):
        return False
    return (found if isinstance(found, str) else json.dumps(found)) == wanted


__all__ = ["matches", "words_of"]
