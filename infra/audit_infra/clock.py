"""The machine's clock, for whoever is given none."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The instant now, in UTC."""
    return datetime.now(UTC)


__all__ = ["utc_now"]
