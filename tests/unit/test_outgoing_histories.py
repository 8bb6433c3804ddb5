"""Any history of modes, outages, refusals, lost answers and restarts: what was emitted arrives, once at least, in order."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_producers import AuditLog, Mode, Receipt
from audit_schemas.codec import decode, unframe
from tests.support.emitting import ADA, Emitters, assert_delivered, outgoing_of, refuse, seq_of
from tests.support.transport import Sent

WORKSPACES = 3

emits = st.tuples(st.just("emit"), st.lists(st.sampled_from(["durable", "direct"]), min_size=5, max_size=40))
steps = st.one_of(
    emits,
    emits,
    st.tuples(st.sampled_from(["outage", "back", "settle", "settle", "restart", "adopt"])),
    st.tuples(st.just("flush"), st.sampled_from([0.0, 0.01])),
    st.tuples(st.sampled_from(["refuse", "refuse", "lose the answer"]), st.integers(0, 5)),
)


class History:
    """Logs one after the other on one folder, and what they were told."""

    def __init__(self, folder: Path, in_flight: int, patience_s: float) -> None:
        self.emitters = Emitters(folder)
        self.broker = self.emitters.broker
        self._settings = {"in_flight_events": in_flight, "direct_patience_s": patience_s}
        self.emitted: dict[str, list[Receipt]] = defaultdict(list)
        """By instance, in the order of emitting."""
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        self.log: AuditLog = self.emitters.log(**self._settings)
        self.instance = outgoing_of(self.log).instance

    def emit(self, modes: Sequence[Mode]) -> None:
        for mode in modes:
            self._count += 1
            receipt = self.log.emit(
                "file.downloaded",
                workspace_id=f"w{self._count % WORKSPACES}",
                actor=ADA,
                source="web",
                mode=mode,
                metadata={"n": self._count},
            )
            self.emitted[self.instance].append(receipt)

    def outage(self) -> None:
        self.broker.set(up=False)

    def back(self) -> None:
        self.broker.set(up=True)

    def settle(self) -> None:
        """Nothing is in the way any more: what was refused is sent again, and the last event arrives."""
        self.back()
        assert self.log.flush(20) == 0

    def restart(self) -> None:
        self.log.close(0)
        self._begin()

    def adopt(self) -> None:
        if self.broker.up:
            self.emitters.adopter(in_flight_events=5).look()

    def flush(self, seconds: float) -> None:
        self.log.flush(seconds)

    def refuse(self, after: int, *, append: bool = False) -> None:
        """The record so many behind the next one is refused; or appended, and its answer is lost."""
        counted = [after]

        def wanted(value: bytes) -> bool:
            counted[0] -= 1
            if counted[0] == -1 and append:
                event = decode(unframe(value)[1])
                self.broker.records.append(Sent("audit.files", event.workspace_id, value))
            return counted[0] == -1

        refuse(self.broker, wanted)

    def lose_the_answer(self, after: int) -> None:
        self.refuse(after, append=True)

    def end(self) -> None:
        self.broker.refuses = lambda _: None
        self.log.close(0)
        self.back()
        self.emitters.adopter().look()
        self.emitters.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=12, max_size=30), st.sampled_from([1, 7, 1000]), st.sampled_from([0.01, 0.2]))
def test_every_history_is_delivered(history: list[tuple[object, ...]], in_flight: int, patience_s: float) -> None:
    """Each event as it was emitted; per instance first in the order of emitting, numbered without a hole."""
    with tempfile.TemporaryDirectory() as folder:
        told = History(Path(folder) / "spool", in_flight, patience_s)
        for name, *arguments in history:
            getattr(told, str(name).replace(" ", "_"))(*arguments)
        told.end()
        assert list((Path(folder) / "spool").iterdir()) == []
    receipts = [receipt for emitted in told.emitted.values() for receipt in emitted]
    assert {receipt.state for receipt in receipts} <= {"spooled", "acknowledged"}
    assert_delivered(told.broker.events, receipts)
    values: dict[str, bytes] = {}
    for record in told.broker.records:
        assert values.setdefault(record.event.event_id, record.value) == record.value, "a double is the same"
    place = {receipt.event_id: n for n, receipt in enumerate(receipts, 1)}
    for event_id, value in values.items():
        assert json.loads(decode(unframe(value)[1]).metadata) == {"n": place[event_id]}
    for emitted in told.emitted.values():
        assert [seq_of(values[receipt.event_id]) for receipt in emitted] == list(range(len(emitted)))
