"""The pure parts of the local stack's supervisor: order, waits, ports, and what each process is told."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from audit_local import ports
from audit_local.backoff import Backoff
from audit_local.data_folder import DataFolder
from audit_local.processes import USUAL_PORTS, Addresses, units
from audit_local.units import Unit, waves

if TYPE_CHECKING:
    from pathlib import Path


def unit(name: str, *after: str) -> Unit:
    return Unit(name, ("true",), after=after)


def test_waves_put_every_unit_after_what_it_needs() -> None:
    """Units that need nothing of each other share a wave."""
    steps = [unit("worker", "migrate", "topics"), unit("topics", "kafka"), unit("migrate", "ch")]
    found = waves([*steps, unit("kafka"), unit("ch")])
    assert [{one.name for one in wave} for wave in found] == [{"kafka", "ch"}, {"topics", "migrate"}, {"worker"}]


def test_a_name_that_no_unit_has_is_refused() -> None:
    """A typing error in `after` would otherwise make a unit start too early."""
    with pytest.raises(ValueError, match="no unit is called kafak"):
        waves([unit("worker", "kafak")])


def test_a_cycle_is_refused() -> None:
    """Two units that wait for each other would wait for ever."""
    with pytest.raises(ValueError, match="cycle"):
        waves([unit("a", "b"), unit("b", "a")])


def test_waits_double_up_to_the_ceiling() -> None:
    """Half a second at first, never above half a minute, however often it fails."""
    backoff = Backoff()
    assert [backoff.wait(failures) for failures in (1, 2, 3, 4, 7, 8, 1000)] == [0.5, 1, 2, 4, 30, 30, 30]


def test_a_healthy_minute_forgives_earlier_failures() -> None:
    """A process that ran well begins again at the shortest wait; one that ended soon goes on counting."""
    backoff = Backoff()
    assert backoff.failures_after(5, ran_for=59.9) == 6
    assert backoff.failures_after(5, ran_for=60) == 1
    assert backoff.failures_after(0, ran_for=0) == 1


def test_a_busy_port_is_replaced_and_a_free_one_kept(tmp_path: Path) -> None:
    """The usual port is taken whenever it can be."""
    free, other = ports.free_ports(2)
    assert free != other
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        busy = listener.getsockname()[1]
        with ports.claimed({"kafka": busy, "query": free}, tmp_path) as chosen:
            assert chosen["query"] == free
            assert chosen["kafka"] not in {busy, free}


def test_two_stacks_that_start_together_choose_different_ports(tmp_path: Path) -> None:
    """A claim holds before anything listens, and ends with the stack."""
    usual = {"query": ports.free_ports(1)[0]}
    with ports.claimed(usual, tmp_path) as first, ports.claimed(usual, tmp_path) as second:
        assert first == usual != second
    with ports.claimed(usual, tmp_path) as third:
        assert third == usual


def test_spare_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    """Otherwise a client that dials a stopped server may connect to itself and hold its port."""
    assert all(port in ports.SPARE for port in ports.free_ports(20))


def test_all_processes_of_the_stack_get_the_same_addresses(tmp_path: Path) -> None:
    """Each is told where the others are by the names that configure a production process."""
    chosen = {name: 20_000 + number for number, name in enumerate(USUAL_PORTS)}
    stack = {one.name: one for one in units(DataFolder(tmp_path), Addresses(chosen), partitions=3, demo=True)}
    exporting = ["export-worker"]
    assert list(stack) == [
        *("kafka", "clickhouse", "migrate", "topics", "worker", "query", *exporting, "events-api", "demo")
    ]
    for name in ("migrate", "topics", "worker", "query", *exporting, "events-api", "demo"):
        settings = stack[name].environment
        assert settings["AUDIT_KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:20000"
        assert settings["AUDIT_CLICKHOUSE_URL"] == "http://127.0.0.1:20002"
        assert settings["AUDIT_QUERY_PORT"] == "20003"
        assert settings["AUDIT_EVENTS_PORT"] == "20004"
        assert settings["AUDIT_SPOOL_DIR"] == f"{tmp_path}/spool"
        assert settings["AUDIT_EXPORTS_DIR"] == f"{tmp_path}/exports"
        assert settings["AUDIT_CONTROL_DATABASE_URL"] == f"sqlite:///{tmp_path}/control.db"
    assert stack["topics"].command[-2:] == ("--partitions", "3")


def test_secrets_reach_processes_through_the_environment_alone(tmp_path: Path) -> None:
    """A command line can be read by every user of the machine."""
    folder = DataFolder(tmp_path)
    secrets = {folder.secret("signing-key"), folder.secret("jwt")}
    for one in units(folder, Addresses(USUAL_PORTS), partitions=1, demo=True):
        assert not secrets & set(one.command)


def test_the_demo_can_be_left_out(tmp_path: Path) -> None:
    """`--no-demo` gives the stack without events of its own."""
    names = [one.name for one in units(DataFolder(tmp_path), Addresses(USUAL_PORTS), partitions=1, demo=False)]
    assert "demo" not in names
