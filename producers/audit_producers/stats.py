"""How emitting goes, for a service's own metrics, and the alarms that an operator must hear of."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger("audit_producers")


@dataclass(frozen=True, slots=True)
class Stats:
    """One process's emitting so far. Counts grow; the others are as of now.

    `accepted`: events taken. `refused`: events given back with `SpoolFull`. `acknowledged`: events Kafka has.
    `failed`: events given back after they were taken. `spooled_events`, `spooled_bytes`, `oldest_spooled_s`: what waits
    on the disk, and for how long. `in_flight`: handed to Kafka's client. `producers_replaced`: recoveries after a
    failed delivery. `damaged`: rows of spools that no longer fit their CRC. `adopted`: events of dead processes that
    were brought to Kafka. `alarm`: what is wrong now, None when nothing is.
    """

    accepted: int = 0
    refused: int = 0
    acknowledged: int = 0
    failed: int = 0
    spooled_events: int = 0
    spooled_bytes: int = 0
    oldest_spooled_s: float = 0.0
    in_flight: int = 0
    producers_replaced: int = 0
    damaged: int = 0
    adopted: int = 0
    alarm: str | None = None


class Alarm:
    """Says once that something went wrong, and once that it is over."""

    def __init__(self) -> None:
        self.text: str | None = None

    def raise_(self, text: str) -> None:
        """Something is wrong; the same kind of trouble (its text up to a colon) is said once."""
        if self.text is None or self.text.partition(":")[0] != text.partition(":")[0]:
            _log.error("audit log alarm: %s", text)
        self.text = text

    def clear(self) -> None:
        """It is over."""
        if self.text is not None:
            _log.warning("audit log alarm is over: %s", self.text)
            self.text = None


__all__ = ["Alarm", "Stats"]
