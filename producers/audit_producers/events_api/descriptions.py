"""What an app may say of a custom type: its label, a schema for its metadata, and what becomes of events that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from audit_infra.http.problems import Fault
from audit_producers.events_api.schemas import faults_of

MODES: Final = ("reject", "flag")
"""What becomes of an event whose metadata does not match: it is not accepted, or it is and says so."""
MAX_LABEL: Final = 80
_FIELDS: Final = ("label", "schema", "mode")


@dataclass(frozen=True, slots=True)
class Description:
    """What a `PUT` says. An empty label is none: the recorded one stays, or is made from the name."""

    label: str = ""
    schema: dict[str, Any] | None = None
    mode: str = "reject"


def description_of(value: Any) -> tuple[Description | None, tuple[Fault, ...]]:
    """The description in a body, or everything that is wrong with it. What is null counts as absent."""
    if not isinstance(value, dict):
        return None, (_fault("", "wrong_type", "must be an object"),)
    faults = [_fault(f"/{name[:200]}", "unknown_field", "is not a field here") for name in value if name not in _FIELDS]
    given = {name: one for name, one in value.items() if one is not None}
    label, schema, mode = given.get("label", ""), given.get("schema"), given.get("mode", "reject")
    if not isinstance(label, str) or not 0 <= len(label) <= MAX_LABEL or "\0" in label:
        faults.append(_fault("/label", "label", f"must be text of up to {MAX_LABEL} characters without NUL"))
    if mode not in MODES:
        faults.append(Fault("/mode", "unknown_value", "is not one of them", MODES, "body"))
    if schema is not None:
        faults += faults_of(schema)
    return (None if faults else Description(label, schema, mode)), tuple(faults)


def _fault(pointer: str, code: str, message: str) -> Fault:
    return Fault(pointer, code, message, place="body")


__all__ = ["MAX_LABEL", "MODES", "Description", "description_of"]
