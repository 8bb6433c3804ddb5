"""What a streamed export is called, and the headers it is sent with. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from audit_query.exports.form import MEDIA, Form
from audit_query.filters import Filter
from audit_schemas.event import instant_of, micros

_FIRST, _LAST = micros(datetime(1, 1, 2, tzinfo=UTC)), micros(datetime(9999, 12, 30, tzinfo=UTC))
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def file_name(workspace_id: str, filter_: Filter, form: Form, now: datetime) -> str:
    """Workspace, first and last day in the file's zone, and the zone: of what is known, so until today at most."""
    # The bound itself is not in the file: until midnight is until the day before.
    last = _day(micros(now) if filter_.until is None else filter_.until - 1, form.zone)
    span = f"until-{last}" if filter_.since is None else f"{_day(filter_.since, form.zone)}-to-{last}"
    return f"{_UNSAFE.sub('-', f'audit-log-{workspace_id}-{span}-{form.zone}')}.{form.format}"


def _day(instant: int, zone: str) -> str:
    """The local day; at either end of the calendar, which zones would leave, one within it."""
    return instant_of(min(max(instant, _FIRST), _LAST)).astimezone(ZoneInfo(zone)).date().isoformat()


def headers(file: str, form: Form) -> Sequence[tuple[str, str]]:
    """The HTTP headers of the download. The name is plain ASCII, which RFC 6266 has every client take as it stands."""
    return (
        ("content-type", MEDIA[form.format]),
        ("content-disposition", f'attachment; filename="{file}"'),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    )


__all__ = ["file_name", "headers"]
