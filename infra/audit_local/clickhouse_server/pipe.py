"""Reading what the engine writes into a pipe, without a thread and without more in memory than the pipe holds."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from contextlib import suppress
from typing import Final

# The most an unprivileged process may ask for; fewer switches between the engine and the reader.
_BYTES: Final = 1024 * 1024


class Pipe:
    """The reading end, for one task; `sink` is the writing end, which belongs to whoever it is given to."""

    def __init__(self) -> None:
        self._source, self.sink = os.pipe()
        os.set_blocking(self._source, False)
        if sys.platform == "linux":
            # Refused when the user's pipes together are above the kernel's limit; the usual 64 KiB do as well then.
            with suppress(OSError):
                fcntl.fcntl(self.sink, fcntl.F_SETPIPE_SZ, _BYTES)

    async def read(self) -> bytes:
        """The next bytes; empty at the end, when every writing end is closed."""
        while True:
            try:
                return os.read(self._source, _BYTES)
            except BlockingIOError:
                await self._readable()

    def close(self) -> None:
        """Ends reading; a writer that goes on gets an error."""
        if self._source >= 0:
            os.close(self._source)
            self._source = -1

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._source, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._source)
