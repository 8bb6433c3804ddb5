"""The filters people can set: what each is called in an address, how it is chosen, and what Apply makes of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode

from audit_infra.access import Principal, Scope
from audit_query.filters import META, NOT, PERSONAL, base_of
from audit_query.times import midnight, shown_at
from audit_query.web.address import Pair
from audit_query.web.viewer import Viewer
from audit_schemas.event import ACTOR_TYPES, OUTCOMES, SOURCES
from audit_schemas.topics import CATEGORIES

Kind = Literal["search", "closed", "text", "pair", "range"]
Form = Mapping[str, Sequence[str]]
RANGE: Final = "range"
PRESETS: Final = ("15m", "24h", "7d", "30d", "quarter")
_BOUNDS: Final = ("since", "until", "tz")


@dataclass(frozen=True, slots=True)
class Panel:
    """One filter. `search` is chosen from what occurs, `closed` from a list, `text` is typed, `pair` is key and value."""

    name: str
    kind: Kind
    values: tuple[str, ...] = ()

    @property
    def personal(self) -> bool:
        """Whether it filters by what is masked without audit:pii."""
        return self.name in PERSONAL

    def may(self, principal: Principal) -> bool:
        """Whether somebody may filter by this."""
        return not self.personal or principal.may(Scope.PII)

    def holds(self, name: str) -> bool:
        """Whether a parameter of an address belongs to this filter."""
        if self.kind == "range":
            return name in _BOUNDS
        return base_of(name) == (META if self.kind == "pair" else self.name)

    def chosen(self, filters: Sequence[Pair]) -> list[Pair]:
        """What of an address is this filter's."""
        return [pair for pair in filters if self.holds(pair[0])]

    def excludes(self, filters: Sequence[Pair]) -> bool:
        """Whether the panel shows what is left out: when nothing of it is looked for."""
        names = [name for name, _ in self.chosen(filters)]
        return bool(names) and all(name.startswith(NOT) for name in names)

    def ticked(self, filters: Sequence[Pair]) -> list[str]:
        """The values of the side that the panel shows, as the form sends them."""
        excludes = self.excludes(filters)
        shown = [(name, value) for name, value in self.chosen(filters) if name.startswith(NOT) == excludes]
        return [_packed(name, value) if self.kind == "pair" else value for name, value in shown]


PANELS: Final[Mapping[str, Panel]] = {
    one.name: one
    for one in (
        Panel("user", "search"),
        Panel("event", "search"),
        Panel("q", "text"),
        Panel(RANGE, "range"),
        Panel("category", "closed", CATEGORIES),
        Panel("source", "closed", SOURCES),
        Panel("actor_type", "closed", ACTOR_TYPES),
        Panel("target", "search"),
        Panel("outcome", "closed", OUTCOMES),
        Panel("ip", "text"),
        Panel("app", "text"),
        Panel("request_id", "text"),
        Panel("meta", "pair"),
    )
}
OWN_BUTTONS: Final = ("user", "event")
"""These have a button each; the others stand behind "Add filter"."""


def applied(panel: Panel, before: Sequence[Pair], form: Form, viewer: Viewer) -> list[Pair]:
    """The filters after Apply: those before, with this panel's as the form says.

    Values looked for and values left out are two sides of which a panel shows one; the other stays, but for values
    that now stand on this one. Raises `ValueError` for a time that none is.
    """
    if panel.kind == "range":
        return [pair for pair in before if not panel.holds(pair[0])] + _range(form, viewer)
    shown = NOT if first(form, "was") == "exclude" else ""
    side = NOT if first(form, "mode") == "exclude" else ""
    chosen = _chosen(panel, form, side)
    opposite = {(_other(name), value) for name, value in chosen}
    kept = [
        (name, value)
        for name, value in before
        if not (panel.holds(name) and name.startswith(NOT) == bool(shown))
        and (name, value) not in opposite
        and (name, value) not in chosen
    ]
    return kept + chosen


def _chosen(panel: Panel, form: Form, side: str) -> list[Pair]:
    added = [value.strip() for value in form.get("add", ()) if value.strip()]
    ticked = form.get("value", ())
    if panel.kind == "pair":
        key = first(form, "key").strip()
        pairs = [pair for value in ticked for pair in parse_qsl(value, keep_blank_values=True)]
        pairs += [(META + key, value) for value in form.get("add", ()) if key]
    else:
        pairs = [(panel.name, value) for value in (*ticked, *added)]
    return [(side + name, value) for name, value in dict.fromkeys(pairs)]


def _range(form: Form, viewer: Viewer) -> list[Pair]:
    preset = first(form, "preset")
    if preset == "quarter":
        today = viewer.local(viewer.now).date()
        begin = today.replace(month=today.month - (today.month - 1) % 3, day=1)
        return [("since", midnight(begin, viewer.zone, later=False).astimezone(viewer.zone).isoformat())]
    if preset in PRESETS:
        return [("since", preset)]
    typed = [(name, first(form, name)) for name in ("since", "until")]
    return [(name, _instant(text, viewer, later=name == "until")) for name, text in typed if text]


def _instant(text: str, viewer: Viewer, *, later: bool) -> str:
    """What a `datetime-local` field holds, as an instant with its offset: a shared link means the same everywhere."""
    wall = datetime.fromisoformat(text)
    if wall.tzinfo is not None:
        raise ValueError("a time of the form has no offset")
    if later and len(text) == len("2026-03-14"):
        wall += timedelta(days=1)  # a date alone includes that day
    try:
        return shown_at(wall, viewer.zone, later=later).astimezone(viewer.zone).isoformat()
    except OverflowError:
        raise ValueError("there is no such year") from None


def _packed(name: str, value: str) -> str:
    return urlencode([(name.removeprefix(NOT), value)])


def _other(name: str) -> str:
    return name.removeprefix(NOT) if name.startswith(NOT) else NOT + name


def first(form: Form, name: str) -> str:
    """The value of a field that stands in a form once; empty where it is missing."""
    return next(iter(form.get(name, ())), "")


__all__ = ["OWN_BUTTONS", "PANELS", "PRESETS", "RANGE", "Panel", "applied", "first"]
