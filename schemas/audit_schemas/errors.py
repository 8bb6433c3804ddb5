"""The errors all parts share, as one tree: callers ask the class whether to retry, never the text.

```
AuditError
├── InvalidEvent         the caller's event breaks the contract; nothing was sent. Fix the event.
├── WireError            a Kafka record that is not one of ours
│   ├── FramingError     too short or wrong magic byte. Quarantined.
│   ├── UnknownSchema    the registry answered that it has no such id. Quarantined.
│   └── UndecodableDatum the bytes are not the Avro datum their schema id claims. Quarantined.
├── Transient            (retriable) try again later, nothing is wrong with what was asked
│   ├── RegistryUnavailable, KafkaUnavailable, ClickHouseUnavailable
│   └── ClickHouseBusy   the server is there and asks for patience (too many parts, memory, timeouts)
├── RowRejected          the engine could not read a row of the insert: find the culprit, keep the rest
├── ContractBroken       tables, schema and code disagree: stop and let an operator look
└── Refused              credentials or permissions: stop and let an operator look
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class AuditError(Exception):
    """Base of every error this project raises on purpose."""

    retriable: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an event. `pointer` is a JSON pointer (RFC 6901) into it, "" for the whole."""

    pointer: str
    code: str
    message: str
    allowed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}"


class InvalidEvent(AuditError, ValueError):
    """The event breaks the contract; `problems` names every breach, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class WireError(AuditError):
    """A Kafka record that can never become an event; `reason` is the code written to quarantine."""

    reason: ClassVar[str] = "undecodable"


class FramingError(WireError):
    """The value does not begin with the magic byte and a schema id."""

    reason = "framing"


class UnknownSchema(WireError):
    """The registry knows for certain that it has no schema of this id."""

    reason = "unknown_schema"

    def __init__(self, schema_id: int) -> None:
        self.schema_id = schema_id
        super().__init__(f"no schema has the id {schema_id}")


class UndecodableDatum(WireError):
    """The bytes after the framing are not what their schema says."""


class Transient(AuditError):
    """Nothing is wrong with what was asked; the other side can't answer now."""

    retriable = True


class RegistryUnavailable(Transient):
    """The schema registry gave no answer, which says nothing about whether it has the schema."""


class KafkaUnavailable(Transient):
    """No broker answered in time."""


class ClickHouseUnavailable(Transient):
    """No connection, or it broke before the answer was complete: what was sent may or may not have landed."""


class ClickHouseBusy(Transient):
    """ClickHouse answered that it can't now: too many parts, memory, a timeout."""


class RowRejected(AuditError):
    """The engine could not read a row of an insert, and stored none of it; `row` counts from 1 where it is named."""

    def __init__(self, message: str, row: int | None = None) -> None:
        self.row = row
        super().__init__(message)


class ContractBroken(AuditError):
    """Tables, schema and code disagree. Continuing could lose events, so the process stops."""


class Refused(AuditError):
    """Kafka or ClickHouse refused the credentials or the permission."""


__all__ = [
    "AuditError",
    "ClickHouseBusy",
    "ClickHouseUnavailable",
    "ContractBroken",
    "FramingError",
    "InvalidEvent",
    "KafkaUnavailable",
    "Problem",
    "Refused",
    "RegistryUnavailable",
    "RowRejected",
    "Transient",
    "UndecodableDatum",
    "UnknownSchema",
    "WireError",
]
