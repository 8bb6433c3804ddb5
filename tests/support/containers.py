"""The same servers as containers of the official images: what `CONTAINERS=1` starts instead of local processes."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from audit_local import kafka_client
from audit_local.kafka_config import BrokerOptions, properties
from audit_local.ports import free_ports
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

KAFKA_IMAGE = "apache/kafka:4.3.0"
CLICKHOUSE_IMAGE = "clickhouse/clickhouse-server:26.9"
READY_SECONDS = 180
KAFKA_PORT, CONTROLLER_PORT, CLICKHOUSE_PORT = 9092, 9093, 8123


class ServerContainer:
    """One container that is made at the first `start` and kept, with its data, until `remove`."""

    def __init__(self, container: DockerContainer, ready: Callable[[], bool]) -> None:
        self._container = container
        self._ready = ready
        self._made = False

    @property
    def pid(self) -> int:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return int(wrapped.attrs["State"]["Pid"])

    def start(self) -> None:
        if self._made:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._made = True
        eventually(
            self._ready,
            READY_SECONDS,
            f"{self._container.image} answers",
            interval_seconds=0.2,
        )

    def kill(self) -> None:
        wrapped = self._container.get_wrapped_container()
        wrapped.kill()
        wrapped.wait()

    def stop(self) -> None:
        if self._made:
            self._container.get_wrapped_container().stop(timeout=20)

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def remove(self) -> None:
        """Deletes the container and its data."""
        if self._made:
            self._container.stop()


class KafkaContainer(ServerContainer):
    """The official broker image, with the properties of the local stack."""

    def __init__(self, *, session_timeout_ms: int = BrokerOptions.session_timeout_ms) -> None:
        (port,) = free_ports(1)
        self.bootstrap_servers = f"127.0.0.1:{port}"
        container = DockerContainer(KAFKA_IMAGE).with_bind_ports(KAFKA_PORT, port)
        for name, value in broker_environment(port, session_timeout_ms).items():
            container.with_env(name, value)
        super().__init__(container, lambda: kafka_client.answers(self.bootstrap_servers))


class ClickHouseContainer(ServerContainer):
    """The official server image; its default user may log in without a password, as locally."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        container = DockerContainer(CLICKHOUSE_IMAGE).with_bind_ports(CLICKHOUSE_PORT, port)
        container.with_env("CLICKHOUSE_SKIP_USER_SETUP", "1")
        super().__init__(container, lambda: answers_ping(self.url))


def broker_environment(port: int, session_timeout_ms: int) -> dict[str, str]:
    """The local broker's properties as the image's variables (`KAFKA_` + name, dots as underscores)."""
    options = BrokerOptions(
        Path("/var/lib/kafka"),
        port,
        CONTROLLER_PORT,
        session_timeout_ms=session_timeout_ms,
    )
    inside = {"listeners": f"PLAINTEXT://0.0.0.0:{KAFKA_PORT},CONTROLLER://127.0.0.1:{CONTROLLER_PORT}"}
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in (properties(options) | inside).items()}


def answers_ping(url: str) -> bool:
    """Whether the engine says it is there."""
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def require_engine() -> None:
    """Ends the run with a clear message when containers were asked for and nothing can run them."""
    try:
        DockerClient().client.ping()
    except Exception as error:  # the Docker library and the transports below it have no common base
        pytest.exit(f"CONTAINERS=1 needs a running container engine that speaks Docker's API: {error}", returncode=1)
