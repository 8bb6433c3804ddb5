"""One run of the local stack: takes the folder, chooses ports, supervises the processes, keeps the status file true."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from audit_local import ports, report
from audit_local.data_folder import DataFolder, StackState, WorkspaceAccess
from audit_local.errors import LocalStackError
from audit_local.log_lines import LogLines
from audit_local.processes import USUAL_PORTS, Addresses, control_database_url, units
from audit_local.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

DOWN_SECONDS = 15.0
"""How long `down` waits; the supervisor itself needs at most ten."""


class Run:
    """A stack from its start to its end, in the folder that the caller holds."""

    def __init__(
        self,
        folder: DataFolder,
        chosen: Mapping[str, int],
        terminal: TextIO,
        *,
        partitions: int,
        demo: bool,
        colour: bool,
    ) -> None:
        self._folder = folder
        self._lines = LogLines(folder.logs, terminal, colour=colour)
        self._started = time.monotonic()
        self._announced = False
        self._report_busy(chosen)
        self._addresses = Addresses(chosen)
        self._workspaces = self._open_workspaces()
        self._supervisor = Supervisor(
            units(folder, self._addresses, partitions=partitions, demo=demo), self._lines.write, self._changed
        )

    async def until_stopped(self) -> None:
        """Returns after Ctrl-C or SIGTERM, everything stopped; raises `LocalStackError` when a part can't come up."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop)
        try:
            await self._supervisor.run()
        finally:
            self._changed()
            self._lines.close()
        self._lines.say(f"Stopped. The data stays in {self._folder.path}.")

    def _report_busy(self, chosen: Mapping[str, int]) -> None:
        for name, port in chosen.items():
            if port != USUAL_PORTS[name]:
                self._lines.say(f"Port {USUAL_PORTS[name]} is in use: {name} takes {port}.")

    def _open_workspaces(self) -> tuple[WorkspaceAccess, ...]:
        # Half a second of imports (SQLAlchemy) that `--help`, `status` and `down` need not wait for.
        from audit_infra.access import Access
        from audit_local import workspaces

        earlier = self._folder.read().workspaces
        with closing(Access.open(control_database_url(self._folder))) as access:
            self._ensure_signing_key(access.engine)
            return workspaces.ensure(access, self._addresses.query, earlier, datetime.now(UTC))

    def _ensure_signing_key(self, engine: Engine) -> None:
        """What `audit-log signing-keys create --if-none` does, without a process that takes as long to start as all."""
        from audit_query.exports.keys import KeyProblem, Keys

        keys, folder = Keys(engine), self._folder.signing_keys
        try:
            keys.signing(folder)
        except KeyProblem:
            keys.create(folder, datetime.now(UTC))

    def _stop(self) -> None:
        self._lines.say("Stopping …")
        self._supervisor.stop()

    def _changed(self) -> None:
        state = StackState(
            ready=self._supervisor.ready,
            addresses=self._addresses.as_status(),
            processes=self._supervisor.processes,
            workspaces=self._workspaces,
        )
        try:
            self._folder.write(state)
        except OSError as error:  # a full disk: what runs goes on, the status is out of date
            self._lines.say(f"The status could not be written to {self._folder.path}: {error.strerror}")
        if state.ready and not self._announced:
            self._announced = True
            self._lines.say(report.ready(state, self._folder.path, time.monotonic() - self._started))


def up(folder: DataFolder, terminal: TextIO, *, partitions: int, demo: bool, colour: bool) -> None:
    """Runs the stack until it is stopped; raises `LocalStackError` when it can't, or when one runs there already."""
    os.umask(0o077)  # events and keys are nobody else's, whichever process writes them
    with folder.held(), ports.claimed(USUAL_PORTS) as chosen:
        asyncio.run(Run(folder, chosen, terminal, partitions=partitions, demo=demo, colour=colour).until_stopped())


def down(folder: DataFolder) -> int | None:
    """Stops the stack of the folder and waits for its end; the process id it had, None when none ran."""
    holder = folder.holder
    if holder is None:
        return None
    try:
        os.kill(holder, signal.SIGTERM)
    except ProcessLookupError:
        return holder
    except PermissionError:
        raise LocalStackError(f"the stack of {folder.path} belongs to another user (process {holder})") from None
    deadline = time.monotonic() + DOWN_SECONDS
    while folder.running:
        if time.monotonic() > deadline:
            raise LocalStackError(f"the stack's process {holder} did not end within {DOWN_SECONDS:g} s")
        time.sleep(0.05)
    return holder


__all__ = ["Run", "down", "up"]
