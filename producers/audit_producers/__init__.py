"""How an event gets into Kafka: the SDK that product services use."""

from audit_producers.client import AuditLog
from audit_producers.ports import BufferFull, Closed, NotDelivered, Position
from audit_producers.receipt import Receipt
from audit_producers.settings import ProducerSettings
from audit_schemas.errors import InvalidEvent, Problem

__all__ = [
    "AuditLog",
    "BufferFull",
    "Closed",
    "InvalidEvent",
    "NotDelivered",
    "Position",
    "Problem",
    "ProducerSettings",
    "Receipt",
]
