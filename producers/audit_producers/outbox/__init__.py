"""A transactional outbox: events that are recorded exactly when the caller's own transaction commits.

Needs the extra `outbox`, which brings SQLAlchemy. docs/outbox.md has the promise and a start in five minutes.
"""

from audit_producers.outbox.outbox import Backlog, Outbox
from audit_producers.outbox.relay import OutboxRelay, OutboxStats

__all__ = ["Backlog", "Outbox", "OutboxRelay", "OutboxStats"]
