"""What the log's own events say: who did it, to what, and what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from audit_infra.access import ApiKey, Principal
from audit_producers import EventFields
from audit_query.filters import PAGING, Params
from audit_schemas.redaction import is_secret_path

ChangeKind = Literal["workspace_created", "plan_changed", "key_created", "key_revoked"]

NOT_FILTERS: Final = frozenset({*PAGING, "tz"})
"""Parameters of a list that choose no events."""
RANGE: Final = frozenset({"since", "until"})
_MAX_NAMES, _MAX_VALUES, _MAX_TEXT, _MAX_ALL = 40, 20, 200, 6_000
_REDACTED: Final = "(redacted)"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was changed about a workspace or its keys, by whom, and in which workspace's log it belongs.

    `old` and `new` are names of plans, or the key that was revoked or created; None where there is none.
    """

    workspace_id: str
    kind: ChangeKind
    principal: Principal
    old: str | ApiKey | None = None
    new: str | ApiKey | None = None


def actor_of(principal: Principal) -> Mapping[str, str]:
    """Who acts. A token's texts may be longer than an event holds; they are cut, since an event that is refused for
    them would be lost.
    """
    kind = "api_key" if principal.kind == "key" else "internal_user"
    return {
        "type": kind,
        "id": carriable(principal.subject, 128),
        "name": carriable(principal.name, 256),
        "email": carriable(principal.email, 320),
    }


def the_log(workspace_id: str) -> Mapping[str, str]:
    """The log of a workspace as a target."""
    return {"type": "audit_log", "id": workspace_id}


def asked(params: Params, without: frozenset[str] = NOT_FILTERS) -> dict[str, list[str]]:
    """The filter as it was asked for: parameters with their values, in order; nothing when there is no filter.

    `tz` is told beside a range. Values searched for in metadata under the name of a secret are left out.
    """
    found: dict[str, list[str]] = {}
    for name, value in params:
        if name not in without:
            secret = name.partition("meta.")[1] and is_secret_path(name.partition("meta.")[2])
            found.setdefault(name, []).append(_REDACTED if secret else value)
    if found.keys() & RANGE:
        found |= {"tz": [value for name, value in params if name == "tz"]} if ("tz" in dict(params)) else {}
    return found


def filter_metadata(filter_: Mapping[str, list[str]]) -> dict[str, Any]:
    """The filter as metadata of an event. What is more than an event should hold is cut, and `filter_cut` says so."""
    kept: dict[str, list[str]] = {}
    room, cut = _MAX_ALL, False
    for number, (name, values) in enumerate(filter_.items()):
        if number == _MAX_NAMES or room <= 0:
            cut = True
            break
        short = [carriable(value, _MAX_TEXT) for value in values[:_MAX_VALUES]]
        cut |= len(values) > _MAX_VALUES or any(len(value) > _MAX_TEXT for value in values)
        while short and sum(map(len, short)) + len(name) > room:
            short.pop()
            cut = True
        room -= sum(map(len, short)) + len(name)
        kept[carriable(name, _MAX_TEXT)] = short
    return ({"filter": kept} if kept else {}) | ({"filter_cut": True} if cut else {})


def change_event(
    kind: ChangeKind, workspace_id: str, old: str | ApiKey | None, new: str | ApiKey | None
) -> tuple[str, EventFields] | None:
    """The type and the fields of the event of a change, all but its actor; None when nothing was changed."""
    workspace = EventFields(workspace_id=workspace_id, targets=[{"type": "workspace", "id": workspace_id}])
    match kind, old, new:
        case "workspace_created", _, _:
            return "workspace.created", workspace | EventFields(metadata={"plan": new})
        case "plan_changed", str(), str() if old != new:
            changes = [{"path": "plan", "old": old, "new": new}]
            return "workspace.plan_changed", workspace | EventFields(changes=changes)
        case "key_created", _, ApiKey() as key:
            return "api_key.created", _key(workspace_id, key)
        case "key_revoked", ApiKey() as key, _:
            return "api_key.revoked", _key(workspace_id, key)
        case _:
            return None


def _key(workspace_id: str, key: ApiKey) -> EventFields:
    metadata: dict[str, Any] = {"prefix": key.prefix, "scopes": sorted(key.scopes)}
    if key.app_id:
        metadata["app_id"] = carriable(key.app_id, 500)
    if key.expires_at is not None:
        metadata["expires_at"] = key.expires_at.isoformat()
    targets = [{"type": "api_key", "id": key.id, "name": carriable(key.name, 256)}]
    return EventFields(workspace_id=workspace_id, targets=targets, metadata=metadata)


def carriable(text: str, most: int) -> str:
    """Cut to what an event holds, and without what none may hold: NUL, and surrogates that UTF-8 can't carry."""
    return text[:most].replace("\0", "�").encode("utf-8", "replace").decode()


__all__ = [
    "NOT_FILTERS",
    "RANGE",
    "Change",
    "ChangeKind",
    "actor_of",
    "asked",
    "carriable",
    "change_event",
    "filter_metadata",
    "the_log",
]
