"""How one viewer reads times and numbers: their time zone, their locale, and the moment they look. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_timedelta
from babel.numbers import format_decimal

_USUAL = "en-US"
_SECOND = timedelta(seconds=1)
_LONGEST = 35  # of a BCP 47 tag, as RFC 5646 counts


@dataclass(frozen=True, slots=True)
class Viewer:
    """Dates and numbers follow the locale; the clock has 24 hours everywhere, so that times line up and sort.

    `chosen` says that the zone was picked on the page, so that the browser's own does not replace it.
    """

    zone: ZoneInfo
    language: str
    now: datetime
    chosen: bool = False

    def local(self, at: datetime) -> datetime:
        """The same moment on the viewer's clock."""
        return at.astimezone(self.zone)

    def date(self, at: datetime) -> str:
        """Such as `Mar 14, 2026`."""
        return format_date(self.local(at).date(), "medium", _locale(self.language))

    def day(self, at: datetime) -> str:
        """Such as `Saturday, March 14, 2026`."""
        return format_date(self.local(at).date(), "full", _locale(self.language))

    def clock(self, at: datetime) -> str:
        """Such as `13:00:00`."""
        return f"{self.local(at):%H:%M:%S}"

    def moment(self, at: datetime) -> str:
        """Date and time to the second."""
        return f"{self.date(at)} {self.clock(at)}"

    def exact(self, at: datetime) -> str:
        """Date and time to the microsecond, with the offset: RFC 3339 but for a blank."""
        return self.local(at).isoformat(sep=" ", timespec="microseconds")

    def offset(self, at: datetime) -> str:
        """The distance of the viewer's clock from UTC at that moment, such as `+01:00`."""
        text = f"{self.local(at):%z}"
        return f"{text[:3]}:{text[3:5]}"

    def ago(self, at: datetime) -> str:
        """How long ago it was, at least a second, in the page's language; the page's script keeps it true."""
        away = at - self.now
        away = away if abs(away) >= _SECOND else -_SECOND  # never "in 0 seconds"
        return format_timedelta(away, add_direction=True, threshold=1, locale="en")

    def number(self, value: int) -> str:
        """With the locale's digit groups."""
        return format_decimal(value, locale=_locale(self.language))


def language_of(accepted: str) -> str:
    """The first language of an `Accept-Language` whose dates and numbers are known, as a BCP 47 tag."""
    weighed = []
    for number, one in enumerate(accepted.split(",")):
        tag, _, weight = one.strip().partition(";q=")
        try:
            weighed.append((-float(weight or 1), number, tag.strip()))
        except ValueError:
            continue
    for less, _, tag in sorted(weighed):
        if less and tag and len(tag) <= _LONGEST and _known(tag):
            return tag
    return _USUAL


@lru_cache(maxsize=256)
def _known(tag: str) -> bool:
    try:
        Locale.parse(tag, sep="-")
    except (ValueError, TypeError, UnknownLocaleError):
        return False
    return True


@lru_cache(maxsize=256)
def _locale(tag: str) -> Locale:
    return Locale.parse(tag, sep="-")


__all__ = ["Viewer", "language_of"]
