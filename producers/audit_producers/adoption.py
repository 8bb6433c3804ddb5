"""Brings the spools of dead processes to Kafka: events keep the ids, the instance and the numbers they have."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable

from audit_producers import folder
from audit_producers.entry import Batch, Entry, finished
from audit_producers.ports import SpoolDamaged, SpoolUnavailable, Transport
from audit_producers.relay import Relay
from audit_producers.settings import ProducerSettings
from audit_producers.spool import Spool
from audit_producers.wake import Wake

_LOOK_S = 0.2
_log = logging.getLogger("audit_producers")


class Adopter:
    """Looks for orphaned spools and empties them. `run` blocks until `stop`; both may be called from any thread."""

    def __init__(self, settings: ProducerSettings, make_transport: Callable[[], Transport]) -> None:
        self._settings, self._make_transport = settings, make_transport
        self._stopping = False
        self._wake = Wake()
        self.adopted = 0
        """Events of dead processes that Kafka has acknowledged."""
        self.damaged = 0
        """Spools that were set aside because they could not be read, in whole or in part."""

    def run(self) -> None:
        """Looks again and again; the first time at once, later at intervals that processes don't share."""
        while not self._stopping:
            self.look()
            if not self._stopping:
                self._wake.wait(self._settings.adopt_interval_s * random.uniform(0.7, 1.3))  # noqa: S311 - no secret

    def stop(self) -> None:
        """Ends `run` after the round trip it is in; what is not acknowledged stays in its spool."""
        self._stopping = True
        self._wake.call()

    def look(self) -> int:
        """Empties all spools that nobody has; returns how many events Kafka acknowledged."""
        before = self.adopted
        try:
            for claim in folder.orphans(self._settings.spool_dir):
                self._adopt_safely(claim)
                if self._stopping:
                    break
        except SpoolUnavailable as error:
            _log.warning("orphaned spools can't be looked for: %s", error)
        return self.adopted - before

    def _adopt_safely(self, claim: folder.Claim) -> None:
        try:
            self._adopt(claim)
        except Exception:  # noqa: BLE001 - whatever it was: the spool stays, the others are looked at
            _log.exception("the spool %s can't be adopted", claim.spool)

    def _adopt(self, claim: folder.Claim) -> None:
        emptied, damage = False, ""
        try:
            spool = Spool(claim.spool)
            self.damaged += spool.broken_log is not None
            try:
                emptied = self._empty(spool, claim.name)
                damage = f"{spool.damaged} batches of the spool {claim.spool} are damaged" if spool.damaged else ""
            finally:
                _close(spool)
        except SpoolDamaged as error:
            emptied, damage = True, str(error)
        except SpoolUnavailable as error:
            _log.warning("%s; what is left in it stays", error)
        finally:
            if emptied and damage:
                self.damaged += 1
                _log.error("%s; it is kept as %s, what could be read was sent", damage, claim.set_aside())
            else:
                claim.release(remove=emptied)

    def _empty(self, spool: Spool, name: str) -> bool:
        """Sends everything; whether Kafka has it all. False when it is to stop.

        Raises `SpoolDamaged` or `SpoolUnavailable` once Kafka has what could be read.
        """
        if spool.events:
            _log.warning("%d audit events of the dead process %s are brought to Kafka", spool.events, name)
        going = _Going(spool, self._settings, self._make_transport)
        try:
            while not self._stopping:
                going.step()
                self._account(going)
                if going.done:
                    if going.trouble is not None:
                        raise going.trouble
                    return True
                going.wake.wait(_LOOK_S)
            return False
        finally:
            going.relay.close()
            self._account(going)

    def _account(self, going: _Going) -> None:
        self.adopted += going.account()


class _Going:
    """A spool on its way to Kafka."""

    def __init__(self, spool: Spool, settings: ProducerSettings, make_transport: Callable[[], Transport]) -> None:
        self._spool = spool
        self.wake = Wake()
        self.relay = Relay(
            make_transport,
            max_events=settings.in_flight_events,
            max_bytes=settings.in_flight_mib * 1_048_576,
            progressed=self.wake.call,
        )
        self.trouble: SpoolUnavailable | None = None
        """Why not everything could be read."""
        self._ready: deque[Entry] = deque()
        self._read_through = -1
        self._more = True
        self._outstanding = 0
        self._removable: list[Batch] = []
        self._removes = True

    @property
    def done(self) -> bool:
        """Whether Kafka has everything that could be read."""
        return not (self._ready or self._more or self._outstanding)

    def step(self) -> None:
        """Hands over as much as the relay takes now."""
        self.relay.tend()
        while self.relay.healthy and self.relay.has_room and (self._ready or self._more):
            if self._ready:
                self._outstanding += 1
                self.relay.send(self._ready.popleft())
            else:
                self._read()

    def _read(self) -> None:
        try:
            self._ready.extend(self._spool.read(self._read_through))
        except SpoolUnavailable as error:
            self.trouble = error
        self._more = bool(self._ready)
        if self._ready:
            self._read_through = self._ready[-1].seq

    def account(self) -> int:
        """Removes the batches that Kafka has; returns how many events it acknowledged since the last call."""
        acknowledged = self.relay.take_acknowledged()
        self._outstanding -= len(acknowledged)
        self._removable += finished(acknowledged)
        if self._removable and self._removes:
            try:
                self._spool.remove(self._removable)
                self._removable = []
            except SpoolUnavailable as error:
                # A full disk, perhaps. The file as a whole can still be removed, once all of it is sent.
                self._removes = False
                _log.warning("%s; events stay in it until all are sent", error)
        return len(acknowledged)


def _close(spool: Spool) -> None:
    try:
        spool.close()
    except SpoolUnavailable as error:
        _log.warning("%s", error)


__all__ = ["Adopter"]
