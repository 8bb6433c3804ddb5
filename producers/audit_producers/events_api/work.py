"""Where the service's work runs: little of it on the loop, the rest on threads of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

T = TypeVar("T")

SMALL: Final = 8_192
"""A body of so many bytes is worked on where it arrived: it takes a millisecond, and a change of thread as much."""
AT_ONCE: Final = 16 * 1024 * 1024
"""Bytes of bodies that are worked on at the same time: as values, JSON takes up to twenty times the memory of its text."""


class Work:
    """One thread computes: they would only wait for each other. Database calls have threads of their own."""

    def __init__(self, *, one_writer: bool) -> None:
        self._free, self._freed = AT_ONCE, asyncio.Condition()
        self._computing = ThreadPoolExecutor(1, "events-compute")
        self._database = ThreadPoolExecutor(1 if one_writer else 4, "events-database")

    @contextlib.asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Waits until a body of `size` bytes, fewer than `AT_ONCE`, may be worked on, which it is inside the block."""
        async with self._freed:
            await self._freed.wait_for(lambda: size <= self._free)
            self._free -= size
        try:
            yield
        finally:
            self._free += size
            async with self._freed:
                self._freed.notify_all()

    async def compute(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """Runs `function`, whose effort follows from a body of `size` bytes."""
        if size <= SMALL:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._computing, function, *arguments)

    async def database(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs `function`, which blocks on the database."""
        return await asyncio.get_running_loop().run_in_executor(self._database, function, *arguments)

    def close(self) -> None:
        """Waits for what runs."""
        self._computing.shutdown()
        self._database.shutdown()


__all__ = ["SMALL", "Work"]
