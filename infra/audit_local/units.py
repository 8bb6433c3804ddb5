"""What the supervisor runs: named commands, what each waits for, and how one sees that it is ready."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence


class State(StrEnum):
    """What `audit-log status` says of a process."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Unit:
    """One command. `ready` None: ready as soon as it runs; a `step` is ready when it has ended with status 0."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_seconds: float = 60.0
    stop_seconds: float = 4.0
    step: bool = False


@dataclass(frozen=True)
class ProcessView:
    """One line of the status."""

    name: str
    pid: int | None
    state: State


def waves(units: Sequence[Unit]) -> list[list[Unit]]:
    """The units in starting order: each wave needs only earlier ones. Raises `ValueError` for a cycle or a bad name."""
    by_name = {unit.name: unit for unit in units}
    if unknown := {name for unit in units for name in unit.after} - set(by_name):
        raise ValueError(f"no unit is called {', '.join(sorted(unknown))}")
    sorter = TopologicalSorter({unit.name: unit.after for unit in units})
    sorter.prepare()
    found: list[list[Unit]] = []
    while sorter.is_active():
        names = sorter.get_ready()
        found.append([by_name[name] for name in names])
        sorter.done(*names)
    return found


__all__ = ["ProcessView", "State", "Unit", "waves"]
