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
from audit_query.budgets import Budget
from audit_query.sql import Query
from audit_schemas.clickhouse_codes import error_of
from audit_schemas.errors import ClickHouseUnavailable

_ENDS_WITH_ITS_READER = {"cancel_http_readonly_queries_on_client_close": 1}


class Reader:
    """Runs queries. Connects with the first one, and again after ClickHouse was away; belongs to one event loop."""

    def __init__(self, settings: ClickHouseSettings, budget: Budget, stream_budget: Budget) -> None:
        self._settings, self._budget, self._stream_budget = settings, budget, stream_budget
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def rows(self, query: Query) -> Sequence[Sequence[Any]]:
        """The rows. Raises `Transient` when ClickHouse can't answer now, and `OverBudget`, a problem 503."""
        budget = query.budget or self._budget
        try:
            # ClickHouse counts from when it begins; this is for a server that never does, or never answers.
            async with asyncio.timeout(budget.deadline_s):
                client = await self._connected()
                with _translated(budget):
                    answer = await client.query(
                        query.sql,
                        parameters=dict(query.values),
                        settings=budget.settings(stops_early=query.stops_early),
                    )
        except TimeoutError:
            raise ClickHouseUnavailable(f"ClickHouse has not answered for {budget.deadline_s:g} s") from None
        return answer.result_rows

    async def stream(self, query: Query) -> AsyncGenerator[bytes]:
        """The bytes ClickHouse makes of the query's FORMAT, as they come.

        Raises when the stream breaks, also after some bytes: what came before is then no complete answer.
        """
        client = await self._connected()
        with _translated(self._stream_budget):
            stream = await client.raw_stream(
                query.sql,
                parameters=dict(query.values),
                settings=self._stream_budget.settings() | _ENDS_WITH_ITS_READER,
            )
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
def _translated(budget: Budget | None = None) -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        over = budget.exceeded(code, str(error)) if budget else None
        raise over or error_of(code, str(error)) from None
    except (aiohttp.ClientError, OSError) as error:
        raise ClickHouseUnavailable(f"ClickHouse: {error}") from None


__all__ = ["Reader"]
