"""How an event gets into Kafka: the SDK that product services use."""

from audit_producers.changes import changes_between
from audit_producers.client import AuditLog
from audit_producers.context import audit_context, carried, set_actor, update_context
from audit_producers.fields import EventFields
from audit_producers.ports import Closed, NotDelivered, Position, SpoolFull, SpoolUnavailable, Unconfirmed
from audit_producers.receipt import Receipt
from audit_producers.settings import Mode, ProducerSettings
from audit_producers.stats import Stats
from audit_schemas.errors import InvalidEvent, Problem

__all__ = [
    "AuditLog",
    "Closed",
    "EventFields",
    "InvalidEvent",
    "Mode",
    "NotDelivered",
    "Position",
    "Problem",
    "ProducerSettings",
    "Receipt",
    "SpoolFull",
    "SpoolUnavailable",
    "Stats",
    "Unconfirmed",
    "audit_context",
    "carried",
    "changes_between",
    "set_actor",
    "update_context",
]
