"""Keeps the units of the local stack running: started in order of readiness, restarted, stopped in reverse order."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from audit_local.backoff import Backoff
from audit_local.child import Child
from audit_local.errors import LocalStackError
from audit_local.units import ProcessView, State, Unit, waves

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

STOP_SECONDS = 9.0
"""All processes together; leaves a second of the ten that Ctrl-C may take."""

PROBE_SECONDS = 0.1
DEFAULT_BACKOFF = Backoff()


class Supervisor:
    """Runs `units` until `stop` is called or one of them cannot be brought up. For one event loop, used once.

    `on_line(name, line)` gets all output, `on_change()` is called after every change of `processes`.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        on_line: Callable[[str, str], None],
        on_change: Callable[[], None] = lambda: None,
        backoff: Backoff = DEFAULT_BACKOFF,
        attempts: int = 5,
    ) -> None:
        self._waves = waves(units)
        self._units = [unit for wave in self._waves for unit in wave]
        self._on_line = on_line
        self._on_change = on_change
        self._backoff = backoff
        self._attempts = attempts
        self._states = {unit.name: State.STARTING for unit in self._units}
        self._children: dict[str, Child] = {}
        self._was_ready = {unit.name: asyncio.Event() for unit in self._units}
        self._stopping = asyncio.Event()

    @property
    def processes(self) -> tuple[ProcessView, ...]:
        """The services in starting order; steps are not among them, they end."""
        return tuple(
            ProcessView(unit.name, child.pid if (child := self._children.get(unit.name)) else None, state)
            for unit in self._units
            if not unit.step and (state := self._states[unit.name])
        )

    @property
    def ready(self) -> bool:
        """Whether every service is ready now and every step was done."""
        return all(state is State.READY for state in self._states.values())

    def stop(self) -> None:
        """Asks `run` to stop everything; a second call kills what is still there."""
        if self._stopping.is_set():
            for child in self._children.values():
                child.kill()
        self._stopping.set()

    async def run(self) -> None:
        """Returns when all was stopped; raises `LocalStackError` (everything stopped) when a unit cannot come up."""
        keepers = [asyncio.create_task(self._keep(unit), name=unit.name) for unit in self._units]
        stopping = asyncio.create_task(self._stopping.wait())
        pending: set[asyncio.Task[object]] = {*keepers, stopping}
        try:
            while not stopping.done() and not any(task.done() and task.exception() for task in keepers):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            await self._stop_all()
            results = await asyncio.gather(*keepers, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _keep(self, unit: Unit) -> None:
        """The life of one unit: wait for others, start, watch, start again."""
        for name in unit.after:
            if not await self._unless_stopping(self._was_ready[name].wait()):
                return
        failures = 0
        while not self._stopping.is_set():
            started = asyncio.get_running_loop().time()
            child = await Child.start(unit.command, unit.environment, lambda line: self._on_line(unit.name, line))
            self._children[unit.name] = child
            self._on_change()
            if self._stopping.is_set():  # asked for while the process was being made
                await child.stop(unit.stop_seconds)
            status = await self._watch(unit, child)
            del self._children[unit.name]
            if self._stopping.is_set():
                break
            if unit.step and status == 0:
                self._set(unit, State.READY)
                return
            failures = self._backoff.failures_after(failures, asyncio.get_running_loop().time() - started)
            self._give_up_if_hopeless(unit, child, status, failures)
            wait = self._backoff.wait(failures)
            self._on_line(unit.name, f"ended with status {status}, starts again in {wait:g} s")
            self._set(unit, State.RESTARTING)
            await self._unless_stopping(asyncio.sleep(wait))
        self._set(unit, State.STOPPED)

    async def _watch(self, unit: Unit, child: Child) -> int:
        """Follows one run of the unit to its end; the exit status."""
        ended = asyncio.create_task(child.wait())
        if not unit.step:
            probe = asyncio.create_task(self._until_ready(unit))
            await asyncio.wait([ended, probe], timeout=unit.ready_seconds, return_when=asyncio.FIRST_COMPLETED)
            if probe.done() and not ended.done():
                self._set(unit, State.READY)
            elif not ended.done() and not self._stopping.is_set():
                self._on_line(unit.name, f"was not ready after {unit.ready_seconds:g} s, is stopped")
                await child.stop(unit.stop_seconds)
            probe.cancel()
        return await ended

    async def _until_ready(self, unit: Unit) -> None:
        while unit.ready is not None and not await unit.ready():
            await asyncio.sleep(PROBE_SECONDS)

    async def _unless_stopping(self, awaited: Coroutine[Any, Any, object]) -> bool:
        """Waits for it or for the stop, whichever comes first; False when stopping."""
        tasks = [asyncio.create_task(awaited), asyncio.create_task(self._stopping.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        return not self._stopping.is_set()

    def _give_up_if_hopeless(self, unit: Unit, child: Child, status: int, failures: int) -> None:
        """A unit that was ready once is started again for ever; one that never was has something to fix first."""
        if self._was_ready[unit.name].is_set() or (failures < self._attempts and status != os.EX_CONFIG):
            return
        last = "".join(f"\n  {line}" for line in child.last_lines)
        raise LocalStackError(f"{unit.name} could not be started (status {status}, attempt {failures}):{last}")

    async def _stop_all(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_SECONDS
        for wave in reversed(self._waves):
            remaining = max(0.1, deadline - loop.time())
            await asyncio.gather(
                *(
                    child.stop(min(unit.stop_seconds, remaining))
                    for unit in wave
                    if (child := self._children.get(unit.name))
                )
            )

    def _set(self, unit: Unit, state: State) -> None:
        self._states[unit.name] = state
        if state is State.READY:
            self._was_ready[unit.name].set()
        self._on_change()


__all__ = ["STOP_SECONDS", "Supervisor"]
