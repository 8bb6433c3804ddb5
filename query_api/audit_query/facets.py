"""What can be filtered by: the users, event types, targets, categories, sources and actor types that occur."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audit_infra.access import Principal
from audit_infra.http.problems import Fault, ProblemError, invalid
from audit_query.asking import Asking, Question
from audit_query.counting import Counted, Counting, Finish, window
from audit_query.facet_sql import DAYS, MONTHS, Groups
from audit_query.filters import MAX_VALUES, Filter, Params
from audit_query.freshness import Freshness
from audit_query.latest_users import LatestUsers
from audit_query.ports import Reading
from audit_query.rows import time_text
from audit_query.sql import Query
from audit_schemas.catalogue import Catalogue
from audit_schemas.event import ACTOR_TYPES, SOURCES
from audit_schemas.topics import CATEGORIES

MOST = 200
_MOST_TYPES = 5000
_LONGEST_SEARCH = 200
USERS = Groups(
    ("toString(actor_type)", "toString(actor_id)"),
    ("actor_type", "actor_id", "actor_name", "actor_email"),
    ("toString(actor_name)", "toString(actor_email)"),
    MONTHS,
)
TYPE_COUNTS = Groups(("toString(category)", "toString(event_type)"), ("category", "event_type"), unit=DAYS)
TYPES = Groups(
    TYPE_COUNTS.keys,
    (*TYPE_COUNTS.columns, "label", "app_id"),
    texts=("toString(label)", "toString(app_id)"),
    unit=DAYS,
)
# An event that names a target twice is one event; its first name for it counts.
_TARGETS = Groups(
    ("target.1", "target.2"),
    ("`targets.type`", "`targets.id`", "`targets.name`"),
    ("target.3",),
    target="arrayJoin(arrayFilter((one, number) -> number = 1, arrayZip(arrayMap(x -> toString(x), `targets.type`),"
    " `targets.id`, `targets.name`), arrayEnumerateUniq(`targets.type`, `targets.id`)))",
)


@dataclass(frozen=True, slots=True)
class Facet:
    """One facet's answer; see `Counted` for `scope` and `exact`."""

    rows: list[dict[str, Any]]
    scope: str
    exact: bool
    complete_through: dict[str, str | None]
    preview: dict[str, Any] | None

    def body(self) -> dict[str, Any]:
        """The answer of the API."""
        return {
            "data": self.rows,
            "scope": self.scope,
            "exact": self.exact,
            "complete_through": self.complete_through,
            "preview": self.preview,
        }


