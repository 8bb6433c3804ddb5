"""A script of a few seconds, as cron runs it: it ends when its events are where they are kept, and says if they are not.

python docs/examples/cron_script.py acme f1 f2
"""

from __future__ import annotations

import os
import sys

from audit_producers import AuditLog, audit_context


def main(workspace: str, *files: str) -> int:
    """Deletes expired files. The exit status is 75, "try again later", while Kafka does not have every event."""
    log = AuditLog("retention", version="1.0")
    cleanup = {"type": "automation", "id": "retention", "name": "Nightly clean-up"}
    with audit_context(workspace_id=workspace, actor=cleanup, source="automation"):
        for file in files:
            log.emit("file.deleted", targets=[{"type": "file", "id": file}], metadata={"reason": "expired"})
    # Everything becomes durable; Kafka gets five seconds. What it has not by then waits in the spool, and the next
    # process that looks into the folder brings it there: never emit it again.
    waiting = log.close(timeout=5)
    if waiting:
        sys.stderr.write(f"{waiting} audit events wait in the spool\n")
    return os.EX_TEMPFAIL if waiting else os.EX_OK


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
