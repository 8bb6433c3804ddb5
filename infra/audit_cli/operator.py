"""Writes down what an operator did, as any product service would: in the log of the workspace that it concerns."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Unpack

import typer

if TYPE_CHECKING:
    from audit_producers import EventFields, ProducerSettings


class Record(Protocol):
    """Returns once the event is durable. Raises an `AuditError` when it can't be: what was done stays done."""

    def __call__(self, event_type: str, **fields: Unpack[EventFields]) -> None:
        """The fields are those of `AuditLog.emit`; actor and source are given."""


def user() -> str:
    """Whom the operating system runs the command for: the name, or the number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@contextmanager
def recording(settings: ProducerSettings | None = None) -> Iterator[Record]:
    """Takes the events of what the block does. While Kafka is away they wait in the spool; the command says so."""
    from audit_producers import AuditLog, EventFields, ProducerSettings

    # Before anything is changed: what is wrong with the settings keeps the change from being made.
    settings = settings or ProducerSettings.load()
    log = AuditLog("audit-log-cli", settings=settings)
    name = user()
    # Known to the machine, not to the workspace.
    by = EventFields(actor={"type": "system", "id": f"operator:{name}"[:128], "name": name[:256]}, source="api")

    def record(event_type: str, **fields: Unpack[EventFields]) -> None:
        log.emit(event_type, mode="durable", **(fields | by)).wait_durable(settings.confirm_timeout_s)

    try:
        yield record
    finally:
        if log.close(settings.exit_timeout_s):
            typer.echo(f"Kafka does not answer: the event of this waits in {settings.spool_dir}", err=True)


__all__ = ["Record", "recording", "user"]
