"""One child process of the supervisor: started tied to it, its lines passed on, stopped by a deadline."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from audit_local.launch import environment, tethered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LONGEST_LINE = 64 * 1024


class Child:
    """A running process. Made by `start`; used on the event loop's thread alone."""

    def __init__(
        self, process: asyncio.subprocess.Process, output: asyncio.StreamReader, on_line: Callable[[str], None]
    ) -> None:
        self._process = process
        self._output = output
        self._on_line = on_line
        self.last_lines: deque[str] = deque(maxlen=15)
        self._pump = asyncio.create_task(self._pass_lines_on())

    @classmethod
    async def start(cls, command: Sequence[str], settings: Mapping[str, str], on_line: Callable[[str], None]) -> Self:
        """Starts `command` in a session of its own, so that Ctrl-C at the terminal reaches the supervisor alone.

        The pipe is made here because asyncio's own keeps `Process.wait` waiting until the last writer has closed it,
        and that may be something the process left behind.
        """
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *tethered(command),
                env=environment(settings),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        output = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(read_end, "rb")
        )
        return cls(process, output, on_line)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The exit status, negative for a signal; returns after the last line was passed on.

        What the process itself started and left behind in its session is killed: it would keep the output open.
        """
        status = await self._process.wait()
        self._signal_session(signal.SIGKILL)
        await self._pump
        return status

    async def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL when the process is still there after `grace_seconds`."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(self._process.wait()), grace_seconds)
        except TimeoutError:
            self.kill()
        await self.wait()

    def kill(self) -> None:
        """SIGKILL to the process and all of its session."""
        self._signal_session(signal.SIGKILL)

    def _signal_session(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            os.killpg(self.pid, number)

    async def _pass_lines_on(self) -> None:
        rest = b""
        while chunk := await self._output.read(LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) >= LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._emit(line)
        if rest:
            self._emit(rest)

    def _emit(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self.last_lines.append(text)
        self._on_line(text)


__all__ = ["Child"]
