"""The adapter to ClickHouse: the one module of the service that knows clickhouse-connect."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import aiohttp
import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from audit_infra.settings import ClickHouseSettings
from audit_query.sql import Query
from audit_schemas.clickhouse_codes import error_of
from audit_schemas.errors import ClickHouseUnavailable


class Reader:
    """Runs queries. Connects with the first one, and again after ClickHouse was away; belongs to one event loop."""

    def __init__(self, settings: ClickHouseSettings, timeout_s: float) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def rows(self, query: Query) -> Sequence[Sequence[Any]]:
        """The rows. Raises `Transient` when ClickHouse can't answer now."""
        client = await self._connected()
        with _translated():
            answer = await client.query(
                query.sql, parameters=dict(query.values), settings={"max_execution_time": self._timeout_s}
            )
        return answer.result_rows

    async def stream(self, query: Query) -> AsyncGenerator[bytes]:
        """The bytes ClickHouse makes of the query's FORMAT, as they come.

        Raises when the stream breaks, also after some bytes: what came before is then no complete answer.
        """
        client = await self._connected()
        with _translated():
            stream = await client.raw_stream(query.sql, parameters=dict(query.values))
            async with stream as chunks:
                async for chunk in chunks:
                    yield chunk

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                with _translated():
                    self._client = await clickhouse_connect.get_async_client(
                        dsn=self._settings.clickhouse_url,
                        username=self._settings.clickhouse_user,
                        password=self._settings.clickhouse_password.get_secret_value(),
                        database=self._settings.clickhouse_database,
                        connect_timeout=5,
                        send_receive_timeout=3600,
                        query_retries=0,
                        autogenerate_session_id=False,
                        compress=False,
                    )
            return self._client


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise error_of(getattr(error, "code", None), str(error)) from None
    except (aiohttp.ClientError, OSError) as error:
        raise ClickHouseUnavailable(f"ClickHouse: {error}") from None


__all__ = ["Reader"]
