"""What a request knows about itself, so that a handler emits in one line: who acts, from where, under which ids.

The values live in one context variable: each thread, asyncio task and copied context has its own, and what is set
inside an `audit_context` ends with it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

Person = Mapping[str, Any]


class ContextFields(TypedDict, total=False):
    """The fields of `Context` as keyword arguments. None takes away what an outer context gave."""

    request_id: str | None
    session_id: str | None
    ip: str | None
    user_agent: str | None
    actor: Person | Callable[[], Person | None] | None
    workspace_id: str | None
    source: str | None
    on_behalf_of: Person | None


@dataclass(frozen=True, slots=True)
class Context:
    """Arguments of `AuditLog.emit` that hold for everything that happens here; None where nothing was said.

    `actor` may be a function: it is asked when an event needs it, so that it can see what authentication found out
    after the context was opened.
    """

    request_id: str | None = None
    session_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    actor: Person | Callable[[], Person | None] | None = None
    workspace_id: str | None = None
    source: str | None = None
    on_behalf_of: Person | None = None
    _given: tuple[tuple[str, Any], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = tuple((name, value) for name in _FIELDS if (value := getattr(self, name)) is not None)
        object.__setattr__(self, "_given", given)


_FIELDS = tuple(one.name for one in fields(Context) if one.init)
_NOTHING = Context()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A context and what surrounds it, kept in the variable itself: an `audit_context` has no state of its own."""

    context: Context
    by: audit_context
    outside: _Opened | None


_CONTEXT: ContextVar[_Opened | None] = ContextVar("audit_context", default=None)


class audit_context:  # noqa: N801 - reads as a statement: `with audit_context(...)`
    """`with audit_context(request_id=..., actor=...):` gives the events inside what they don't say themselves.

    Contexts nest: inner fields win, the others are inherited. One object may be opened often, also by several threads
    and tasks at once. Raises `TypeError` for a field there is not.
    """

    __slots__ = ("_fields",)

    def __init__(self, **given: Unpack[ContextFields]) -> None:
        self._fields = _known(given)

    def __enter__(self) -> Self:
        outside = _CONTEXT.get()
        around = _NOTHING if outside is None else outside.context
        _CONTEXT.set(_Opened(replace(around, **self._fields), self, outside))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what was opened inside and left open too, such as by a generator that was not read to its end.

        Such a generator, and one that a framework closes in another thread or task, may end here where it does not
        hold any more: nothing is left to undo then.
        """
        opened = _CONTEXT.get()
        while opened is not None and opened.by is not self:
            opened = opened.outside
        if opened is not None:
            _CONTEXT.set(opened.outside)


def update_context(**given: Unpack[ContextFields]) -> None:
    """Adds to the surrounding `audit_context`, until its end.

    It holds for this thread or task and for those started from here later. What runs in a copy of the context, such
    as a synchronous dependency that a framework runs in a thread pool, changes its copy only.

    Raises:
        TypeError: for a field there is not.
        RuntimeError: outside every `audit_context`, where the values would stay for whatever the thread does next.
    """
    changes = _known(given)
    opened = _CONTEXT.get()
    if opened is None:
        raise RuntimeError(
            "no audit_context surrounds this, so the values would stay for the next request of this thread; "
            "install the AuditContextMiddleware or open `with audit_context():`"
        )
    _CONTEXT.set(replace(opened, context=replace(opened.context, **changes)))


def set_actor(actor: Person | None) -> None:
    """`update_context(actor=actor)`: for use once it is known who asks. Raises what `update_context` raises."""
    update_context(actor=actor)


def current() -> Context:
    """What holds here; an actor that was given as a function is asked now."""
    opened = _CONTEXT.get()
    context = _NOTHING if opened is None else opened.context
    return replace(context, actor=context.actor()) if callable(context.actor) else context


def carried() -> dict[str, Any]:
    """What holds here as plain values, for a message to another process; there, `audit_context(**carried)` opens it.

    So the task of a queue writes its events as whoever asked for it. Fields of which nothing is known are left out.
    """
    context = current()
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in context._given}  # noqa: SLF001 - of this module


def filled(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an emit with those that are missing or None taken from the context; a given one always wins."""
    opened = _CONTEXT.get()
    if opened is None:
        return arguments
    result = arguments.copy()
    for name, value in opened.context._given:  # noqa: SLF001 - of this module
        if result.get(name) is None:
            result[name] = value() if callable(value) else value
    return result


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, refused when unknown, and with mappings copied: later changes of the caller's are its own."""
    for name in given:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_FIELDS)}"
            raise TypeError(f"the audit context has no field {name!r}; {hint}")
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in given.items()}


__all__ = ["Context", "ContextFields", "audit_context", "carried", "current", "filled", "set_actor", "update_context"]
