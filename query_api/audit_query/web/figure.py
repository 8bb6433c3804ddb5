"""How many events there were over time, as a drawing and as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from audit_query.web.messages import say
from audit_query.web.viewer import Viewer

HEIGHT: Final = 48
STEP: Final = 10
_GAP: Final = 1.5
_LEAST: Final = 1.5
"""A bar that is there can be seen, however few events it stands for."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bucket: where it is drawn, and what it says. Nothing is drawn where nothing happened."""

    x: float
    y: float
    width: float
    height: float
    title: str
    when: str
    count: str


@dataclass(frozen=True, slots=True)
class Figure:
    """The drawing in a box of `width` × `HEIGHT`, and the sentence that says the same."""

    bars: tuple[Bar, ...]
    width: int
    text: str
    first: str
    last: str
    height: int = HEIGHT


def figure(interval: str | None, rows: Sequence[Mapping[str, Any]], viewer: Viewer) -> Figure | None:
    """From the service's histogram; None where nothing is to be drawn."""
    most = max((row["count"] for row in rows), default=0)
    if interval is None or not most:
        return None
    bars = []
    for number, row in enumerate(rows):
        height = max(_LEAST, row["count"] / most * HEIGHT) if row["count"] else 0
        when, count = _when(row, interval, viewer), viewer.number(row["count"])
        bars.append(
            Bar(
                x=number * STEP + _GAP / 2,
                y=round(HEIGHT - height, 2),
                width=STEP - _GAP,
                height=round(height, 2),
                title=say("bar", when=when, count=count, n=row["count"]),
                when=when,
                count=count,
            )
        )
    peak = max(zip(rows, bars, strict=True), key=lambda pair: pair[0]["count"])[1]
    total = sum(row["count"] for row in rows)
    text = say(
        f"figure_{interval}",
        n=total,
        count=viewer.number(total),
        first=bars[0].when,
        last=bars[-1].when,
        peak=peak.when,
        most=peak.count,
    )
    return Figure(tuple(bars), len(rows) * STEP, text, bars[0].when, bars[-1].when)


def _when(row: Mapping[str, Any], interval: str, viewer: Viewer) -> str:
    at = datetime.fromisoformat(row["start"])
    if interval in ("minute", "hour"):
        return f"{viewer.date(at)} {viewer.clock(at)[:5]}"
    return viewer.date(at) if interval != "month" else f"{viewer.local(at):%Y-%m}"


__all__ = ["HEIGHT", "STEP", "Bar", "Figure", "figure"]
