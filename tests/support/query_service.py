"""A query service for a test: the real application behind a real server, with a clock the test can set."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from pydantic import SecretStr

from audit_infra.access import PAGE_SCOPES, Access
from audit_query.app import create_app
from audit_query.exports.recording import Recorder
from audit_query.process import Server
from audit_query.settings import QuerySettings
from tests.builders import NOON
from tests.support.rows import Tables
from tests.support.transport import MemoryBroker
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

JWT_SECRET = "the host product's secret, for tests"
SIGNING_KEY = "a signing key for tests"


@dataclass
class Clock:
    """Tells the time the test says."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


class RealClock(Clock):
    """Tells the time it is, for tests with events that really happen."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class QueryService:
    """`tables` is what it reads, `access` who may, `url` where it listens; `broker` gets the events about its own use."""

    clickhouse_url: str
    database: str
    folder: Path
    overrides: dict[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    recorder: Recorder | None = None

    def __post_init__(self) -> None:
        self.tables = Tables(self.clickhouse_url, self.database)
        self.access = Access.open(f"sqlite:///{self.folder}/control.db")
        settings = QuerySettings.model_validate(
            {
                "clickhouse_url": self.clickhouse_url,
                "clickhouse_database": self.database,
                "control_database_url": "sqlite://",
                "signing_keys": SecretStr(SIGNING_KEY),
                "jwt_secret": SecretStr(JWT_SECRET),
                "local": True,
                # Tests ask faster than people; those of the limits set them.
                **{f"rate_limit_{name}": "1000000/minute" for name in ("key", "workspace", "failures")},
                "max_parallel": 64,
                "spool_dir": self.folder / "spool",
                "exports_dir": self.folder / "exports",
                "adopt_interval_s": 0,
                # Tests read at once what they wrote.
                "freshness_cache_s": 0,
                **self.overrides,
            }
        )
        self._app = app = create_app(
            settings, access=self.access, clock=self.clock, transport=self.broker.transport, recorder=self.recorder
        )
        self._clients: list[httpx.Client] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app, access_log=False, log_level="warning", timeout_graceful_shutdown=1, proxy_headers=False
        )
        self._server = Server(config, app)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        eventually(lambda: self._server.started, 20, "the query service listens")

    def workspace(self, name: str = "w1", plan: str = "enterprise") -> str:
        """Makes a workspace; its id."""
        return self.access.create_workspace(name, plan, now=datetime(2026, 1, 1, tzinfo=UTC)).id

    def client(self, workspace: str = "w1", scopes: Collection[str] = PAGE_SCOPES) -> httpx.Client:
        """An API client with a fresh key."""
        secret = self.access.create_key(workspace, scopes).secret
        return self.guest(headers={"X-API-Key": secret})

    def guest(self, **options: Any) -> httpx.Client:
        """A client without a credential; closed with the service."""
        client = httpx.Client(base_url=self.url, timeout=30, **options)
        self._clients.append(client)
        return client

    def sign_in_url(self, workspace: str = "w1") -> str:
        """A link that signs a person in, again and again."""
        code = self.access.create_sign_in_code(workspace, "u1", "Ada Lovelace", "ada@example.com", reusable=True)
        return f"{self.url}/audit-log/sign-in?code={code}"

    def browser(self, workspace: str = "w1") -> httpx.Client:
        """A signed-in browser without JavaScript."""
        client = self.guest(follow_redirects=True)
        assert client.get(self.sign_in_url(workspace), follow_redirects=False).status_code == 303
        return client

    def following(self) -> int:
        """How many streams of w1 are open."""
        return int(self._app.state.following.open("w1"))

    def stop(self) -> None:
        """Shuts the server down, with what clients have open."""
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.stop()
        self._socket.close()
        self.access.close()
        self.tables.close()


@contextmanager
def over_empty_tables(clickhouse_url: str, database: str, folder: Path) -> Iterator[QueryService]:
    """A service over the tables of an empty database, with the workspace w1 on the enterprise plan."""
    tables = Tables(clickhouse_url, database)
    tables.migrate()
    tables.close()
    service = QueryService(clickhouse_url, database, folder)
    service.workspace()
    yield service
    service.close()


__all__ = ["JWT_SECRET", "SIGNING_KEY", "Clock", "QueryService", "RealClock", "over_empty_tables"]
