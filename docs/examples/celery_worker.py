"""A Celery worker whose tasks write to the audit log in the name of whoever asked for them.

celery --workdir docs/examples --app celery_worker worker --broker redis://127.0.0.1 --concurrency 2
"""

from __future__ import annotations

from typing import Any

from celery import Celery, Task
from celery.signals import before_task_publish

from audit_producers import AuditLog, audit_context, carried

# Made before Celery forks its children: each of them begins anew with its first event, and ends in order.
log = AuditLog("billing", version="1.0")
app = Celery("billing")
SYSTEM = {"type": "system", "id": "billing"}


@before_task_publish.connect
def send_context(headers: dict[str, Any], **_: Any) -> None:
    """In the process that asks: its context goes with the message."""
    headers["audit_context"] = carried()


class AuditedTask(Task):
    """Opens the context that came with the message around each run of the task."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What came with the message wins; where nothing did, the system acts, under the id of the task."""
        came = self.request.get("audit_context") or {}
        with audit_context(**{"actor": SYSTEM, "source": "automation", "request_id": self.request.id, **came}):
            return super().__call__(*args, **kwargs)


@app.task(base=AuditedTask)
def send_invoice(invoice: str) -> None:
    """`emit` returns at once; the event is on the disk some milliseconds later, and in Kafka soon after."""
    log.emit("invoice.sent", targets=[{"type": "invoice", "id": invoice}])
