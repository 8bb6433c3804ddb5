"""What a test may do with a server, whether it is a local process or a container."""

from __future__ import annotations

from typing import Protocol


class Server(Protocol):
    """Data, ports and address stay the same over `kill`, `stop` and `start`."""

    @property
    def pid(self) -> int:
        """The process id of the running server."""

    def start(self) -> None:
        """Returns once the server answers."""

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""

    def stop(self) -> None:
        """An orderly end; does nothing when it does not run."""

    def pause(self) -> None:
        """Freezes the server: connections stay open, nothing answers."""

    def resume(self) -> None:
        """Ends a `pause`."""


class KafkaServer(Server, Protocol):
    """A broker."""

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`."""


class ClickHouseServer(Server, Protocol):
    """An engine behind ClickHouse's HTTP protocol."""

    @property
    def url(self) -> str:
        """`http://host:port`."""