class Facets:
    """Every method takes a principal, whose workspace is the only one it can see, and a request's parameters.

    A facet is of the events that match all filters but its own. All raise `ProblemError` for bad parameters.
    """

    def __init__(
        self,
        *,
        asking: Asking,
        counting: Counting,
        target_counting: Counting,
        reader: Reading,
        freshness: Freshness,
        catalogue: Catalogue,
    ) -> None:
        self._latest_users = LatestUsers(counting, reader)
        self._asking, self._counting, self._target_counting = asking, counting, target_counting
        self._freshness, self._catalogue = freshness, catalogue

    async def users(self, principal: Principal, params: Params) -> Facet:
        """The users that match `search`, most recently active first; `value` is what the filter `user` takes.

        Values that are masked without audit:pii are not searched either: they could be guessed letter by letter.
        """
        question, search, limit = await self._asked(principal, params, "search", "limit")

        def searched(kind: str, identity: str, name: str, email: str) -> str:
            if question.pii:
                return f"({_has(name)} OR {_has(identity)} OR {_has(email)})"
            return f"(({_has(name)} AND {kind} != 'anonymous') OR {_has(identity)})"

        def row(kind: str, identity: str, at: int, name: str, email: str, count: int) -> dict[str, Any]:
            hidden = not question.pii and kind == "anonymous"
            return {
                "value": f"{kind}:{identity}",
                "actor_type": kind,
                "id": identity or None,
                "name": None if hidden else name or None,
                "email": (email or None) if question.pii else None,
                "count": count,
                "last_seen": time_text(at),
            }

        shown = question.shown.without("user")
        fresh = await self._freshness.complete_through()
        found = await self._latest_users.found(question.workspace_id, shown, limit, search, searched)
        if found is not None:
            return self._facet(question, [row(*values) for values in found.rows], fresh, found)
        named = searched("k0", "k1", "latest.2", "latest.3")
        return await self._listed(self._counting, question, "user", USERS, named, search, limit, row)

    async def targets(self, principal: Principal, params: Params) -> Facet:
        """The targets that match `search`, latest first; `value` is what the filter `target` takes."""
        question, search, limit = await self._asked(principal, params, "search", "limit")
        searched = _has("latest.2") + " OR " + _has("k1")

        def row(kind: str, identity: str, at: int, name: str, count: int) -> dict[str, Any]:
            return {
                "value": f"{kind}:{identity}",
                "type": kind,
                "id": identity or None,
                "name": name or None,
                "count": count,
                "last_seen": time_text(at),
            }

        return await self._listed(self._target_counting, question, "target", _TARGETS, searched, search, limit, row)

    async def event_types(self, principal: Principal, params: Params) -> Facet:
        """The event types that match `search`, by category and label; `value` is what the filter `event` takes.

        Native types are there also when nothing of theirs is; label and app of others are those of their latest event.
        """
        question, search, _ = await self._asked(principal, params, "search")

        def finish(found: Query) -> Query:
            return Query(f"SELECT * FROM ({found.sql}) ORDER BY n DESC, k0, k1 LIMIT {_MOST_TYPES}", found.values)

        shown = question.shown.without("event")
        fresh, counted = await self._counted(self._counting, question, shown, TYPE_COUNTS, finish)
        said: dict[tuple[str, str], tuple[str, str]] = {}
        custom = sorted({name for _, name, _ in counted.rows if not self._catalogue.get(name)})
        if custom:
            # Labels take several times as long as numbers do.
            matched = shown if counted.scope == "filtered" else window(shown)
            if len(custom) <= MAX_VALUES:
                matched = replace(matched, values=(*matched.values, ("event", tuple(custom))))
            labelled = await self._counting.groups(question.workspace_id, matched, TYPES, finish)
            said = {(category, name): latest[1:] for category, name, latest, _ in labelled.rows}
        wanted = folded(search)
        types = {(one.category, one.name): (one.label, "", 0) for one in self._catalogue}
        for category, name, count in counted.rows:
            native = self._catalogue.get(name)
            label, app_id = said.get((category, name), ("", ""))
            types[category, name] = (native.label if native else label or name, app_id, count)
        rows = [
            {"value": name, "label": label, "category": category, "app_id": app_id or None, "count": count}
            for (category, name), (label, app_id, count) in types.items()
            if wanted in folded(label) or wanted in folded(name)
        ]
        rows.sort(key=lambda one: (CATEGORIES.index(one["category"]), one["label"], one["value"]))
        return self._facet(question, rows, fresh, counted)

    async def categories(self, principal: Principal, params: Params) -> Facet:
        """All categories with their label."""
        labels = self._catalogue.category_labels
        return await self._closed(principal, params, "category", CATEGORIES, {"label": labels})

    async def sources(self, principal: Principal, params: Params) -> Facet:
        """All sources."""
        return await self._closed(principal, params, "source", SOURCES, {})

    async def actor_types(self, principal: Principal, params: Params) -> Facet:
        """All types of actors."""
        return await self._closed(principal, params, "actor_type", ACTOR_TYPES, {})

    async def _closed(
        self,
        principal: Principal,
        params: Params,
        name: str,
        values: Sequence[str],
        further: Mapping[str, Mapping[str, str]],
    ) -> Facet:
        question, _, _ = await self._asked(principal, params)
        groups = Groups((f"toString({name})",), (name,), unit=DAYS)
        shown = question.shown.without(name)
        fresh, counted = await self._counted(self._counting, question, shown, groups, lambda found: found)
        counts = {str(value): int(count) for value, count in counted.rows}
        rows = [
            {"value": value, **{key: texts[value] for key, texts in further.items()}, "count": counts.get(value, 0)}
            for value in values
        ]
        return self._facet(question, rows, fresh, counted)

    async def _listed(
        self,
        counting: Counting,
        question: Question,
        name: str,
        groups: Groups,
        searched: str,
        search: str,
        limit: int,
        row: Callable[..., dict[str, Any]],
    ) -> Facet:
        texts = ", ".join(f"latest.{number}" for number in range(2, 2 + len(groups.texts)))
        wanted = f" WHERE {searched}" if search else ""

        def finish(found: Query) -> Query:
            return Query(
                f"SELECT k0, k1, toUnixTimestamp64Micro(latest.1) AS at, {texts}, n FROM ({found.sql}){wanted}"
                " ORDER BY at DESC, k0, k1 LIMIT {most:UInt32}",
                {**found.values, "search": search, "most": limit},
            )

        shown = question.shown.without(name)
        fresh, counted = await self._counted(counting, question, shown, groups, finish)
        return self._facet(question, [row(*values) for values in counted.rows], fresh, counted)

    async def _counted(
        self, counting: Counting, question: Question, shown: Filter, groups: Groups, finish: Finish
    ) -> tuple[dict[str, str | None], Counted]:
        fresh = await self._freshness.complete_through()
        return fresh, await counting.groups(question.workspace_id, shown, groups, finish)

    def _facet(
        self, question: Question, rows: list[dict[str, Any]], fresh: dict[str, str | None], counted: Counted
    ) -> Facet:
        preview = question.visibility.preview(question.clamped)
        return Facet(rows, counted.scope, counted.exact, fresh, preview)

    async def _asked(self, principal: Principal, params: Params, *own: str) -> tuple[Question, str, int]:
        """The question, the text searched for, and how many rows are wanted; all faults at once."""
        faults: list[Fault] = []
        given = dict(params)
        search = given.get("search", "") if "search" in own else ""
        if len(search) > _LONGEST_SEARCH:
            faults.append(Fault("search", "length", f"must have at most {_LONGEST_SEARCH} characters"))
        limit = given.get("limit", "50") if "limit" in own else "50"
        if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= MOST):
            faults.append(Fault("limit", "out_of_range", f"must be a whole number from 1 to {MOST}"))
        question = await asked(self._asking, principal, params, dict.fromkeys(own, ()), faults)
        return question, search.strip(), int(limit)


async def asked(
    asking: Asking, principal: Principal, params: Params, own: Mapping[str, Sequence[str]], faults: Sequence[Fault]
) -> Question:
    """The question. Raises what `Asking.question` does, with the faults of the endpoint's own parameters among it."""
    try:
        question = await asking.question(principal, params, further=own)
    except ProblemError as error:
        if error.faults:
            raise invalid((*error.faults, *faults)) from None
        raise
    if faults:
        raise invalid(tuple(faults))
    return question


def folded(text: str) -> str:
    """How searching compares text: NFC, then case-folded as Unicode says, so that `STRASSE` finds `Straße`."""
    return unicodedata.normalize("NFC", text).casefold()


def _has(expression: str) -> str:
    """The same in ClickHouse. The search is folded there too, whose Unicode may be newer than Python's."""
    fold = "caseFoldUTF8(normalizeUTF8NFC({}))"
    return f"position({fold.format(expression)}, {fold.format('{search:String}')}) > 0"


__all__ = ["MOST", "TYPES", "TYPE_COUNTS", "USERS", "Facet", "Facets", "asked", "folded"]
