"""A service that emits at a steady rate, as a process of its own that may be killed: `python -m tests.bench.emitter`.

Its settings come from the environment. It appends one line per event whose receipt says that it is durable to a file,
and prints the times its calls of `emit` took when it ends in order.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from audit_producers import AuditLog, Mode, Receipt
from tests.bench.measure import percentile

WORKSPACES = 20
ACTOR = {"type": "internal_user", "id": "usr_00042", "name": "Person 00042", "email": "person42@example.com"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.emitter", description=__doc__)
    parser.add_argument("--per-second", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--mode", default="durable")
    parser.add_argument("--receipts", type=Path, required=True)
    options = parser.parse_args()
    emitter = Emitter(options.mode, options.receipts)
    emitter.run(options.per_second, options.seconds)


class Emitter:
    """Emits on this thread; another one writes receipts down as they become durable."""

    def __init__(self, mode: Mode, receipts: Path) -> None:
        self._log, self._mode, self._path = AuditLog("bench", version="1"), mode, receipts
        self._waiting: deque[tuple[str, Receipt]] = deque()
        self._ended = threading.Event()

    def run(self, per_second: float, seconds: float) -> None:
        """Until the time is over."""
        writer = ThreadPoolExecutor(1).submit(self._write_down)
        took: list[float] = []
        begun = time.perf_counter()
        for number in range(int(per_second * seconds)):
            wait = begun + number / per_second - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            workspace_id = f"ws_{number % WORKSPACES:04}"
            called = time.perf_counter()
            receipt = self._log.emit(
                "file.downloaded",
                mode=self._mode,
                workspace_id=workspace_id,
                actor=ACTOR,
                source="web",
                ip="203.0.113.7",
                user_agent="Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/141.0.0.0",
                targets=[{"type": "file", "id": f"fil_{number:010x}", "name": "plan.pdf"}],
                metadata={"folder": "/plan/final", "size": number},
                request_id=f"req_{number:016x}",
            )
            took.append(time.perf_counter() - called)
            self._waiting.append((workspace_id, receipt))
        self._ended.set()
        writer.result()
        stats = self._log.stats()
        took.sort()
        report = {
            "events": len(took),
            "p50_ms": percentile(took, 0.5) * 1000,
            "p99_ms": percentile(took, 0.99) * 1000,
            "p999_ms": percentile(took, 0.999) * 1000,
            "max_ms": took[-1] * 1000,
            "spooled_events": stats.spooled_events,
            "spooled_mib": stats.spooled_bytes / 1_048_576,
        }
        json.dump(report, sys.stdout)

    def _write_down(self) -> None:
        with self._path.open("a", buffering=1) as file:
            while self._waiting or not self._ended.is_set():
                if not self._waiting:
                    self._ended.wait(0.01)
                    continue
                workspace_id, receipt = self._waiting.popleft()
                receipt.wait_durable(60)
                file.write(f"{workspace_id} {receipt.event_id}\n")


if __name__ == "__main__":
    main()
