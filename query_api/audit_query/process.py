"""The query service as a process."""

from __future__ import annotations

import uvicorn

from audit_query.app import create_app
from audit_query.settings import QuerySettings


def run(settings: QuerySettings) -> None:
    """Serves until SIGTERM or SIGINT. The access log is off: addresses may carry sign-in codes."""
    uvicorn.run(
        create_app(settings),
        host=settings.query_host,
        port=settings.query_port,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


__all__ = ["run"]
