"""What a body may say of an event, what it may only repeat, and whom it may name as actor.

Pure. Each function adds what it finds wrong to `problems` and goes on, so that a caller hears of everything at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from audit_producers.addresses import parse_address
from audit_schemas.errors import Problem

PEOPLE: Final = ("internal_user", "client", "anonymous")
"""Whom an app may act for."""
AS_SENT: Final = (
    *("label", "occurred_at", "targets", "outcome", "outcome_reason", "changes", "metadata"),
    *("request_id", "session_id"),
)
OWN_RULES: Final = ("event_id", "event_type", "actor", "on_behalf_of", "ip", "user_agent")
REPEATED: Final = ("workspace_id", "app_id", "source", "category")
REFUSED: Final = ("producer", "received_at")
_CONTAINERS: Final = {"metadata": (dict, "object"), "changes": (list, "list"), "targets": (list, "list")}
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends: everything of an event that follows from the request instead of its body.

    `ip_raw` is what was said about the address and could not be understood.
    """

    workspace_id: str
    app_id: str
    key_id: str
    name: str
    ip: str
    ip_raw: str
    user_agent: str

    def repeated(self) -> dict[str, str]:
        """The fields a body may only repeat, with their values."""
        return {"workspace_id": self.workspace_id, "app_id": self.app_id, "source": "api", "category": "developer"}


def fields_of(item: Mapping[str, Any], repeated: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    """The fields that are taken as they stand in the body."""
    fields: dict[str, Any] = {}
    for name, value in item.items():
        if name in OWN_RULES or (value is None and (name in AS_SENT or name in repeated)):
            continue
        if name in AS_SENT:
            kind = _CONTAINERS.get(name)
            if kind is not None and not isinstance(value, kind[0]):
                problems.append(Problem(f"/{name}", "wrong_type", f"must be a JSON {kind[1]}"))
            elif name == "label" and not isinstance(value, str):
                problems.append(Problem("/label", "wrong_type", "must be text"))
            elif name == "occurred_at" and not (isinstance(value, str) and _INSTANT.fullmatch(value)):
                text = "must be RFC 3339 text with an offset, such as 2026-03-14T12:00:00Z"
                problems.append(Problem("/occurred_at", "instant", text))
            else:
                fields[name] = value
        elif name in repeated:
            if value != repeated[name]:
                text = f"is set by the server; leave it out, or send {repeated[name]!r}"
                problems.append(Problem(f"/{name}", "set_by_server", text))
        elif name in REFUSED:
            problems.append(Problem(f"/{name}", "set_by_server", "is set by the server; leave it out"))
        else:
            pointer = "/" + name[:200].replace("~", "~0").replace("/", "~1")
            problems.append(Problem(pointer, "unknown_field", "is not a field of an event"))
    return fields


def add_actor(
    item: Mapping[str, Any], caller: Caller, fields: dict[str, Any], own: dict[str, Any], problems: list[Problem]
) -> None:
    """Adds to `fields` who did it: the app, or the person it acts for, with the address and user agent of that one.

    Metadata that the log itself adds goes to `own`.
    """
    given, expected = item.get("actor"), None
    actor = dict(given) if isinstance(given, dict) else given
    kind = actor.get("type") if isinstance(actor, dict) else None
    if actor is None:
        actor, kind = {"type": "custom_app"}, "custom_app"
    if kind in PEOPLE:
        person = [actor.get(name) for name in ("id", "name")]
        id_, name = (value if isinstance(value, str) else "" for value in person)
        expected = {"type": kind, "id": id_, "name": name}
        fields["on_behalf_of"] = {"type": kind, "id": id_[:128], "name": name[:256]}
        fields["user_agent"] = item.get("user_agent")
        _persons_address(item.get("ip"), fields, own, problems)
    elif kind == "custom_app":
        if actor.setdefault("id", caller.app_id) != caller.app_id:
            text = f"is set by the server; leave it out, or send {caller.app_id!r}"
            problems.append(Problem("/actor/id", "set_by_server", text))
        actor.setdefault("name", caller.name)
        fields.update(ip=caller.ip, user_agent=caller.user_agent)
        if caller.ip_raw:
            own["_ip_raw"] = caller.ip_raw
        problems += [
            Problem(f"/{name}", "of_the_caller", "is the caller's own unless the actor is a person; leave it out")
            for name in ("ip", "user_agent")
            if item.get(name) not in (None, "")
        ]
    elif isinstance(kind, str):
        text = "an app speaks for itself or for a person"
        problems.append(Problem("/actor/type", "actor_type", text, ("custom_app", *PEOPLE)))
        actor["type"] = "custom_app"  # stands in for it, so that the rest is checked too
    fields["actor"] = actor
    if item.get("on_behalf_of") is not None and item["on_behalf_of"] != expected:
        text = "is set by the server: name the person as actor"
        problems.append(Problem("/on_behalf_of", "set_by_server", text))


def _persons_address(given: Any, fields: dict[str, Any], own: dict[str, Any], problems: list[Problem]) -> None:
    if given is None:
        return
    if not isinstance(given, str):
        problems.append(Problem("/ip", "wrong_type", "must be text"))
        return
    address = parse_address(given)
    fields["ip"] = address.ip
    if address.raw:
        own["_ip_raw"] = address.raw


__all__ = ["AS_SENT", "OWN_RULES", "PEOPLE", "REFUSED", "REPEATED", "Caller", "add_actor", "fields_of"]
