"""Sends the demo's events through the SDK: the history once, then live traffic until told to stop."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from audit_local.demo.stories import Happening, Said, Scene, happening, history, stories
from audit_local.demo.world import World, world
from audit_producers import AuditLog, Receipt, SpoolFull
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_local.demo")

EVENTS = 50_000
DAYS = 90
SEED = 20_260_314
PER_SECOND = 20
CHUNK = 5_000
_FULL_S = 0.05


@dataclass(frozen=True, slots=True)
class Marker:
    """How far the history was sent: kept in the data folder, so that a second run sends none of it again.

    `until` fixes the history's end, so that an interrupted one goes on with the very same events.
    """

    path: Path
    until: datetime
    sent: int = 0

    @classmethod
    def read(cls, folder: Path, now: datetime) -> Marker:
        """The marker of the folder, a new one when there is none."""
        path = folder / "demo.json"
        if path.exists():
            body = json.loads(path.read_text("utf-8"))
            return cls(path, datetime.fromisoformat(body["until"]), body["sent"])
        return cls(path, now)

    def reached(self, sent: int) -> Marker:
        """Writes that so many events are acknowledged."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"until": self.until.isoformat(), "sent": sent}), "utf-8")
        temporary.replace(self.path)
        return Marker(self.path, self.until, sent)


class Traffic:
    """The demo of some workspaces. The later ones in the list are the busier ones."""

    def __init__(
        self, audit_log: AuditLog, workspace_ids: Sequence[str], folder: Path, stopping: threading.Event
    ) -> None:
        self._log, self._folder, self._stopping = audit_log, folder, stopping
        self._worlds: tuple[World, ...] = tuple(world(one, SEED) for one in workspace_ids)

    def send_history(self, events: int = EVENTS) -> int:
        """Sends what is left of the history, in chunks that are acknowledged before the marker moves.

        Stopped between two chunks it goes on there; stopped within one it sends that chunk again, with the same ids.
        """
        marker = Marker.read(self._folder, datetime.now(UTC))
        if marker.sent >= events:
            return 0
        marker = marker.reached(marker.sent)
        past = history(self._worlds, shares(events, len(self._worlds)), marker.until, DAYS, SEED)
        begun = marker.sent
        while marker.sent < len(past) and not self._stopping.is_set():
            chunk = past[marker.sent : marker.sent + CHUNK]
            self._acknowledged([self._emit(one) for one in chunk])
            marker = marker.reached(marker.sent + len(chunk))
        return marker.sent - begun

    def run_live(self, per_second: float = PER_SECOND) -> None:
        """Sends about so many events a second until told to stop."""
        random_ = random.Random()
        sources = [stories(Scene(one, random_)) for one in self._worlds]
        weights = [number + 1 for number in range(len(self._worlds))]
        # Several stories go on at once, as in life.
        going: list[tuple[str, list[Said]]] = []
        due = time.monotonic()
        while not self._stopping.is_set():
            while len(going) < 12:
                (number,) = random_.choices(range(len(self._worlds)), weights)
                going.append((self._worlds[number].workspace_id, list(next(sources[number]))))
            workspace_id, story = random_.choice(going)
            self._emit(happening(workspace_id, story.pop(0), datetime.now(UTC), random_))
            going = [one for one in going if one[1]]
            due += random_.expovariate(per_second)
            self._stopping.wait(max(0.0, due - time.monotonic()))

    def _emit(self, one: Happening) -> Receipt:
        fields: dict[str, Any] = one.fields
        while True:
            try:
                return self._log.emit(one.event_type, **fields)
            except SpoolFull:
                if self._stopping.wait(_FULL_S):
                    raise

    def _acknowledged(self, receipts: Sequence[Receipt]) -> None:
        self._log.flush(60)
        for receipt in receipts:
            receipt.wait(60)


def shares(events: int, workspaces: int) -> tuple[int, ...]:
    """How many events each workspace gets: the later, the more; all of them together exactly `events`."""
    weights = [2 ** (number + 1) - 1 for number in range(workspaces)]
    found = [events * weight // sum(weights) for weight in weights]
    found[-1] += events - sum(found)
    return tuple(found)


def report_failure(receipt: Receipt, error: AuditError) -> None:
    """Says which event was given back."""
    log.error("event not delivered", event_id=receipt.event_id, error=str(error))


__all__ = ["EVENTS", "PER_SECOND", "Marker", "Traffic", "report_failure", "shares"]
