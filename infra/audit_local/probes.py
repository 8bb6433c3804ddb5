"""How the supervisor sees that a server is ready: it asks it, as its clients will."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING

from audit_local import kafka_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TIMEOUT_SECONDS = 2.0


def http(url: str) -> Callable[[], Awaitable[bool]]:
    """Ready when a GET of `url` is answered by 200."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:  # refused, timed out, another status (HTTPError), a connection cut
            return False

    async def ready() -> bool:
        return await asyncio.to_thread(ask)

    return ready


def kafka(host: str, port: int) -> Callable[[], Awaitable[bool]]:
    """Ready when the broker lists its topics; a Kafka client is only made once the port is open."""

    async def ready() -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            return await asyncio.to_thread(kafka_client.answers, f"{host}:{port}", TIMEOUT_SECONDS)
        return False

    return ready


__all__ = ["http", "kafka"]
