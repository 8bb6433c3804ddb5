"""What was said within the last while, so that it is not said again: bounded, and forgotten with the process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime, timedelta


class Lately:
    """Remembers the latest `most` keys for `span` each. Belongs to one thread."""

    def __init__(self, most: int, span: timedelta) -> None:
        self._most, self._span = most, span
        self._known: OrderedDict[Hashable, tuple[Hashable, datetime]] = OrderedDict()

    def is_news(self, key: Hashable, value: Hashable, now: datetime) -> bool:
        """Whether the key had another value, none, or this one a span ago or earlier; from now on it has this one."""
        known = self._known.get(key)
        if known is not None and known[0] == value and now - known[1] < self._span:
            self._known.move_to_end(key)
            return False
        self._known[key] = (value, now)
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return True

    def forget(self, key: Hashable) -> None:
        """The next value of the key is news."""
        self._known.pop(key, None)

    def __len__(self) -> int:
        return len(self._known)


__all__ = ["Lately"]
