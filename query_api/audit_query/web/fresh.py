"""How far the log is complete, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from audit_query.web.messages import say
from audit_query.web.viewer import Viewer

_BEHIND: Final = timedelta(seconds=60)
"""Storing takes a second or two; what takes this long lags."""
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Fresh:
    """`text` is the sentence that is always there; `lag` names what is behind, empty when nothing is."""

    text: str
    lag: str


def freshness(complete_through: Mapping[str, str | None], viewer: Viewer, labels: Mapping[str, str]) -> Fresh:
    """From the service's `complete_through`, which speaks of acceptance, not of when things happened."""
    moment = complete_through["all"]
    if moment is None:
        silent = [name for name, at in complete_through.items() if at is None and name != "all"]
        return Fresh(say("fresh_unknown"), say("silent", categories=_named(silent, labels)) if silent else "")
    behind = {
        name: datetime.fromisoformat(at)
        for name, at in complete_through.items()
        if at is not None and name != "all" and viewer.now - datetime.fromisoformat(at) > _BEHIND
    }
    text = say("fresh", time=_time(datetime.fromisoformat(moment), viewer))
    if not behind:
        return Fresh(text, "")
    slowest = min(behind.values())
    return Fresh(
        text, say("lag", n=len(behind), categories=_named(sorted(behind), labels), time=_time(slowest, viewer))
    )


def _time(at: datetime, viewer: Viewer) -> str:
    """With the date where that is another day."""
    return viewer.clock(at) if viewer.local(at).date() == viewer.local(viewer.now).date() else viewer.moment(at)


def _named(categories: list[str], labels: Mapping[str, str]) -> str:
    named = [labels.get(one, one) for one in categories]
    if len(named) == len(labels):
        return say("all_categories")
    if len(named) > _MOST_NAMED:
        return say("and_more", names=", ".join(named[:_MOST_NAMED]), more=len(named) - _MOST_NAMED)
    return ", ".join(named)


__all__ = ["Fresh", "freshness"]
