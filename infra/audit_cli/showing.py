"""How events look in a terminal: one line each, and nothing in them can take the terminal over. Pure."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

_WIDTHS = (25, 26, 30, 9)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, invisible format characters (among them those that turn the direction of text), line ends."""


def safe(text: str) -> str:
    """The text with everything that steers a terminal or can't be seen written as \\xNN or \\uNNNN."""
    return "".join(_escaped(one) if unicodedata.category(one) in _UNSEEN else one for one in text)


def _escaped(one: str) -> str:
    code = ord(one)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def head(zone: tzinfo | None, now: datetime) -> str:
    """The head of the table; it names the zone, the machine's own with None."""
    name = getattr(zone, "key", None) or now.astimezone(zone).tzname()
    return _line(f"Time ({name})", "Actor", "Event", "Outcome", "Target")


def line(event: Mapping[str, Any], zone: tzinfo | None) -> str:
    """One event as a line of the table."""
    actor, targets = event["actor"], event["targets"]
    when = datetime.fromisoformat(event["occurred_at"]).astimezone(zone).isoformat(" ", "seconds")
    who = actor["name"] or actor["email"] or actor["id"] or actor["type"]
    what = ", ".join(target["name"] or f"{target['type']}:{target['id']}" for target in targets)
    return _line(when, who, event["label"], event["outcome"] or "", what)


def ndjson(event: Mapping[str, Any]) -> str:
    """The event as one line of JSON in ASCII: exact, and harmless to look at."""
    return json.dumps(event, separators=(",", ":"))


def _line(*cells: str) -> str:
    shown = [safe(cell) for cell in cells]
    cut = [cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(shown, _WIDTHS, strict=False)]
    padded = [f"{cell:<{width}}" for cell, width in zip(cut, _WIDTHS, strict=True)]
    return "  ".join([*padded, *shown[len(_WIDTHS) :]]).rstrip()


__all__ = ["head", "line", "ndjson", "safe"]
