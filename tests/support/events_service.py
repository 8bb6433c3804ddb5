"""An Events API for a test: the real application behind a real server and on a real spool, with Kafka in memory."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import uvicorn
from pydantic import SecretStr

from audit_infra.access import Access, Scope
from audit_producers import AuditLog
from audit_producers.events_api.app import create_app
from audit_producers.events_api.settings import EventsApiSettings
from tests.support.query_service import JWT_SECRET, Clock
from tests.support.transport import MemoryBroker
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from audit_schemas.event import Event

WRITER = "CRM connector"
"""The name of the keys that `client` makes."""


@dataclass
class EventsService:
    """`broker` gets the events, `access` says who may send them, `url` is where it listens."""

    folder: Path
    overrides: dict[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    broker: MemoryBroker = field(default_factory=MemoryBroker)

    def __post_init__(self) -> None:
        self.settings = EventsApiSettings.model_validate(
            {
                "control_database_url": f"sqlite:///{self.folder}/control.db",
                "spool_dir": self.folder / "spool",
                "adopt_interval_s": 0,
                "jwt_secret": SecretStr(JWT_SECRET),
                **self.overrides,
            }
        )
        self.access = Access.open(self.settings.control_database_url)
        if not self.access.list_workspaces():
            self.workspace()
        # On the machine's clock: a test that lets days go by must not make the spool old.
        self.log = AuditLog("events-api", settings=self.settings, transport=self.broker.transport)
        app = create_app(self.settings, self.log, access=self.access, clock=self.clock)
        self._clients: list[httpx.Client] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app, access_log=False, log_level="warning", timeout_graceful_shutdown=1, proxy_headers=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        eventually(lambda: self._server.started, 20, "the Events API listens")

    def workspace(self, name: str = "w1") -> str:
        """Makes a workspace; its id."""
        return self.access.create_workspace(name, "enterprise", now=datetime(2026, 1, 1, tzinfo=UTC)).id

    def client(
        self, workspace: str = "w1", app: str = "crm", scopes: Collection[str] = (Scope.WRITE,), **options: Any
    ) -> httpx.Client:
        """An app's client with a fresh key."""
        secret = self.access.create_key(workspace, scopes, WRITER, app).secret
        return self.guest(**{"headers": {"X-API-Key": secret, "User-Agent": "crm/1"}, **options})

    def guest(self, **options: Any) -> httpx.Client:
        """A client without a credential; closed with the service."""
        client = httpx.Client(base_url=self.url, timeout=30, **options)
        self._clients.append(client)
        return client

    @property
    def events(self) -> list[Event]:
        """Everything that was recorded so far, in order."""
        assert self.log.flush(10) == 0
        return self.broker.events

    def close(self) -> None:
        """Ends the service in order; does nothing the second time."""
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        self.access.close()
        assert not self._thread.is_alive()


class StartEventsApi(Protocol):
    """See the fixture `start_events_api`."""

    def __call__(self, broker: MemoryBroker | None = None, **overrides: Any) -> EventsService: ...


__all__ = ["WRITER", "EventsService", "StartEventsApi"]
