"""From the value of a body to the events in it."""

from __future__ import annotations

from typing import Any

from audit_infra.http.body_problems import too_large, wrong_shape
from audit_infra.http.problems import Fault
from audit_producers.events_api.problems import MAX_EVENTS


def items_of(value: Any) -> tuple[list[Any], bool]:
    """The events of a body, and whether it is a list of them. Raises 413 for too many and 422 for another shape."""
    if not isinstance(value, dict):
        raise wrong_shape((_fault("", "wrong_type", 'must be an event object or {"events": [...]}'),))
    if "events" not in value:
        return [value], False
    faults = [_fault(f"/{name}", "unknown_field", "stands beside events") for name in value if name != "events"]
    items = value["events"]
    if not isinstance(items, list):
        faults.append(_fault("/events", "wrong_type", "must be a list of events"))
    elif not items:
        faults.append(_fault("/events", "empty", f"must hold 1 to {MAX_EVENTS} events"))
    elif len(items) > MAX_EVENTS:
        raise too_large("events", MAX_EVENTS)
    if faults:
        raise wrong_shape(tuple(faults))
    return items, True


def _fault(pointer: str, code: str, message: str) -> Fault:
    return Fault(pointer, code, message, place="body")


__all__ = ["items_of"]
