"""Until when a key works, from what a person writes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from audit_infra.access.principal import AccessError

_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def expiry(text: str, now: datetime) -> datetime:
    """A span from now on such as "30d", "12h" or "15m", or an RFC 3339 instant ahead. Raises `AccessError`."""
    if span := _SPAN.fullmatch(text):
        return now + timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = now
    if found.tzinfo is None or not found > now:
        raise AccessError(f"{text[:80]!r} is no span such as 30d, and no instant ahead such as 2027-01-31T00:00:00Z")
    return found


__all__ = ["expiry"]
