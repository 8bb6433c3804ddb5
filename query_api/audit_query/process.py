"""The query service as a process."""

from __future__ import annotations

import contextlib
import socket
import sys

import uvicorn
from starlette.applications import Starlette

from audit_query.app import create_app
from audit_query.settings import QuerySettings


class Server(uvicorn.Server):
    """Ends the streams before it waits for its connections: they would not end by themselves."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._streams = app.state.following

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._streams.stop()
        await super().shutdown(sockets)


def run(settings: QuerySettings) -> None:
    """Serves until SIGTERM or SIGINT. The access log is off: addresses may carry sign-in codes."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.query_host,
        port=settings.query_port,
        access_log=False,
        log_level="warning",
        server_header=False,
        # The scheme, for the cookie, and the address, for events, are believed of the same proxies.
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=5,
    )
    server = Server(config, app)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(3)  # as uvicorn's own command does


__all__ = ["Server", "run"]
