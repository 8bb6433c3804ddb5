"""Keeps events in memory while a service's own tests run, instead of sending them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from audit_producers.ports import Position
from audit_producers.receipt import Receipt
from audit_schemas.catalogue import load
from audit_schemas.codec import encode_record, frame, record_of
from audit_schemas.event import Event, refuse_too_large
from audit_schemas.topics import topic_of

_AS_JSON: Final = frozenset(["changes", "metadata"])
_SHOWN: Final = 3


class Recorder:
    """The events emitted since it began, oldest first. Events may be emitted on any thread."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def take(self, event: Event) -> Receipt:
        """For `AuditLog`: keeps an accepted event. Its receipt says at once that Kafka has it.

        Raises `InvalidEvent` for an event that is too large to be sent.
        """
        refuse_too_large(len(frame(encode_record(record_of(event)))))
        self.events.append(event)
        receipt = Receipt(event.event_id)
        receipt.settle_kafka(Position(topic_of("audit", event.category), 0, len(self.events) - 1))
        return receipt

    def of_type(self, event_type: str) -> list[Event]:
        """The events of a type, by its name or an alias."""
        name = _name(event_type)
        return [event for event in self.events if event.event_type == name]

    def only(self) -> Event:
        """The one event there is. An assertion that lists the events fails when there is none or more than one."""
        if len(self.events) != 1:
            raise AssertionError(f"expected one audit event, there are {len(self.events)}{self._listed()}")
        return self.events[0]

    def assert_emitted(self, event_type: str, **expected: Any) -> Event:
        """The first event of a type whose fields are as expected; the assertion shows the likeliest others otherwise.

        Of objects (`actor`, `metadata`, each of `targets` and `changes`) only the keys that are given are compared.
        Raises `TypeError` for a field that events don't have.
        """
        for field in expected:
            if field not in Event.model_fields:
                near = difflib.get_close_matches(field, Event.model_fields, n=1)
                raise TypeError(f"events have no field {field!r}" + (f"; did you mean {near[0]}?" if near else ""))
        name = _name(event_type)
        wrong = [(event, _faults(event, name, expected)) for event in self.events]
        for event, faults in wrong:
            if not faults:
                return event
        wrong.sort(key=lambda each: (each[0].event_type != name, len(each[1])))
        lines = [f"no {name} as expected was emitted; there are {len(self.events)} audit events{':' if wrong else ''}"]
        for event, faults in wrong[:_SHOWN]:
            lines += [f"  {_summary(event)}", *(f"      {fault}" for fault in faults)]
        lines += [f"  {_summary(event)}" for event, _ in wrong[_SHOWN:]]
        raise AssertionError("\n".join(lines))

    def clear(self) -> None:
        """Forgets the events so far."""
        self.events.clear()

    def _listed(self) -> str:
        return "".join(f"\n  {_summary(event)}" for event in self.events)


_active: Recorder | None = None


def active() -> Recorder | None:
    """The recorder that takes the events of this process now, if there is one."""
    return _active


@contextmanager
def recording() -> Iterator[Recorder]:
    """Every event of the process goes to this recorder until the end; an outer recorder takes over again then."""
    global _active
    before, recorder = _active, Recorder()
    _active = recorder
    try:
        yield recorder
    finally:
        _active = before


def _name(event_type: str) -> str:
    """The name of today for an alias; custom types have only one name."""
    native = load().get(event_type)
    return event_type if native is None else native.name


def _summary(event: Event) -> str:
    targets = ", ".join(f"{target.type}:{target.id}" for target in event.targets)
    return f"{event.event_type} in {event.workspace_id} by {event.actor.type}:{event.actor.id}" + (
        f" on {targets}" if targets else ""
    )


def _faults(event: Event, name: str, expected: Mapping[str, Any]) -> list[str]:
    """What is not as expected, one line each."""
    faults = [] if event.event_type == name else [f"event_type: expected {name!r}, was {event.event_type!r}"]
    was = event.model_dump()
    for field, value in expected.items():
        if field in _AS_JSON and not isinstance(value, str):
            was[field] = json.loads(was[field])
        faults += _differing(field, value, was[field])
    return faults


def _differing(path: str, expected: Any, was: Any) -> list[str]:
    if isinstance(expected, Mapping) and isinstance(was, Mapping):
        missing = [
            f"{path}.{key}: expected {value!r}, is not there" for key, value in expected.items() if key not in was
        ]
        known = [(key, value) for key, value in expected.items() if key in was]
        return missing + [fault for key, value in known for fault in _differing(f"{path}.{key}", value, was[key])]
    if isinstance(expected, (list, tuple)) and isinstance(was, (list, tuple)) and len(expected) == len(was):
        both = enumerate(zip(expected, was, strict=True))
        return [fault for place, (one, other) in both for fault in _differing(f"{path}[{place}]", one, other)]
    return [] if expected == was else [f"{path}: expected {expected!r}, was {was!r}"]


__all__ = ["Recorder", "active", "recording"]
