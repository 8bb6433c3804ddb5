"""The containers of `infra/compose.yaml` are set up like the local processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from audit_local.data_folder import DataFolder
from audit_local.kafka_config import BrokerOptions, properties
from audit_local.processes import USUAL_PORTS, Addresses, units
from tests.support import containers

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "infra" / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]

DIFFERENT_IN_A_CONTAINER = {
    "listeners", "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name", "log.dirs",
}  # fmt: skip


def test_the_broker_has_the_properties_of_the_local_one() -> None:
    """What the pipeline relies on holds in both, apart from addresses; sizes of a small machine may be left out."""
    local = properties(BrokerOptions(Path("/var/lib/kafka"), 9092, 9093))
    environment = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in SERVICES["kafka"]["environment"].items()
        if name != "KAFKA_HEAP_OPTS"
    }
    assert set(environment) <= set(local)
    assert {name: value for name, value in environment.items() if name not in DIFFERENT_IN_A_CONTAINER} == {
        name: local[name] for name in environment if name not in DIFFERENT_IN_A_CONTAINER
    }
    needed = ("group.", "broker.", "auto.create", "log.message", "offsets.", "transaction.", "share.")
    assert {name for name in local if name.startswith(needed)} - set(environment) <= {"group.min.session.timeout.ms"}


def test_images_are_pinned_and_the_same_as_in_the_tests() -> None:
    """What is tested with `CONTAINERS=1` is what compose starts."""
    assert SERVICES["kafka"]["image"] == containers.KAFKA_IMAGE
    assert SERVICES["clickhouse"]["image"] == containers.CLICKHOUSE_IMAGE


def test_every_process_of_the_stack_is_there(tmp_path: Path) -> None:
    """Except the demo, which belongs to the local stack; that makes its signing key without a process."""
    local = units(DataFolder(tmp_path), Addresses(USUAL_PORTS), partitions=1, demo=False)
    assert {unit.name for unit in local} | {"signing-key"} == set(SERVICES)


def test_nothing_is_reachable_from_other_machines() -> None:
    """Every published port is bound to loopback, and no secret has a default."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    settings = COMPOSE["x-process"]["environment"]
    for name in ("AUDIT_CLICKHOUSE_PASSWORD", "AUDIT_SIGNING_KEYS", "AUDIT_JWT_SECRET"):
        assert settings[name].startswith(f"${{{name}:?")
