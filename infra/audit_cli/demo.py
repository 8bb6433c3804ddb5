"""The command that fills the local stack with events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    data_dir: Annotated[Path, typer.Option(help="Where it is remembered how much history was sent.")] = Path(".data"),
    events: Annotated[int, typer.Option(min=0, help="Events of history.")] = 50_000,
    per_second: Annotated[float, typer.Option(min=0.1, max=1000)] = 20,
) -> None:
    """Send plausible history once, then live traffic, to every workspace there is."""
    import signal
    import threading
    import time

    import structlog

    from audit_infra.access import Access
    from audit_infra.settings import ControlSettings
    from audit_infra.telemetry import configure_logging
    from audit_local.demo.traffic import Traffic, report_failure
    from audit_producers import AuditLog, ProducerSettings

    settings = ProducerSettings.load()
    control = ControlSettings.load()
    configure_logging()
    log = structlog.get_logger("audit_cli.demo")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    workspaces = Access.open(control.control_database_url).list_workspaces()
    if not workspaces:
        raise typer.BadParameter("there are no workspaces: audit-log workspaces create <id> <plan>")
    order = {"free": 0, "starter": 1, "professional": 2, "advanced": 3, "enterprise": 4}
    ids = [one.id for one in sorted(workspaces, key=lambda one: (order[one.plan], one.id))]
    audit_log = AuditLog("demo", version="1", settings=settings, on_delivery_failure=report_failure)
    try:
        traffic = Traffic(audit_log, ids, data_dir, stopping)
        started = time.monotonic()
        if sent := traffic.send_history(events):
            log.info("history sent", events=sent, seconds=round(time.monotonic() - started, 1))
        if not stopping.is_set():
            log.info("live traffic", per_second=per_second)
            traffic.run_live(per_second)
    finally:
        audit_log.close(settings.exit_timeout_s)


def register(parent: typer.Typer) -> None:
    """Adds this command to `audit-log`."""
    parent.command()(demo)
