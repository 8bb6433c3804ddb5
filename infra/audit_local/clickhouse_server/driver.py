"""What we use of chdb, with the types it has: the one module that imports it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self, cast

import chdb

from audit_local.clickhouse_server.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Result(Protocol):
    """A finished query. `storage_*` is what it read, `rows_read` how many rows it gave."""

    def bytes(self) -> bytes: ...
    def rows_read(self) -> int: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...
    def rows_written(self) -> int: ...
    def bytes_written(self) -> int: ...
    def elapsed(self) -> float: ...


class Written(Protocol):
    """A finished insert; rows include those that materialized views wrote."""

    rows_written: int
    bytes_written: int
    elapsed: float


class Inserter(Protocol):
    """An INSERT being fed. Leaving its block without `finish` ends it without a commit of what is not yet written."""

    def append(self, data: bytes) -> None: ...
    def finish(self) -> Written: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> bool: ...


class Connection(Protocol):
    """One session of the engine, for one query at a time. All methods block, without holding Python's lock."""

    def query(self, query: bytes, format: str) -> Result: ...
    def send_insert(self, query: bytes, format: str) -> Inserter: ...
    def close(self) -> None: ...


@contextmanager
def connection(path: str) -> Iterator[Connection]:
    """A session on the engine of the folder, which opens with the first one and closes with the last.

    Every failure inside the block becomes a `ServerError`.
    """
    try:
        # chdb declares `str` and takes bytes, which a query may need to hold.
        session = cast("Connection", chdb.connect(path))
        try:
            yield session
        finally:
            session.close()
    except RuntimeError as error:
        raise ServerError.from_engine(str(error)) from None
