"""From what people write as a time to an instant. Pure.

RFC 3339 with an offset, a date with a time zone, or a span such as 24h before now.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SPAN = re.compile(r"(\d{1,4})([mhd])")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})")
_LOCAL = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def zone_of(name: str) -> ZoneInfo:
    """The time zone. Raises `ValueError` for names the tz database does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone such as Europe/Berlin") from None


def instant_of(text: str, zone: ZoneInfo | None, now: datetime, *, end: bool) -> datetime:
    """The instant meant by `since` (`end` false) or `until` (`end` true).

    A date in `until` includes that whole local day. Raises `ValueError` saying what is missing.
    """
    if match := _SPAN.fullmatch(text):
        if end:
            raise ValueError("a span such as 24h is taken in since only")
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    if _DATE.fullmatch(text):
        if zone is None:
            raise ValueError("a date needs tz, the zone whose day is meant")
        day = date.fromisoformat(text)
        return midnight(day + timedelta(days=1) if end else day, zone, later=end)
    if _INSTANT.fullmatch(text):
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    if _LOCAL.fullmatch(text):
        raise ValueError("a local time needs its offset from UTC, such as +01:00 or Z")
    raise ValueError("must be a time such as 2026-03-14T09:00:00Z, a date with tz, or a span such as 24h")


def midnight(day: date, zone: ZoneInfo, *, later: bool) -> datetime:
    """The first instant of a local day, in UTC.

    Where clocks skip midnight it is the first instant after the gap; where they repeat it, the earlier or the later.
    """
    local = datetime.combine(day, time(), zone).replace(fold=1 if later else 0)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
        before = local.replace(fold=0).utcoffset() or timedelta()
        after = local.replace(fold=1).utcoffset() or timedelta()
        low, high = instant - abs(after - before) * 2, instant + abs(after - before)
        while high - low > timedelta(seconds=1):
            middle = low + (high - low) / 2
            offset = middle.astimezone(zone).utcoffset() or timedelta()
            low, high = (low, middle) if offset == max(before, after) else (middle, high)
        instant = high.replace(microsecond=0)
    return instant


__all__ = ["instant_of", "midnight", "zone_of"]
