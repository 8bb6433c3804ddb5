"""The Events API as a process."""

from __future__ import annotations

import gc
from importlib.metadata import version

import uvicorn

from audit_producers import AuditLog
from audit_producers.events_api.app import create_app
from audit_producers.events_api.settings import EventsApiSettings

SERVICE = "events-api"


def run(settings: EventsApiSettings) -> None:
    """Serves until SIGTERM or SIGINT; then everything that was accepted is durable and the log is closed."""
    log = AuditLog(SERVICE, version=version("workspace-audit-log"), settings=settings)
    app = create_app(settings, log)
    # A batch is many objects and no cycles: looking for some in everything that was imported, again and again while a
    # batch is worked on, took a seventh of the service's time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    uvicorn.run(
        app,
        host=settings.events_host,
        port=settings.events_port,
        access_log=False,
        log_level="warning",
        server_header=False,
        # Which headers of proxies count is a setting of this service; uvicorn must not decide it first.
        proxy_headers=False,
        # Longer than the usual proxy keeps a connection, so that it is never closed under a request.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )


__all__ = ["SERVICE", "run"]
