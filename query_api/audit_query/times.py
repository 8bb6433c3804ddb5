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
    return shown_at(datetime.combine(day, time()), zone, later=later)


def shown_at(wall: datetime, zone: ZoneInfo, *, later: bool) -> datetime:
    """When the clocks of a zone show a date and time, in UTC: the first instant after the gap where they skip it.

    Where they show it twice, the earlier or the later time.
    """
    wall = wall.replace(tzinfo=zone)
    first, second = sorted(wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return second if later else first
    # Clocks were put forward between the two: the new offset holds from the first instant after the gap on.
    new = second.astimezone(zone).utcoffset()
    while second - first > timedelta(seconds=1):
        middle = first + (second - first) / 2
        first, second = (first, middle) if middle.astimezone(zone).utcoffset() == new else (middle, second)
    return second.replace(microsecond=0)


__all__ = ["instant_of", "midnight", "shown_at", "zone_of"]
