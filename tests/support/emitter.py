"""A service that emits until it is killed, and says on its standard output which events are durable.

Run as `python -m tests.support.emitter FOLDER BOOTSTRAP_SERVERS TOPIC_PREFIX`. A line is a workspace, an event id and
the event's number among those of the workspace in this process; lines of a workspace come in order.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from audit_producers import AuditLog, Closed, ProducerSettings

THREADS, BURST, IN_FLIGHT = 3, 2, 100


def work(log: AuditLog, workspace: str) -> None:
    count = 0
    while True:
        try:
            receipts = [
                log.emit("file.downloaded", workspace_id=workspace, actor={"type": "system"}, source="api")
                for _ in range(BURST)
            ]
        except Closed:
            return
        for receipt in receipts:
            receipt.wait_durable(30)
        lines = "".join(f"{workspace} {receipt.event_id} {count + n}\n" for n, receipt in enumerate(receipts))
        os.write(1, lines.encode())
        count += len(receipts)


def main(folder: str, bootstrap_servers: str, topic_prefix: str) -> None:
    log = AuditLog(
        "emitter",
        settings=ProducerSettings(
            spool_dir=Path(folder),
            kafka_bootstrap_servers=bootstrap_servers,
            topic_prefix=topic_prefix,
            in_flight_events=IN_FLIGHT,
            adopt_interval_s=0.3,
        ),
    )
    threads = [threading.Thread(target=work, args=[log, f"w{n}"], daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
