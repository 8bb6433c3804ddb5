"""What reading needs of the outside: the tables, and the time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from audit_query.sql import Query

Clock = Callable[[], datetime]
"""The time now, in UTC."""


class Reading(Protocol):
    """The tables."""

    async def rows(self, query: Query) -> Sequence[Sequence[Any]]:
        """The rows of a query."""

    def stream(self, query: Query) -> AsyncGenerator[bytes]:
        """The bytes of a query with a FORMAT; raises when they break off."""


__all__ = ["Clock", "Reading"]
